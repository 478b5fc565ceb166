"""Every module that a photo stage's jobs import enters its fingerprint."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest

from tasks.engine.stage_code import STAGES

ROOT = Path(__file__).parents[2]
PACKAGES = ("colorization", "storage", "tasks", "flows")
JOBS = {
    "ingest": ("tasks.jobs.ingest",),
    "preprocess": ("tasks.jobs.preprocess",),
    "colorize": ("tasks.jobs.colorize", "tasks.jobs.sheet"),
}
DECIDES_NOTHING = {
    "colorization.errors": "words for people",
    "storage": "a docstring",
    "storage.children": "starts processes",
    "storage.metadata.xmp": "metadata, which training photos leave behind",
}


def file_of(module: str) -> Path | None:
    path = ROOT / module.replace(".", "/")
    found = (path.with_suffix(".py"), path / "__init__.py")
    return next((candidate for candidate in found if candidate.is_file()), None)


def imported_by(module: str) -> Iterator[str]:
    """Our modules that a module names in an import, wherever in it."""
    path = file_of(module)
    assert path is not None
    for node in ast.walk(ast.parse(path.read_bytes())):
        names: list[str] = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            names = [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
        yield from (n for n in names if n.partition(".")[0] in PACKAGES and file_of(n))


def reached_from(modules: Iterable[str]) -> set[str]:
    reached: set[str] = set()
    waiting = list(modules)
    while waiting:
        module = waiting.pop()
        if module not in reached:
            reached.add(module)
            waiting += imported_by(module)
    return reached


@pytest.mark.parametrize("stage", JOBS)
def test_no_helper_is_left_out_of_the_fingerprint(stage: str) -> None:
    hashed = set(STAGES[stage][1])
    assert reached_from(JOBS[stage]) - hashed - DECIDES_NOTHING.keys() == set()


def test_what_is_hashed_is_there() -> None:
    named = {module for _, modules in STAGES.values() for module in modules}
    assert {module for module in named if file_of(module) is None} == set()
