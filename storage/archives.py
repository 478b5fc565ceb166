"""Zip and tar archives as streams of regular members: listed, read by place, never extracted.

A tar may be packed by gzip, bzip2, xz or zstd. Limits: `storage.archive_members`.
"""

from __future__ import annotations

import bz2
import gzip
import lzma
from collections.abc import Callable
from pathlib import PurePosixPath
from typing import Any, Protocol

from storage.archive_members import Opener
from storage.entries import Listing
from storage.tar_archive import TarArchive
from storage.zip_archive import ZipArchive
from storage.zstd_stream import open_zstd

_COMPRESSIONS: dict[str, Callable[[Any], Any]] = {
    ".tgz": gzip.open,
    ".gz": gzip.open,
    ".bz2": bz2.open,
    ".tbz": bz2.open,
    ".tbz2": bz2.open,
    ".xz": lzma.open,
    ".txz": lzma.open,
    ".zst": open_zstd,
    ".tzst": open_zstd,
}


class Archive(Protocol):
    """An archive that is open for reading."""

    def listing(self) -> Listing:
        """Its regular members in the order of their bytes, and its problems."""
        ...

    def read(self, path: str, offset: int, size: int) -> bytes:
        """One member as listed. Raises PhotoError."""
        ...


def is_archive_name(name: str) -> bool:
    """Whether a file name ends as an archive's that can be read here."""
    lower = name.lower()
    plain = lower.endswith((".zip", ".tar", ".tgz", ".tbz", ".tbz2", ".txz", ".tzst"))
    return plain or lower.endswith((".tar.gz", ".tar.bz2", ".tar.xz", ".tar.zst"))


def open_archive(name: str, opener: Opener) -> Archive:
    """The archive of that name; nothing is read yet."""
    if name.lower().endswith(".zip"):
        return ZipArchive(opener)
    return TarArchive(opener, _COMPRESSIONS.get(PurePosixPath(name.lower()).suffix))
