"""A page of one TIFF put into another as it is: its directory, what it links to, and its strips."""

from __future__ import annotations

import io
import struct
from collections.abc import Container, Iterable
from dataclasses import dataclass
from itertools import islice

from storage.containers.tiff_directories import (
    IFD8,
    LONG,
    LONG8,
    Entry,
    TiffReader,
    TiffWriter,
    Value,
)
from storage.errors import PhotoError

_COMPRESSION, _OLD_JPEG = 259, 6
_PLACES = ((324, 325), (273, 279))
"""Offsets and byte counts: of tiles, of strips."""
_LINKS, _INTEROP = (34665, 34853), (40965,)
"""To the Exif and GPS directories, and from Exif."""
_SUB_PAGES = 330
"""To further pictures, as thumbnails, which are left out."""


@dataclass(frozen=True, kw_only=True, slots=True)
class TiffPage:
    """A page to copy."""

    content: bytes
    """The whole TIFF that it is in."""
    number: int
    """Of its directory in the chain, from 0."""


def copy_page(page: TiffPage, writer: TiffWriter) -> dict[int, Value]:
    """Write the strips or tiles of a page and what its directory links to. Returns its entries.

    writer: of a TIFF in the byte order of the page's own. Raises PhotoError: UNSUPPORTED_MODE of the
    JPEG of TIFF 6.0, whose tables lie anywhere, DAMAGED.
    """
    reader = TiffReader(io.BytesIO(page.content))
    assert reader.layout.order == writer.layout.order
    offset = next(islice(reader.pages(), page.number, None))
    entries = reader.entries(offset)
    values = _copied(reader, writer, entries, _LINKS)
    order = reader.layout.order
    if _COMPRESSION in values and values[_COMPRESSION].integers(order) == (_OLD_JPEG,):
        raise PhotoError(
            "UNSUPPORTED_MODE",
            f"page {page.number + 1} passes through as it is only in a compression of today, got the "
            "JPEG of TIFF 6.0; split the file",
        )
    places, counts = next((pair for pair in _PLACES if pair[0] in values), _PLACES[-1])
    if not {places, counts} <= values.keys():
        raise PhotoError(
            "DAMAGED", f"expected tags {places} and {counts} of page {page.number + 1}"
        )
    spans = list(zip(values[places].integers(order), values[counts].integers(order), strict=False))
    if sum(count for _, count in spans) > len(page.content):
        raise PhotoError(
            "DAMAGED", f"expected strips apart in page {page.number + 1}; they overlap"
        )
    new = [_written(writer, page.content[place : place + count]) for place, count in spans]
    values[places] = _numbers(writer, new)
    values[counts] = _numbers(writer, [count for _, count in spans])
    return values


def _copied(
    reader: TiffReader, writer: TiffWriter, entries: dict[int, Entry], links: Container[int]
) -> dict[int, Value]:
    """The values of a directory that parse, those of 8 bytes as the other TIFF can hold them."""
    values = {}
    for tag, value in reader.values(entries, entries.keys() - {_SUB_PAGES}).items():
        if tag in links:
            if linked := reader.linked(entries, tag):
                values[tag] = writer.link(_copied(reader, writer, linked, _INTEROP))
        elif value.type in (LONG8, IFD8):
            values[tag] = _numbers(writer, value.integers(reader.layout.order))
        else:
            values[tag] = value
    return values


def _written(writer: TiffWriter, data: bytes) -> int:
    place = writer.reserve(len(data))
    writer.write(place, data)
    return place


def _numbers(writer: TiffWriter, numbers: Iterable[int]) -> Value:
    """As wide as the TIFF's pointers. Raises PhotoError DAMAGED for one that is wider."""
    layout = writer.layout
    try:
        data = b"".join(map(layout.pointer.pack, numbers))
    except struct.error as error:
        raise PhotoError("DAMAGED", f"expected numbers of 32 bits, got more: {error}") from error
    return Value(LONG8 if layout.big else LONG, data)
