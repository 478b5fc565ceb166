"""Zip and tar archives as streams of regular members: listed, read by place, never extracted.

A tar may be packed by gzip, bzip2, xz or zstd. Content decides, never the name. Limits:
`storage.sources.members`.
"""

from __future__ import annotations

import bz2
import gzip
import lzma
from collections.abc import Callable
from pathlib import PurePosixPath
from typing import Any, Protocol

from storage.errors import PhotoError, UsageError
from storage.formats import sniff
from storage.reading import GuardedFile
from storage.sources.entries import Listing
from storage.sources.members import DAMAGE
from storage.sources.tars import TarArchive, is_tar_header
from storage.sources.zip_directory import has_directory
from storage.sources.zips import ZipArchive
from storage.sources.zstd import open_zstd

_COMPRESSIONS: dict[bytes, Callable[[Any], Any]] = {
    b"\x1f\x8b": gzip.open,
    b"BZh": bz2.open,
    b"\xfd7zXZ\x00": lzma.open,
    b"\x28\xb5\x2f\xfd": open_zstd,
    **{bytes([low, 0x2A, 0x4D, 0x18]): open_zstd for low in range(0x50, 0x60)},
}
"""First bytes → how to read on; zstd's second kind are frames to skip."""
_STARTS = {
    b"PK\x03\x04": "a zip",
    b"PK\x05\x06": "a zip",
    b"\x1f\x8b": "gzip",
    b"BZh": "bzip2",
    b"\xfd7zXZ\x00": "xz",
    b"\x28\xb5\x2f\xfd": "zstd",
    b"7z\xbc\xaf\x27\x1c": "a 7z archive",
    b"Rar!\x1a\x07": "a RAR archive",
    b"%PDF": "a PDF",
    b"%!PS": "PostScript",
    b"\x89HDF": "an HDF5 file",
    b"SQLite format 3": "an SQLite database",
    b"\x7fELF": "a program",
    b"MZ": "a program",
    b"version https://git-lfs.github.com/spec/": "a pointer of Git LFS",
    b"/annex/objects/": "a pointer of git-annex",
}
_FETCH = {"a pointer of Git LFS": "`git lfs pull`", "a pointer of git-annex": "`git annex get`"}
_HTML = (b"<!doctype html", b"<html", b"<head", b"<body", b"<script", b"<title")
_TOLD_BY = 1024
_ZIP_STARTS = (b"PK\x03\x04", b"PK\x05\x06")
_BLOCK, _LOOKED_AT = 512, 4096


class Archive(Protocol):
    """An archive that is open for reading."""

    def listing(self) -> Listing:
        """Its regular members in the order of their bytes, and its problems.

        Raises PhotoError UNREADABLE or OUT_OF_MEMORY where its bytes cannot be had just now.
        """
        ...

    def read(self, path: str, offset: int, size: int) -> bytes:
        """One member as listed. Raises PhotoError."""
        ...


def is_archive_name(name: str) -> bool:
    """Whether a file name ends as an archive's that can be read here."""
    lower = name.lower()
    plain = lower.endswith((".zip", ".tar", ".tgz", ".tbz", ".tbz2", ".txz", ".tzst"))
    return plain or lower.endswith((".tar.gz", ".tar.bz2", ".tar.xz", ".tar.zst"))


def open_archive(name: str, opener: Callable[[], Any], encoding: str = "") -> Archive:
    """The archive of that name; of its bytes the first are read. opener: opens them, seekable.

    encoding: of members' names that are not UTF-8. Raises UsageError where they are plainly something
    else, PhotoError UNREADABLE.
    """
    start = _start(opener)
    if start.startswith(_ZIP_STARTS):
        return ZipArchive(lambda: GuardedFile(opener), encoding)
    for mark, decompress in _COMPRESSIONS.items():
        if start.startswith(mark):
            inside = _expanded_start(opener, decompress)
            if not is_tar_header(inside[:_BLOCK]) and (kind := kind_of(inside)):
                packing = kind_of(start) or "zstd"
                raise _refused(name, f"{packing} of {kind}", kind)
            return TarArchive(lambda: GuardedFile(opener), decompress, encoding)
    if is_tar_header(start[:_BLOCK]):
        return TarArchive(lambda: GuardedFile(opener), None, encoding)
    is_zip = name.lower().endswith(".zip")
    if is_zip and has_directory(GuardedFile(opener)):  # behind a program that unpacks it
        return ZipArchive(lambda: GuardedFile(opener), encoding)
    if kind := kind_of(start):
        raise _refused(name, kind, kind)
    guarded = lambda: GuardedFile(opener)  # noqa: E731
    return ZipArchive(guarded, encoding) if is_zip else TarArchive(guarded, None, encoding)


def said_of(name: str, opener: Callable[[], Any]) -> str:
    """What a file that is named as an archive is instead; empty where it may be one.

    Raises PhotoError UNREADABLE.
    """
    try:
        open_archive(name, opener)
    except UsageError as error:
        return str(error)
    return ""


def _start(opener: Callable[[], Any]) -> bytes:
    with GuardedFile(opener) as raw:
        return raw.read(_LOOKED_AT)


def _expanded_start(opener: Callable[[], Any], decompress: Callable[[Any], Any]) -> bytes:
    """The first bytes of what is packed; empty where they do not unpack, which the listing tells."""
    try:
        with GuardedFile(opener) as raw:
            content: bytes = decompress(raw).read(_LOOKED_AT)
    except PhotoError as error:
        if error.code != "ARCHIVE_BOMB":
            raise
        return b""
    except DAMAGE:
        return b""
    return content


def _refused(path: str, got: str, kind: str) -> UsageError:
    name = PurePosixPath(path).name
    wanted = "zip" if name.lower().endswith(".zip") else "tar"
    return UsageError(
        f"Expected an archive at {path}, but {name} is no {wanted} but {got}; {remedy_of(kind)}."
    )


def kind_of(content: bytes) -> str:
    """What a file is by its first bytes, as `a web page (HTML)`; empty where they say nothing."""
    if known := next((what for start, what in _STARTS.items() if content.startswith(start)), ""):
        return known
    text = content[:_TOLD_BY].removeprefix(b"\xef\xbb\xbf").lstrip().lower()
    if text.startswith(_HTML) or (text.startswith(b"<") and any(tag in text for tag in _HTML)):
        return "a web page (HTML)"
    if text.startswith(b"<?xml"):
        return "XML"
    if text.startswith((b"{", b"[")) and _is_text(text):
        return "JSON"
    try:
        return f"a picture ({sniff(content)})"
    except PhotoError as error:
        return "a picture" if error.code == "UNSUPPORTED_FORMAT" else ""


def remedy_of(kind: str) -> str:
    """How to get what was meant."""
    return f"get the file itself with {_FETCH[kind]}" if kind in _FETCH else "download it again"


def _is_text(content: bytes) -> bool:
    return all(byte >= 32 or byte in b"\t\r\n" for byte in content)
