"""What `chromaflow colorize IN OUT` is asked for: one value from the command line to plan.json and back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Annotated, Any, Self, get_type_hints

from tasks.config.colorize import ColorizeConfig
from tasks.config.problems import PYTHON
from tasks.config.types import ENCODING, TableOf, build, one_of

_HINTS = get_type_hints(ColorizeConfig, include_extras=True)
SETTINGS = TableOf(
    {f.name: _HINTS[f.name] | None for f in fields(ColorizeConfig)},
    {f.name: f.default for f in fields(ColorizeConfig)},
)
"""Fields of [colorize] to replace; None, which JSON calls null, replaces nothing."""
BEST, MINE = "best", "mine"
_NAMES = TableOf(
    {"encoding": Annotated[str, ENCODING], "experts": Annotated[str, one_of(BEST, MINE)]},
    {"encoding": "", "experts": BEST},
)


@dataclass(frozen=True, kw_only=True, slots=True)
class ColorizeRequest:
    """One archive to colour, beside how a run of it goes. Raises ConfigError naming every wrong setting."""

    archive: str
    """A folder, bag, zip or tar, a pattern, a URL, or list:FILE."""
    models: str | None = None
    """A chromaflow.toml whose trained experts and [compute] are used; None for the starter's."""
    experts: str = BEST
    """Of models: best takes the starter's where a trained expert scored worse, mine the trained ones."""
    include: tuple[str, ...] = ()
    """Patterns as in .gitignore of the only files to read; empty for all."""
    exclude: tuple[str, ...] = ()
    """Patterns of files to leave out."""
    follow: bool = True
    """Whether links in the archive are followed."""
    encoding: str = ""
    """Of names in zips and tars that are not UTF-8; empty where nobody knows it."""
    bag: bool = False
    """Whether the output becomes a BagIt bag."""
    settings: Mapping[str, Any] = field(default_factory=dict)
    """Fields of [colorize] to replace: 0, false and "" do, None does not."""

    def __post_init__(self) -> None:
        given = {key: value for key, value in self.settings.items() if value is not None}
        build(Annotated[dict[str, Any], SETTINGS], given, PYTHON)
        named = {"encoding": self.encoding, "experts": self.experts}
        build(Annotated[dict[str, Any], _NAMES], named, PYTHON)
        object.__setattr__(self, "settings", given)

    @classmethod
    def of(cls, values: Mapping[str, Any]) -> Self:
        """From JSON or the parameters of a flow, whose lists may be null. Other keys say nothing here."""
        names = {f.name for f in fields(cls)}
        given: dict[str, Any] = {k: v for k, v in values.items() if k in names and v is not None}
        given |= {k: tuple(given[k]) for k in ("include", "exclude") if k in given}
        return cls(**given)

    def to_dict(self) -> dict[str, Any]:
        """As JSON, and as parameters of the flow."""
        values = {f.name: getattr(self, f.name) for f in fields(self)}
        lists = {"include": list(self.include), "exclude": list(self.exclude)}
        return values | lists | {"settings": dict(self.settings)}
