"""What a location of photos says by its words alone: a URL, a list, a path; nothing is opened."""

from __future__ import annotations

from glob import has_magic
from pathlib import Path

from storage.errors import UsageError

STDIN = "-"
"""As a location: a list of paths is read from standard input."""
LIST_PREFIX = "list:"


ROOT_MARK = "//./"
"""In a location of ours: what comes before it is the folder that photos' paths start from."""


def is_url(location: str) -> bool:
    """Whether a location is an fsspec URL rather than a local path."""
    return "://" in location


def resolve_location(location: str) -> str:
    """The same location, absolute, so that it holds in another working folder."""
    if is_url(location):
        return location
    prefix = LIST_PREFIX if location.startswith(LIST_PREFIX) else ""
    name, mark, rest = location.removeprefix(prefix).partition(ROOT_MARK)
    path = Path(name)
    if path.is_file():  # a link's own name says what it is, and outputs bear it
        return f"{prefix}{path.parent.resolve() / path.name}{mark}{rest}"
    return f"{prefix}{path.resolve()}{mark}{rest}"


def check_there(location: str) -> None:
    """Raise UsageError for a plain path where nothing is; what a URL, list or pattern names is looked up later."""
    if location == STDIN or location.startswith(LIST_PREFIX) or ROOT_MARK in location:
        return
    if not is_url(location) and not has_magic(location) and not Path(location).exists():
        raise UsageError(
            f"Expected a folder or archive of photos, found none at {location}. Check the path."
        )


def check_folder(folder: Path, purpose: str) -> Path:
    """The folder, absolute. Raises UsageError when it is not there."""
    if not folder.is_dir():
        raise UsageError(f"Expected a folder of {purpose}, found none at {folder}. Check the path.")
    return folder.resolve()
