"""A zip's central directory (APPNOTE 4.3 to 4.5), entry by entry: a bad one costs no other.

The standard library's reader gives up the whole archive for one name or extra field that it cannot
read.
"""

from __future__ import annotations

import re
import struct
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from storage.sources.members import decoded, read_exactly

_END, _END64, _LOCATOR = (struct.Struct(form) for form in ("<4s4H2LH", "<4sQ2H2L4Q", "<4sLQL"))
_ENTRY, _LOCAL = struct.Struct("<4s4B4H3L5H2L"), struct.Struct("<4s2B4H3L2H")
_LONGEST_COMMENT = (1 << 16) - 1
_ENCRYPTED = 0x41
"""Flags of general purpose: a password, weak or strong. That of names in UTF-8 is not asked: names
that are UTF-8 often lack it, and some that are not bear it."""
_UNICODE_PATH = 0x7075
"""Info-ZIP's extra field (APPNOTE 4.6.9): version, CRC of the name in the header, the name in UTF-8."""
_DOS_HOSTS = (0, 6, 10, 11, 14)
"""Of "version made by": FAT, HPFS, NTFS as APPNOTE and as Info-ZIP number it, VFAT."""
_AES = 99
_LARGE = 0xFFFFFFFF
"""Of a number that stands in the extra field 1, in 64 bits."""


@dataclass(frozen=True, slots=True)
class ZipMember:
    """One entry of the directory."""

    name: str
    is_guessed: bool
    """Whether nothing tells the encoding of its name."""
    raw_name: bytes
    method: int
    crc: int
    packed: int
    """Bytes in the archive."""
    size: int
    """Bytes when expanded."""
    place: int
    """Of its local header, in the file."""
    mode: int
    """Of Unix, 0 where it is not told."""
    encrypted: bool
    fault: str = ""
    """What is wrong with the entry."""

    @property
    def is_folder(self) -> bool:
        """Whether it holds nothing but a name."""
        return self.name.endswith("/")


def has_directory(file: Any) -> bool:
    """Whether a file ends as a zip does, whatever it begins with."""
    try:
        _find_directory(file)
    except zipfile.BadZipFile:
        return False
    return True


def read_directory(file: Any, encoding: str = "") -> tuple[list[ZipMember], str]:
    """The entries as they follow one another, and what ends them before their end, or empty.

    encoding: of names that are not UTF-8; CP437 is guessed where it is empty or does not fit. Raises
    zipfile.BadZipFile where there is no directory, EOFError.
    """
    start, size, shift = _find_directory(file)
    file.seek(start)
    table = read_exactly(file, size)
    members: list[ZipMember] = []
    place = 0
    while place < len(table):
        fields = table[place : place + _ENTRY.size]
        if len(fields) < _ENTRY.size or fields[:4] != b"PK\x01\x02":
            return (
                members,
                f"expected an entry of the directory at {start + place}, got other bytes",
            )
        member, length = _member(table, place, shift, encoding)
        members.append(member)
        place += length
    return members, ""


def seek_data(file: Any, member: ZipMember) -> None:
    """Move to a member's bytes. Raises zipfile.BadZipFile where its own header is another's."""
    file.seek(member.place)
    header = read_exactly(file, _LOCAL.size)
    *_, name_length, extra_length = _LOCAL.unpack(header)
    if header[:4] != b"PK\x03\x04":
        raise zipfile.BadZipFile("expected the member's header, got other bytes")
    if read_exactly(file, name_length) != member.raw_name:
        raise zipfile.BadZipFile("the member's header has another name than the directory")
    file.seek(member.place + _LOCAL.size + name_length + extra_length)


def _find_directory(file: Any) -> tuple[int, int, int]:
    """Where it starts, its bytes, and by how much offsets are shifted: by a program in front."""
    end = file.seek(0, 2)
    tail_at = max(0, end - _END.size - _LONGEST_COMMENT)
    file.seek(tail_at)
    tail = file.read()
    place = tail.rfind(b"PK\x05\x06", 0, max(0, len(tail) - _END.size + 4))
    if place < 0:
        raise zipfile.BadZipFile("expected the end of a zip, found none")
    *_, size, offset, _ = _END.unpack_from(tail, place)
    stop = tail_at + place
    if large := _find_large(file, stop):
        size, offset, stop = large
    start = stop - size
    if start < 0 or start - offset < 0:
        raise zipfile.BadZipFile("expected a directory inside the file, got one before its start")
    return start, size, start - offset


def _find_large(file: Any, stop: int) -> tuple[int, int, int] | None:
    """Bytes, offset and end of the directory by its 64-bit record, which lies before `stop`."""
    before = stop - _LOCATOR.size - _END64.size
    if before < 0:
        return None
    file.seek(before)
    found = read_exactly(file, _END64.size + _LOCATOR.size)
    if found[:4] != b"PK\x06\x06" or found[_END64.size :][:4] != b"PK\x06\x07":
        return None
    *_, size, offset = _END64.unpack_from(found)
    return size, offset, before


def _member(table: bytes, place: int, shift: int, encoding: str) -> tuple[ZipMember, int]:
    """An entry and its length."""
    _, _, host, _, _, flags, method, _, _, crc, packed, size, *rest = _ENTRY.unpack_from(
        table, place
    )
    name_length, extra_length, comment_length, _, _, attributes, offset = rest
    start = place + _ENTRY.size
    raw = table[start : start + name_length]
    extra = table[start + name_length : start + name_length + extra_length]
    name, is_guessed = _name(raw, extra, encoding, is_dos=host in _DOS_HOSTS)
    fault = ""
    try:
        size, packed, offset = _large_numbers(extra, [size, packed, offset])
    except struct.error:
        fault = "expected sizes of 64 bits in its extra field, found none"
    member = ZipMember(
        name=name,
        is_guessed=is_guessed,
        raw_name=raw,
        method=method,
        crc=crc,
        packed=packed,
        size=size,
        place=offset + shift,
        mode=attributes >> 16,
        encrypted=bool(flags & _ENCRYPTED) or method == _AES,
        fault=fault,
    )
    return member, _ENTRY.size + name_length + extra_length + comment_length


def _name(raw: bytes, extra: bytes, encoding: str, *, is_dos: bool) -> tuple[str, bool]:
    """An entry's name, and whether its encoding is a guess.

    A DOS host's backslashes separate folders where nothing else does. In a guessed name one behind a
    byte over 127 may be half of a character, as in CP932, and stays.
    """
    name = _unicode_path(raw, extra) or decoded(raw, encoding)
    is_guessed = name is None
    if name is None:
        name = raw.decode("cp437")
    if is_dos and "/" not in name:
        name = re.sub(r"(?<![\x80-\U0010ffff])\\" if is_guessed else r"\\", "/", name)
    return name, is_guessed


def _unicode_path(raw: bytes, extra: bytes) -> str | None:
    """The name by Info-ZIP's extra field; None where it is that of another name, or not UTF-8."""
    for kind, content in _fields(extra):
        if kind == _UNICODE_PATH and content[:1] == b"\1":
            is_own = content[1:5] == zlib.crc32(raw).to_bytes(4, "little")
            return decoded(content[5:], "") if is_own else None
    return None


def _fields(extra: bytes) -> Iterator[tuple[int, bytes]]:
    """Kind and content of the extra fields, as far as they are whole headers."""
    place = 0
    while place + 4 <= len(extra):
        kind, length = struct.unpack_from("<2H", extra, place)
        yield kind, extra[place + 4 :][:length]
        place += 4 + length


def _large_numbers(extra: bytes, numbers: list[int]) -> list[int]:
    """The numbers, those that are all ones by the extra field 1. Raises struct.error."""
    if _LARGE not in numbers:
        return numbers
    for kind, content in _fields(extra):
        if kind == 1:
            large = iter(struct.unpack_from(f"<{numbers.count(_LARGE)}Q", content))
            return [next(large) if number == _LARGE else number for number in numbers]
    raise struct.error("no field")
