"""Directories of a TIFF, a BigTIFF or an EXIF structure: read and written, in either byte order.

Reading is bounded, for the files are not ours: it never goes past the end, follows no loop, and
stops after a number of entries that no honest photo has. What does not parse raises PhotoError
DAMAGED, what lies past the end TRUNCATED. Standards: TIFF 6.0 with Adobe's BigTIFF; CIPA DC-008 (EXIF, a TIFF without pixels).
"""

from __future__ import annotations

import array
import io
import struct
import sys
from collections.abc import Container, Iterator, Mapping
from dataclasses import dataclass
from typing import BinaryIO

from storage.containers.parsing import Losses
from storage.containers.segments import Budget
from storage.errors import PhotoError

BYTE, ASCII, SHORT, LONG, RATIONAL, UNDEFINED, UTF8 = 1, 2, 3, 4, 5, 7, 129
LONG8, SLONG8, IFD8 = 16, 17, 18
"""Field types. UTF8 is of EXIF 3.0; those of 8-byte integers are BigTIFF's."""

_MOST_PAGES = 10_000
_MOST_ENTRIES = 4096
_MOST_DATA = 64 << 20
"""Bytes that the values of one TIFF structure may have together; entries may share their bytes."""
_SPARE = 1024
"""Beside twice the bytes of the file: honest values do not overlap, but counts are read again."""
_MOST_CLASSIC = 1 << 32
_SIZES = {
    **dict.fromkeys((BYTE, ASCII, 6, UNDEFINED, UTF8), 1),
    **dict.fromkeys((SHORT, 8), 2),
    **dict.fromkeys((LONG, 9, 11, 13), 4),
    **dict.fromkeys((RATIONAL, 10, 12, LONG8, SLONG8, IFD8), 8),
}
"""Field type to bytes of one value."""
_SWAPPED = {2: "H", 4: "I", 8: "Q"}
_RATIONALS = (RATIONAL, 10)


@dataclass(frozen=True, slots=True)
class Layout:
    """Byte order and width of a TIFF: `order` as struct's, `big` for BigTIFF."""

    order: str
    big: bool

    @property
    def pointer(self) -> struct.Struct:
        """An offset into the file."""
        return struct.Struct(self.order + ("Q" if self.big else "I"))

    @property
    def count(self) -> struct.Struct:
        """The number of entries, in front of them."""
        return struct.Struct(self.order + ("Q" if self.big else "H"))

    @property
    def entry(self) -> struct.Struct:
        """Tag, type, count, and the value or its offset."""
        return struct.Struct(self.order + ("HHQ8s" if self.big else "HHI4s"))

    @property
    def first(self) -> int:
        """Where the offset of the first directory stands."""
        return 8 if self.big else 4

    def end(self, offset: int, num_entries: int) -> int:
        """Where a directory's pointer to the next one stands."""
        return offset + self.count.size + num_entries * self.entry.size


@dataclass(frozen=True, slots=True)
class Entry:
    """An entry of a directory as it stands in the file: `field` is its value or an offset."""

    type: int
    count: int
    field: bytes


@dataclass(frozen=True, slots=True)
class Value:
    """An entry by its value, in the byte order of its TIFF."""

    type: int
    data: bytes

    def entry(self, field: bytes) -> Entry:
        """The entry with that field."""
        return Entry(self.type, len(self.data) // _SIZES[self.type], field)

    def swapped(self) -> Value:
        """The same value in the other byte order."""
        unit = 4 if self.type in _RATIONALS else _SIZES[self.type]
        if unit == 1:
            return self
        numbers = array.array(_SWAPPED[unit], self.data)
        numbers.byteswap()
        return Value(self.type, numbers.tobytes())

    def integers(self, order: str) -> tuple[int, ...]:
        """The numbers of an unsigned integer or rational type; a rational gives two."""
        unit = 4 if self.type in _RATIONALS else _SIZES[self.type]
        little = self if order == "<" else self.swapped()
        numbers = array.array("B" if unit == 1 else _SWAPPED[unit], little.data)
        if sys.byteorder == "big":
            numbers.byteswap()
        return tuple(numbers)


class TiffReader:
    """Reads the directories of a TIFF, a BigTIFF or an EXIF structure of either byte order."""

    def __init__(self, file: BinaryIO) -> None:
        self._file, self._size = file, file.seek(0, io.SEEK_END)
        self.lost = Losses()
        """Entries and directories that could not be read."""
        self._budget = Budget(min(_MOST_DATA, 2 * self._size + _SPARE))
        order = {b"II": "<", b"MM": ">"}.get(self._read(0, 2))
        version = struct.unpack((order or "<") + "H", self._read(2, 2))[0]
        if order is None or version not in (42, 43):
            raise PhotoError("DAMAGED", f"expected a TIFF's header, got {self._read(0, 4).hex()}")
        self.layout = Layout(order, big=version == 43)

    def pages(self) -> Iterator[int]:
        """The offsets of the chained directories.

        Raises PhotoError: DAMAGED on a loop, TRUNCATED where the chain leaves the file, TOO_LARGE.
        """
        place, seen = self.layout.first, set[int]()
        while offset := self.pointer(place):
            if offset in seen:
                raise PhotoError("DAMAGED", "expected a chain of pages with an end, got a loop")
            if len(seen) >= _MOST_PAGES:
                raise PhotoError("TOO_LARGE", f"expected at most {_MOST_PAGES} pages, got more")
            seen.add(offset)
            yield offset
            place = self.end(offset)

    def check_whole(self, offset: int, needed: Container[int]) -> None:
        """Raise PhotoError TRUNCATED where a directory, or a value of the tags in `needed`, leaves the
        file; DAMAGED where it has no entries, or more than can be.
        """
        start, num_entries = offset + self.layout.count.size, self._count(offset)
        if not num_entries:
            raise PhotoError("DAMAGED", f"expected entries in the directory at {offset}, got none")
        self._check_inside(start, num_entries * self.layout.entry.size)
        for tag, entry in self.entries(offset).items():
            if tag in needed:
                self._check_inside(self.place(entry), _SIZES.get(entry.type, 0) * entry.count)

    def pointer(self, place: int) -> int:
        """The offset that stands at a place of the file."""
        pointer = self.layout.pointer
        return int(pointer.unpack(self._read(place, pointer.size))[0])

    def end(self, offset: int) -> int:
        """Where the pointer to the next directory stands."""
        return self.layout.end(offset, self._count(offset))

    def entries(self, offset: int) -> dict[int, Entry]:
        """The entries of the directory at an offset, by tag; the first of each tag.

        Where it tells more than can be, those that look like entries, which the standard sorts.
        """
        form, start = self.layout.entry, offset + self.layout.count.size
        told = self._told(offset)
        if told > _MOST_ENTRIES or start + told * form.size > self._size:
            return self._salvaged(start, told)
        table = self._read(start, told * form.size)
        entries: dict[int, Entry] = {}
        for tag, kind, count, field in form.iter_unpack(table):
            entries.setdefault(tag, Entry(kind, count, field))
        return entries

    def _salvaged(self, start: int, told: int) -> dict[int, Entry]:
        form, entries, last = self.layout.entry, dict[int, Entry](), -1
        room = range(start, self._size - form.size + 1, form.size)
        for place in room[:_MOST_ENTRIES]:
            tag, kind, count, field = form.unpack(self._read(place, form.size))
            if tag <= last or kind not in _SIZES:
                break
            entries[tag], last = Entry(kind, count, field), tag
        self.lost.note("directory", f"expected {told} entries, {len(entries)} can be read")
        return entries

    def value(self, entry: Entry) -> Value:
        """The value of an entry. Raises PhotoError: DAMAGED of an unknown type, TRUNCATED past the end."""
        size = _SIZES.get(entry.type, 0) * entry.count
        if not size:
            raise PhotoError("DAMAGED", f"expected a value, got type {entry.type} × {entry.count}")
        place = self.place(entry)
        data = self._read(place, size) if place else entry.field[:size]
        return Value(entry.type, data)

    def values(self, entries: Mapping[int, Entry], only: Container[int]) -> dict[int, Value]:
        """The values of the tags in `only`; those that do not parse are left out."""
        values = {tag: self._value_or_none(tag, entries[tag]) for tag in entries if tag in only}
        return {tag: value for tag, value in values.items() if value is not None}

    def place(self, entry: Entry) -> int:
        """Where the value of an entry lies; 0 where it stands in the entry itself."""
        if _SIZES.get(entry.type, 0) * entry.count <= self.layout.pointer.size:
            return 0
        return int(self.layout.pointer.unpack(entry.field)[0])

    def linked(self, entries: Mapping[int, Entry], tag: int) -> dict[int, Entry]:
        """The directory that an entry points to; empty where there is none that parses."""
        if tag not in entries:
            return {}
        try:
            (offset,) = self.value(entries[tag]).integers(self.layout.order)
            return self.entries(offset)
        except (ValueError, PhotoError) as error:
            self.lost.note(f"directory {_tag_name(tag) or tag}", error)
            return {}

    def _value_or_none(self, tag: int, entry: Entry) -> Value | None:
        try:
            return self.value(entry)
        except PhotoError as error:
            if entry.count:  # else there is nothing to lose
                self.lost.note(f"tag {tag} {_tag_name(tag)}".strip(), error)
            return None

    def _told(self, offset: int) -> int:
        form = self.layout.count
        return int(form.unpack(self._read(offset, form.size))[0])

    def _count(self, offset: int) -> int:
        count = self._told(offset)
        if count > _MOST_ENTRIES:
            raise PhotoError("DAMAGED", f"expected at most {_MOST_ENTRIES} entries, got {count}")
        return count

    def _check_inside(self, place: int, size: int) -> None:
        if place + size > self._size:
            raise PhotoError(
                "TRUNCATED", f"expected {size} bytes at {place}, but the file ends at {self._size}"
            )

    def _read(self, place: int, size: int) -> bytes:
        self._check_inside(place, size)
        self._budget.spend(size)
        self._file.seek(place)
        return self._file.read(size)


def _tag_name(tag: int) -> str:
    from PIL.ExifTags import TAGS  # late: the command imports formats, which reads directories

    return TAGS.get(tag, "")


class TiffWriter:
    """Adds directories to a TIFF: at its end, and first into `hole` (from, to) where they fit."""

    def __init__(
        self, file: BinaryIO, layout: Layout, *, end: int = 0, hole: tuple[int, int] = (0, 0)
    ) -> None:
        self._file, self.layout = file, layout
        self._end, self._hole = end or file.seek(0, io.SEEK_END), hole

    def reserve(self, size: int) -> int:
        """An aligned place for that many bytes. Raises ValueError past 4 GiB of a classic TIFF."""
        step = self.layout.pointer.size
        start, end = (-(-place // step) * step for place in (self._hole[0], self._end))
        if start + size <= self._hole[1]:
            self._hole = (start + size, self._hole[1])
            return start
        self._end = end + size
        if not self.layout.big and self._end > _MOST_CLASSIC:
            raise ValueError(f"expected a TIFF of at most 4 GiB, got {self._end}: write a BigTIFF")
        return end

    def reserve_directory(self, num_entries: int) -> int:
        """A place for a directory of that many entries."""
        return self.reserve(self.layout.end(0, num_entries) + self.layout.pointer.size)

    def write(self, place: int, data: bytes) -> None:
        """Write at a place, zeros in between where it lies past the end."""
        self._file.seek(place)
        self._file.write(data)

    def pointer(self, place: int, offset: int) -> None:
        """Let the pointer at a place point to an offset."""
        self.write(place, self.layout.pointer.pack(offset))

    def directory(
        self, entries: Mapping[int, Entry | Value], *, place: int = 0, following: int = 0
    ) -> int:
        """Write a directory, its values first. Returns its offset.

        place: as reserved, else anywhere. following: the offset of the next one; 0 ends the chain.
        """
        place = place or self.reserve_directory(len(entries))
        table = [self.layout.count.pack(len(entries))]
        for tag in sorted(entries):
            entry = self._placed(entries[tag])
            table.append(self.layout.entry.pack(tag, entry.type, entry.count, entry.field))
        self.write(place, b"".join(table) + self.layout.pointer.pack(following))
        return place

    def link(self, entries: Mapping[int, Entry | Value]) -> Value:
        """Write a directory apart from the chain. Returns the value that points to it."""
        return Value(
            LONG8 if self.layout.big else LONG, self.layout.pointer.pack(self.directory(entries))
        )

    def _placed(self, entry: Entry | Value) -> Entry:
        if isinstance(entry, Entry):
            return entry
        if len(entry.data) <= self.layout.pointer.size:
            return entry.entry(entry.data)  # struct's "4s" pads with zeros
        place = self.reserve(len(entry.data))
        self.write(place, entry.data)
        return entry.entry(self.layout.pointer.pack(place))
