"""EXIF structures (CIPA DC-008): read from a TIFF's directories, packed, linked to a TIFF's page."""

from __future__ import annotations

import io
from collections.abc import Container, Mapping
from dataclasses import dataclass, replace

from storage.containers.parsing import Losses
from storage.containers.tiff_directories import (
    IFD8,
    LONG8,
    SLONG8,
    Entry,
    Layout,
    TiffReader,
    TiffWriter,
    Value,
)

EXIF_LINK, GPS_LINK, INTEROP_LINK, MAKER_NOTE = 0x8769, 0x8825, 0xA005, 0x927C
IMAGE_DESCRIPTION, ORIENTATION = 270, 274
X_RESOLUTION, Y_RESOLUTION, RESOLUTION_UNIT = 282, 283, 296
COLOR_SPACE, PIXEL_X_DIMENSION, PIXEL_Y_DIMENSION, INTEROP_INDEX = 0xA001, 0xA002, 0xA003, 1
XMP_TAG, IPTC_TAG, RESOURCES_TAG, PROFILE_TAG = 700, 33723, 34377, 34675
"""Of a TIFF page: XMP, IPTC, Photoshop's resources and the ICC profile."""
DESCRIPTIVE = frozenset({269, 270, 271, 272, 285, 297, 306, 315, 316, 33432, *range(40091, 40096)})
"""Of a TIFF page: DocumentName, ImageDescription, Make, Model, PageName, PageNumber, DateTime,
Artist, HostComputer, Copyright, and XPTitle to XPSubject. The rest describes the pixels."""

_FARTHEST_NOTE = 1 << 16
_UNITS = {2: 1.0, 3: 2.54}
"""ResolutionUnit to the factor that makes dots an inch: inch, centimetre."""
_BIG_TYPES = (LONG8, SLONG8, IFD8)
_POINTING = frozenset({273, 279, 288, 289, 324, 325, 330, 513, 514, EXIF_LINK, GPS_LINK})
"""Entries whose value is an offset into a file that the entry leaves."""
_KEPT_ELSEWHERE = frozenset({XMP_TAG, IPTC_TAG, RESOURCES_TAG, PROFILE_TAG})
"""They travel beside the EXIF."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Exif:
    """The directories of an EXIF structure (CIPA DC-008, 4.6), by tag, without the thumbnail's."""

    order: str
    """Byte order of the values, "<" or ">"."""
    main: dict[int, Value]
    photo: dict[int, Value]
    gps: dict[int, Value]
    interop: dict[int, Value]
    note_place: int = 0
    """Where the MakerNote lay: many makers count offsets from the start of the structure."""

    def __bool__(self) -> bool:
        return bool(self.main or self.photo or self.gps)

    def ordered(self, order: str) -> Exif:
        """The same in a byte order; the MakerNote's bytes stay as they are."""
        if order == self.order:
            return self
        main, photo, gps, interop = (
            {tag: value.swapped() for tag, value in part.items()}
            for part in (self.main, self.photo, self.gps, self.interop)
        )
        return replace(self, order=order, main=main, photo=photo, gps=gps, interop=interop)


class _Every:
    """All tags but those that mean nothing in another file."""

    def __contains__(self, tag: object) -> bool:
        return tag not in _POINTING and tag not in _KEPT_ELSEWHERE and tag != INTEROP_LINK


_EVERY = _Every()


def read_exif(reader: TiffReader, offset: int, only: Container[int] = _EVERY) -> Exif:
    """The EXIF of the directory at an offset. only: the tags to take of that directory itself."""
    main = reader.entries(offset)
    photo = reader.linked(main, EXIF_LINK)
    note = photo.get(MAKER_NOTE)
    parts = [
        reader.values(part, which)
        for part, which in (
            (main, only),
            (photo, _EVERY),
            (reader.linked(main, GPS_LINK), _EVERY),
            (reader.linked(photo, INTEROP_LINK), _EVERY),
        )
    ]
    if reader.layout.big:  # an EXIF structure knows no 8-byte numbers
        parts = [{t: v for t, v in part.items() if v.type not in _BIG_TYPES} for part in parts]
    return Exif(
        order=reader.layout.order,
        main=parts[0],
        photo=parts[1],
        gps=parts[2],
        interop=parts[3],
        note_place=reader.place(note) if note else 0,
    )


def parse_exif(content: bytes, losses: Losses | None = None) -> Exif:
    """An EXIF structure, from its byte order mark on; as far as it parses. Raises PhotoError.

    losses: gets what of it cannot be read.
    """
    reader = TiffReader(io.BytesIO(content))
    exif = read_exif(reader, reader.pointer(reader.layout.first))
    if losses is not None:
        for line in reader.lost:
            losses.note("EXIF", line)
    return exif


def pack_exif(exif: Exif) -> bytes:
    """The bytes of an EXIF structure; a MakerNote keeps its place, so that its offsets hold."""
    file, layout = io.BytesIO(), Layout(exif.order, big=False)
    note, place = exif.photo.get(MAKER_NOTE), exif.note_place
    if note and 8 <= place <= _FARTHEST_NOTE:
        writer = TiffWriter(file, layout, end=place + len(note.data), hole=(8, place))
        writer.write(place, note.data)
        photo: dict[int, Entry | Value] = {
            **exif.photo,
            MAKER_NOTE: note.entry(layout.pointer.pack(place)),
        }
    else:
        writer, photo = TiffWriter(file, layout, end=8), {**exif.photo}
    first = writer.reserve_directory(len(exif.main) + bool(photo or exif.interop) + bool(exif.gps))
    writer.directory(exif.main | write_links(writer, exif, photo), place=first)
    mark = b"II*\0" if exif.order == "<" else b"MM\0*"
    writer.write(0, mark + layout.pointer.pack(first))
    return file.getvalue()


def write_links(
    writer: TiffWriter, exif: Exif, photo: Mapping[int, Entry | Value]
) -> dict[int, Value]:
    """Write the Exif, GPS and Interop directories. Returns the entries that point to them."""
    links: dict[int, Value] = {}
    if exif.interop:
        photo = {**photo, INTEROP_LINK: writer.link(exif.interop)}
    if photo:
        links[EXIF_LINK] = writer.link(photo)
    if exif.gps:
        links[GPS_LINK] = writer.link(exif.gps)
    return links


def resolution(values: Mapping[int, Value], order: str) -> tuple[float, float]:
    """Dots an inch of a TIFF's or EXIF's first directory. Raises many kinds of errors."""
    x, y = (values[tag].integers(order) for tag in (X_RESOLUTION, Y_RESOLUTION))
    unit = values[RESOLUTION_UNIT].integers(order)[0] if RESOLUTION_UNIT in values else 2
    return _UNITS[unit] * x[0] / x[1], _UNITS[unit] * y[0] / y[1]
