"""Which code decides the output of a stage: what its modules import, read from the imports.

Followed are `chromaflow.library`, `colorization`, `storage` and `tasks.jobs`, where the work is done; the engine that orders
it decides no byte. What decides nothing either is named, with the reason, beside the stage.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path

_ROOT = Path(__file__).parents[2]
_FOLLOWED = ("chromaflow.library.", "colorization.", "storage.", "tasks.jobs.")
_NAMED = r"(?:chromaflow|colorization|storage|tasks)(?:\.\w+)*"
_IMPORT = re.compile(
    rf"^[ \t]*(?:from[ \t]+({_NAMED})[ \t]+import[ \t]+(\([^)]*\)|[^\n]*)|import[ \t]+({_NAMED}))",
    re.MULTILINE,
)


@dataclass(frozen=True, kw_only=True, slots=True)
class StageCode:
    """The code of one stage."""

    schema: int
    """Version of what it writes."""
    roots: tuple[str, ...]
    """Modules that do its work; what they import is found."""
    decides_nothing: Mapping[str, str] = field(default_factory=dict)
    """Module or room → why it is left out, and all that only it imports."""

    def with_roots(self, *roots: str) -> StageCode:
        """The same with further modules: a network's."""
        return replace(self, roots=(*self.roots, *roots))

    def modules(self) -> tuple[str, ...]:
        """Every module that decides the output, sorted."""
        reached: set[str] = set()
        waiting = list(self.roots)
        while waiting:
            module = waiting.pop()
            if module not in reached:
                reached.add(module)
                waiting += [name for name in imported_by(module) if self._decides(name)]
        return tuple(sorted(reached))

    def _decides(self, module: str) -> bool:
        if not module.startswith(_FOLLOWED):
            return False
        return not any(module == no or module.startswith(f"{no}.") for no in self.decides_nothing)


@cache
def imported_by(module: str) -> tuple[str, ...]:
    """Our modules that a module names in an import, wherever in it."""
    path = file_of(module)
    if path is None:
        raise ModuleNotFoundError(f"Expected a module of ours, got {module!r}.", name=module)
    return tuple(dict.fromkeys(_named_in(path.read_text())))


def _named_in(source: str) -> Iterator[str]:
    for parent, names, whole in _IMPORT.findall(source):
        for name in (parent or whole, *(f"{parent}.{n}" for n in re.findall(r"\w+", names))):
            if file_of(name) is not None:
                yield name


@cache
def file_of(module: str) -> Path | None:
    """Where a module of ours lies; None for what is none, and for rooms, which hold a docstring only."""
    path = _ROOT / module.replace(".", "/")
    if path.with_suffix(".py").is_file():
        return path.with_suffix(".py")
    init = path / "__init__.py"
    return init if init.is_file() and _IMPORT.search(init.read_text()) else None
