"""Zips: listed by their central directory, read member by member, never extracted."""

from __future__ import annotations

import bz2
import copy
import lzma
import posixpath
import stat
import zipfile
import zlib

from storage.archive_members import (
    DAMAGE,
    MAX_MEMBERS,
    MAX_RATIO,
    RATIO_APPLIES_ABOVE,
    RATIO_SO_FAR_ABOVE,
    Opener,
    bomb,
    damaged,
    name_problem,
    read_errors,
    read_exactly,
    size_problem,
)
from storage.entries import Listing, Problem, SourceFile, duplicate_names


class ZipArchive:
    """A zip. Members are found by its central directory; each read checks the member's CRC."""

    def __init__(self, opener: Opener) -> None:
        self._opener = opener
        self._zip: zipfile.ZipFile | None = None
        self._infos: dict[str, zipfile.ZipInfo] = {}

    def listing(self) -> Listing:
        """Its regular members, and what else it holds as problems."""
        try:
            infos = self._open().infolist()
        except DAMAGE as error:
            return Listing([], [damaged(error)])
        ordered = sorted(infos, key=lambda info: info.header_offset)
        found = [(info, _problem(info)) for info in ordered if not info.is_dir()]
        good = [info for info, problem in found if problem is None]
        if whole := _problem_of_all(ordered, good):
            return Listing([], [whole])
        files = [
            SourceFile(posixpath.normpath(info.filename), info.file_size, f"{info.CRC:08x}")
            for info in good
        ]
        files, duplicates = duplicate_names(files)
        return Listing(files, [problem for _, problem in found if problem] + duplicates)

    def read(self, path: str, offset: int, size: int) -> bytes:
        """One member, whose CRC is checked."""
        with read_errors():
            archive = self._open()
            info = self._infos[path]
            if info.compress_type in (zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA):
                return _read_bounded(archive, info)
            with archive.open(info) as member:
                content = read_exactly(member, info.file_size)
                if member.read(1):
                    raise ValueError(f"expected {info.file_size} bytes, got more")
                return content

    def _open(self) -> zipfile.ZipFile:
        """Open it and note the members that may be read: of a name the first, as `listing` says."""
        if self._zip is None:
            archive = zipfile.ZipFile(self._opener())
            for info in sorted(archive.infolist(), key=lambda info: info.header_offset):
                if not info.is_dir() and _problem(info) is None:
                    self._infos.setdefault(posixpath.normpath(info.filename), info)
            self._zip = archive
        return self._zip


def _problem_of_all(ordered: list[zipfile.ZipInfo], good: list[zipfile.ZipInfo]) -> Problem | None:
    """What forbids the whole archive. ordered: all members, by their bytes; good: those to read."""
    if len(ordered) > MAX_MEMBERS:
        return bomb(f"{len(ordered)} members", f"{MAX_MEMBERS}")
    if any(_overlap(a, b) for a, b in zip(ordered, ordered[1:], strict=False)):
        return bomb("members that share bytes", "members of their own bytes")
    total = sum(info.file_size for info in good)
    packed = sum(info.compress_size for info in ordered)
    if total > max(RATIO_SO_FAR_ABOVE, MAX_RATIO * packed):
        return bomb(f"{total} bytes", f"{MAX_RATIO} times its {packed} bytes")
    return None


def _problem(info: zipfile.ZipInfo) -> Problem | None:
    kind = stat.S_IFMT(info.external_attr >> 16)
    if kind and kind != stat.S_IFREG:
        detail = "expected a regular file, got a link or device"
        return Problem(info.filename, "NOT_REGULAR", detail)
    if info.flag_bits & 0x1:
        return Problem(info.filename, "ENCRYPTED", "expected a member without password")
    if info.file_size > max(RATIO_APPLIES_ABOVE, MAX_RATIO * info.compress_size):
        detail = f"expected at most {MAX_RATIO} times its {info.compress_size} bytes"
        return Problem(info.filename, "ARCHIVE_BOMB", f"{detail}, got {info.file_size}")
    largest = max(info.file_size, info.compress_size)
    return name_problem(info.filename) or size_problem(info.filename, largest)


def _overlap(first: zipfile.ZipInfo, second: zipfile.ZipInfo) -> bool:
    return first.header_offset + 30 + first.compress_size > second.header_offset


def _read_bounded(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> bytes:
    """A bzip2 or LZMA member; of these zipfile bounds neither the output nor the window."""
    stored = copy.copy(info)
    stored.compress_type, stored.file_size = zipfile.ZIP_STORED, info.compress_size
    del stored.CRC  # it is that of the expanded member
    with archive.open(stored) as member:
        packed = member.read()
    if info.compress_type == zipfile.ZIP_BZIP2:
        content = bz2.BZ2Decompressor().decompress(packed, info.file_size + 1)
    else:
        content = _open_lzma(packed[4:9], info.file_size).decompress(packed[9:], info.file_size + 1)
    if len(content) != info.file_size or zlib.crc32(content) != info.CRC:
        raise zipfile.BadZipFile("a wrong size or CRC")
    return content


def _open_lzma(properties: bytes, size: int) -> lzma.LZMADecompressor:
    """A decoder of a zip's LZMA (APPNOTE 5.8.8) whose window is no larger than the output."""
    packed, window = properties[0], int.from_bytes(properties[1:], "little")
    chosen = {
        "id": lzma.FILTER_LZMA1,
        "dict_size": max(4096, min(window, size)),
        "lc": packed % 9,
        "lp": packed // 9 % 5,
        "pb": packed // 45,
    }
    return lzma.LZMADecompressor(lzma.FORMAT_RAW, filters=[chosen])
