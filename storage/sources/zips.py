"""Zips: listed by their central directory, read member by member, never extracted."""

from __future__ import annotations

import bz2
import lzma
import posixpath
import stat
import zipfile
import zlib
from typing import Any

from storage.sources.entries import Listing, Problem, SourceFile, duplicate_names
from storage.sources.members import (
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
from storage.sources.zip_directory import ZipMember, read_directory, seek_data

_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA)
_STEP = 1 << 20


class ZipArchive:
    """A zip. Members are found by its central directory; each read checks the member's CRC."""

    def __init__(self, opener: Opener, encoding: str = "") -> None:
        """encoding: of names that are not UTF-8."""
        self._opener, self._encoding = opener, encoding
        self._file: Any = None
        self._members: list[ZipMember] = []
        self._cut = ""
        self._by_place: dict[int, ZipMember] = {}
        self._by_path: dict[str, ZipMember] = {}

    def listing(self) -> Listing:
        """Its regular members, and what else it holds as problems."""
        try:
            self._open()
        except DAMAGE as error:
            return Listing([], [damaged(error)])
        found = [(member, _problem(member)) for member in self._members if not member.is_folder]
        good = [member for member, problem in found if problem is None]
        if whole := _problem_of_all(self._members, good):
            return Listing([], [whole])
        files = [
            SourceFile(
                posixpath.normpath(member.name), member.size, f"{member.crc:08x}", member.place
            )
            for member in good
        ]
        files, duplicates = duplicate_names(files)
        problems = [problem for _, problem in found if problem] + duplicates
        return Listing(
            files,
            problems + ([damaged(self._cut)] if self._cut else []),
            num_guessed=sum(member.is_guessed for member, _ in found),
        )

    def read(self, path: str, offset: int, size: int) -> bytes:
        """One member, whose CRC is checked; by its place, so that the encoding of names is no matter.

        By its path where no place is known, as in records of before.
        """
        with read_errors():
            self._open()
            member = self._by_path.get(path) if offset < 0 else self._by_place.get(offset)
            if member is None or 0 <= size != member.size:
                raise ValueError("expected the member as listed, it is not there any more")
            seek_data(self._file, member)
            content = _expanded(self._file, member)
            if len(content) != member.size or zlib.crc32(content) != member.crc:
                raise ValueError("expected the size and CRC that the directory tells, got others")
            return content

    def _open(self) -> None:
        """Open it and note the members that may be read: of a name the first, as `listing` says."""
        if self._file is not None:
            return
        file = self._opener()
        members, self._cut = read_directory(file, self._encoding)
        self._members = sorted(members, key=lambda member: member.place)
        for member in self._members:
            if not member.is_folder and _problem(member) is None:
                self._by_path.setdefault(posixpath.normpath(member.name), member)
                self._by_place[member.place] = member
        self._file = file


def _problem_of_all(ordered: list[ZipMember], good: list[ZipMember]) -> Problem | None:
    """What forbids the whole archive. ordered: all members, by their bytes; good: those to read."""
    if len(ordered) > MAX_MEMBERS:
        return bomb(f"{len(ordered)} members", f"{MAX_MEMBERS}")
    placed = [member for member in ordered if not member.fault]
    if any(_overlap(a, b) for a, b in zip(placed, placed[1:], strict=False)):
        return bomb("members that share bytes", "members of their own bytes")
    total = sum(member.size for member in good)
    packed = sum(member.packed for member in placed)
    if total > max(RATIO_SO_FAR_ABOVE, MAX_RATIO * packed):
        return bomb(f"{total} bytes", f"{MAX_RATIO} times its {packed} bytes")
    return None


def _problem(member: ZipMember) -> Problem | None:
    if problem := name_problem(member.name):
        return problem
    kind = stat.S_IFMT(member.mode)
    if kind and kind != stat.S_IFREG:
        detail = "expected a regular file, got a link or device"
        return Problem(member.name, "NOT_REGULAR", detail)
    if member.encrypted:
        return Problem(member.name, "ENCRYPTED", "expected a member without password")
    if member.fault:
        return Problem(member.name, "ARCHIVE_DAMAGED", member.fault)
    if member.method not in _METHODS:
        detail = "expected a member stored, deflated, or packed by bzip2 or LZMA, got method"
        return Problem(
            member.name,
            "UNSUPPORTED_FORMAT",
            f"{detail} {member.method}: unpack the archive yourself into a folder",
        )
    if member.size > max(RATIO_APPLIES_ABOVE, MAX_RATIO * member.packed):
        detail = f"expected at most {MAX_RATIO} times its {member.packed} bytes"
        return Problem(member.name, "ARCHIVE_BOMB", f"{detail}, got {member.size}")
    return size_problem(member.name, max(member.size, member.packed))


def _overlap(first: ZipMember, second: ZipMember) -> bool:
    return first.place + 30 + first.packed > second.place


def _expanded(file: Any, member: ZipMember) -> bytes:
    """A member's bytes, at most one more than the directory tells."""
    if member.method == zipfile.ZIP_DEFLATED:
        return _inflated(file, member)
    packed = read_exactly(file, member.packed)
    if member.method == zipfile.ZIP_STORED:
        return packed
    most = member.size + 1
    if member.method == zipfile.ZIP_BZIP2:
        return bz2.BZ2Decompressor().decompress(packed, most)
    return _open_lzma(packed[4:9], member.size).decompress(packed[9:], most)


def _inflated(file: Any, member: ZipMember) -> bytes:
    worker, parts = zlib.decompressobj(-15), list[bytes]()
    left, room = member.packed, member.size + 1
    while left and room and not worker.eof:
        step = read_exactly(file, min(left, _STEP))
        parts.append(worker.decompress(step, room))
        left, room = left - len(step), room - len(parts[-1])
    return b"".join(parts)


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
