"""What decides the bytes that a Dask worker makes: our code, torch and numpy.

A worker of this machine runs what the driver runs. One that is elsewhere may have been installed last
month, and Dask would not tell: its items would carry the fingerprint of code that did not make them.
"""

from __future__ import annotations

import os
import platform
from collections.abc import Callable, Mapping
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import chromaflow.errors
import colorization.errors
import storage.errors
from storage.records.fingerprint import hash_value

_PACKAGES = ("numpy", "torch")
_DIGITS, _NONE = 12, "none"


class VersionsDifferError(chromaflow.errors.ChromaflowError):
    """A Dask worker has other versions than the process that sends it work."""

    code = "VERSIONS_DIFFER"
    exit_code = 3


@cache
def versions() -> dict[str, str]:
    """Of this process: chromaflow as a hash of its code, since an unreleased one has no number."""
    return {"chromaflow": _code(), **{name: _version(name) for name in _PACKAGES}}


def check_versions(wanted: Mapping[str, str], found: Mapping[str, str], where: str) -> None:
    """Raise VersionsDifferError unless both are the same. where: the worker, for the message."""
    other = [name for name in wanted if found.get(name) != wanted[name]]
    if other:
        named = ", ".join(f"{name} {wanted[name]}" for name in other)
        got = ", ".join(f"{name} {found.get(name, _NONE)}" for name in other)
        raise VersionsDifferError(
            f"Expected Dask workers with {named}, got {got} at {where}. Install what this machine "
            "has there too, then start its workers again."
        )


def do_checked(wanted: Mapping[str, str], job: Callable[[Any], Any], item: Any) -> Any:
    """Do a job in a worker that may have come after the first check. Raises VersionsDifferError."""
    check_versions(wanted, versions(), f"{platform.node()}, process {os.getpid()}")
    return job(item)


def _code() -> str:
    """Hash of our source files, by path: of the folders that this process imports from.

    Not of what `find_spec` finds by a package's name: a worker's working folder, which Dask puts first
    on `sys.path`, has a sub-folder `storage`.
    """
    roots = {
        "chromaflow": Path(chromaflow.errors.__file__).parent,
        "colorization": Path(colorization.errors.__file__).parent,
        "storage": Path(storage.errors.__file__).parent,
        "tasks": Path(__file__).parents[1],
    }
    files = {
        f"{package}/{path.relative_to(root).as_posix()}": path.read_text()
        for package, root in roots.items()
        for path in root.rglob("*.py")
    }
    return hash_value(files)[:_DIGITS]


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return _NONE
