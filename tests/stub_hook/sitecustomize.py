"""Python imports this at its start where the folder is on PYTHONPATH: some of the work costs next to nothing.

CHROMAFLOW_STUB is `networks` (every expert is one multiplication, a chunk goes its whole way) or `jobs`
(chunks are done by `stub_jobs`, which must be importable: photos are read and outputs written, nothing is
decoded). For what is measured beside that.
"""

from __future__ import annotations

import importlib
import os
import sys
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from importlib.util import find_spec
from types import ModuleType

_STUBS = {
    "networks": {"chromaflow.library.networks": "load_colorizer"},
    "jobs": {"tasks.jobs.ingest": "ingest_chunk", "tasks.jobs.colorize": "colorize_chunk"},
}
"""Module → the name in it that is replaced by that of `stub_jobs`."""


class _Stubbed(Loader):
    """Runs the module as it is, then puts the stub in the place of one name."""

    def __init__(self, own: Loader, name: str) -> None:
        self._own, self._name = own, name

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        return self._own.create_module(spec)

    def exec_module(self, module: ModuleType) -> None:
        self._own.exec_module(module)
        stub = getattr(importlib.import_module("stub_jobs"), self._name)
        vars(module)[self._name] = stub


class _Finder(MetaPathFinder):
    def __init__(self, stubs: dict[str, str]) -> None:
        self._stubs = dict(stubs)

    def find_spec(self, name: str, *_: object) -> ModuleSpec | None:
        stub = self._stubs.pop(name, None)
        if stub is None:
            return None
        spec = find_spec(name)
        assert spec is not None and spec.loader is not None
        spec.loader = _Stubbed(spec.loader, stub)
        return spec


if _chosen := _STUBS.get(os.environ.get("CHROMAFLOW_STUB", "")):
    sys.meta_path.insert(0, _Finder(_chosen))
