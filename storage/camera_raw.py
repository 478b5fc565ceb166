"""Raw files of cameras, told by content: their names and directories, never their previews.

The signatures are those that LibRaw and dcraw look for (dcraw.c, `identify`); of files that are TIFFs
the directories say whether a sensor's pixels are in them (TIFF/EP, ISO 12234-2, 5.2).
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from itertools import islice

from storage.containers.parsing import part
from storage.containers.tiff_directories import Entry, TiffReader

_SIGNATURES = (
    (0, b"FUJIFILMCCD-RAW", "Fujifilm RAF"),
    (0, b"IIU\0", "Panasonic RW2"),
    (0, b"IIRO", "Olympus ORF"),
    (0, b"IIRS", "Olympus ORF"),
    (0, b"MMOR", "Olympus ORF"),
    (0, b"\0MRM", "Minolta MRW"),
    (0, b"FOVb", "Sigma X3F"),
    (6, b"HEAPCCDR", "Canon CRW"),
    (8, b"CR\x02", "Canon CR2"),
    (4, b"ftypcrx ", "Canon CR3"),
    (8, b"IIII", "Phase One IIQ"),
    (8, b"MMMM", "Phase One IIQ"),
)
_TIFFS = (b"II*\0", b"MM\0*")
_NEEDS_TIFF = ("Phase One IIQ", "Canon CR2")
_MAKERS = {
    "nikon": "Nikon NEF",
    "canon": "Canon CR2",
    "sony": "Sony ARW",
    "pentax": "Pentax PEF",
    "ricoh": "Pentax PEF",
    "kodak": "Kodak DCR or KDC",
    "hasselblad": "Hasselblad 3FR",
    "phase one": "Phase One IIQ",
    "leaf": "Leaf MOS",
    "mamiya": "Mamiya MEF",
    "samsung": "Samsung SRW",
    "seiko epson": "Epson ERF",
    "olympus": "Olympus ORF",
    "panasonic": "Panasonic RW2",
    "leica": "Leica RWL",
    "fuji": "Fujifilm RAF",
    "minolta": "Minolta MRW",
}
"""What the tag Make holds, in lower case."""
_COOLPIX = ("coolpix", "Nikon NRW")
_SUBFILE, _COMPRESSION, _PHOTOMETRIC, _MAKE, _MODEL, _SUBDIRECTORIES = 254, 259, 262, 271, 272, 330
_DNG_VERSION = 50706
_SENSOR = {32803, 34892}
"""PhotometricInterpretation: colour filter array, linear raw."""
_RAW_COMPRESSIONS = {34713, 32767, 32769, 32770, 65535, 65000, 32867}
"""Nikon's, Sony's, packed, Samsung's, Pentax's and Kodak's two."""
_MOST_DIRECTORIES, _REDUCED = 16, 1


def camera_raw(content: bytes) -> str:
    """Maker and kind of a raw file, such as "Nikon NEF"; empty for what is none. DNG is none."""
    is_tiff = content.startswith(_TIFFS)
    for place, signature, kind in _SIGNATURES:
        if content.startswith(signature, place) and (is_tiff or kind not in _NEEDS_TIFF):
            return kind
    return part("", _by_directories, content) if is_tiff else ""


def _by_directories(content: bytes) -> str:
    reader = TiffReader(io.BytesIO(content))
    found = _directories(reader)
    first = next(found)
    if _DNG_VERSION in first:
        return ""
    directories = [first, *islice(found, _MOST_DIRECTORIES - 1)]
    make = _text(reader, first, _MAKE)
    kind = next((kind for maker, kind in _MAKERS.items() if maker in make), "")
    holds_sensor = any(
        _number(reader, entries, _PHOTOMETRIC) in _SENSOR
        or _number(reader, entries, _COMPRESSION) in _RAW_COMPRESSIONS
        for entries in directories
    )
    hides_it = (
        bool(kind)
        and _SUBDIRECTORIES in first
        and bool((_number(reader, first, _SUBFILE) or 0) & _REDUCED)
    )
    if not (holds_sensor or hides_it):
        return ""
    if _COOLPIX[0] in _text(reader, first, _MODEL):
        return _COOLPIX[1]
    return kind or "of an unknown maker"


def _directories(reader: TiffReader) -> Iterator[dict[int, Entry]]:
    """Each directory of the chain and those below it."""
    for offset in reader.pages():
        entries = reader.entries(offset)
        yield entries
        if below := entries.get(_SUBDIRECTORIES):
            for inner in reader.value(below).integers(reader.layout.order):
                yield reader.entries(inner)


def _number(reader: TiffReader, entries: dict[int, Entry], tag: int) -> int | None:
    entry = entries.get(tag)
    return reader.value(entry).integers(reader.layout.order)[0] if entry else None


def _text(reader: TiffReader, entries: dict[int, Entry], tag: int) -> str:
    entry = entries.get(tag)
    return reader.value(entry).data.decode("latin-1").lower() if entry else ""
