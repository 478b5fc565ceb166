"""Where photos come from: a folder of files, listed without following links."""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass
from pathlib import Path

from storage.errors import UsageError
from storage.fingerprint import hash_value

_IGNORED_NAMES = {"thumbs.db", "desktop.ini"}
PHOTO_SUFFIXES = (".jpg", ".jpeg", ".png", ".tif", ".tiff", ".webp", ".bmp")
"""A file with one of these claims to be a photo; any other counts only if its content says so."""


@dataclass(frozen=True, slots=True)
class SourceFile:
    """One regular file of a source."""

    path: str
    """Relative to the source, with forward slashes."""
    bytes: int
    mtime_ns: int


def check_folder(folder: Path, purpose: str) -> Path:
    """The folder, absolute. Raises UsageError when it is not there."""
    if not folder.is_dir():
        raise UsageError(f"Expected a folder of {purpose}, found none at {folder}. Check the path.")
    return folder.resolve()


def list_files(folder: Path) -> list[SourceFile]:
    """All regular files below a folder, sorted by path.

    Hidden files, `._*`, Thumbs.db and desktop.ini are left out; links, pipes and devices too.
    """
    found: list[SourceFile] = []
    for parent, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in names:
            if name.startswith(".") or name.lower() in _IGNORED_NAMES:
                continue
            path = Path(parent, name)
            status = path.lstat()
            if stat.S_ISREG(status.st_mode):
                relative = path.relative_to(folder).as_posix()
                found.append(SourceFile(relative, status.st_size, status.st_mtime_ns))
    return sorted(found, key=lambda file: file.path)


def listing_digest(files: list[SourceFile]) -> str:
    """A hash of names, sizes and times: whether a source must be read again.

    What is read is then identified by content, so a mere new time changes nothing further on.
    """
    return hash_value([[file.path, file.bytes, file.mtime_ns] for file in files])


def claims_to_be_photo(path: str) -> bool:
    """Whether the file name ends as a photo's does."""
    return path.lower().endswith(PHOTO_SUFFIXES)
