"""Metadata and an ICC profile put into an encoded photo; its pixel data stay byte for byte.

JPEG (ITU-T T.81, JFIF 1.02, XMP part 3), PNG (ISO/IEC 15948), WebP (RFC 9649), TIFF 6.0 and
BigTIFF.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import BinaryIO

from storage.containers.parsing import part
from storage.containers.segments import (
    APP0,
    APP1,
    APP2,
    APP13,
    APP14,
    COMMENT,
    EXIF_START,
    ICC_START,
    JFIF_START,
    JP2_EXIF,
    JP2_IPTC,
    JP2_UUIDS,
    JP2_XMP,
    JPEGXL_START,
    PNG_METADATA,
    PNG_XMP,
    RAW_PROFILE,
    RESOURCES_START,
    XMP_START,
    iso_box,
    iso_pieces,
    jpeg_segment,
    jpeg_segments,
    png_chunk,
    png_chunks,
    riff_chunk,
    riff_chunks,
    webp_canvas,
)
from storage.containers.tiff_copying import TiffPage, copy_page
from storage.containers.tiff_directories import (
    BYTE,
    UNDEFINED,
    Entry,
    TiffReader,
    TiffWriter,
    Value,
)
from storage.errors import UsageError
from storage.metadata import iptc, xmp
from storage.metadata.exif import (
    DESCRIPTIVE,
    IPTC_TAG,
    MAKER_NOTE,
    XMP_TAG,
    pack_exif,
    parse_exif,
    write_links,
)
from storage.metadata.extraction import INCH, Metadata

_LONGEST_SEGMENT = 65_533
_WEBP_FLAGS = {b"ICCP": 0x20, b"EXIF": 0x08, b"XMP ": 0x04}
_WITHOUT_IPTC = {"WEBP": "WebP", "JXL": "JPEG XL"}
_WITHOUT_ANY = ("BMP", "PPM")
EMBEDDED = ("JPEG", "PNG", "WEBP", "JPEG2000", "JXL")
"""Formats that `embed` takes."""


def embed(format_name: str, encoded: bytes, metadata: Metadata, *, profile: bytes) -> bytes:
    """Put metadata and, but for the last two, a profile into a JPEG, PNG, WEBP, JPEG2000 or JXL.

    What the encoder wrote of the same kinds is replaced; the pixel data stay byte for byte. JPEG
    segments hold 65,533 bytes: a longer EXIF loses its MakerNote, then all but its first
    directory; a longer XMP all but our labels. WebP has no place for IPTC. Raises UsageError for
    another format or for labels that do not fit, PhotoError DAMAGED where `encoded` is not of the
    format.
    """
    writers = {
        "JPEG": _embed_jpeg,
        "PNG": _embed_png,
        "WEBP": _embed_webp,
        "JPEG2000": _embed_jpeg2000,
        "JXL": _embed_jpegxl,
    }
    if format_name not in writers:
        raise UsageError(f"expected one of {', '.join(writers)}, got {format_name!r}")
    return writers[format_name](encoded, metadata, profile)


def cut_to_fit(format_name: str, metadata: Metadata) -> Iterator[str]:
    """What `embed` leaves out, for people: the format has no room or no place for it."""
    if format_name == "JPEG":
        if (fitting := _fitting_exif(metadata.exif)) != metadata.exif:
            what = "its MakerNote" if _has_photo(fitting) else "all but its first directory"
            yield f"EXIF: too long for a JPEG, {what if fitting else 'all of it'} is left out"
        if metadata.xmp and _fitting_xmp(metadata.xmp) != metadata.xmp:
            yield "XMP: too long for a JPEG, all but caption and labels is left out"
    elif format_name in _WITHOUT_IPTC and metadata.iptc:
        yield f"IPTC: {_WITHOUT_IPTC[format_name]} has no place for it"
    elif format_name in _WITHOUT_ANY:
        for name, content in (("EXIF", metadata.exif), ("IPTC", metadata.iptc)):
            if content:
                yield f"{name}: {format_name} has no place for it"


def _has_photo(exif: bytes) -> bool:
    parsed = part(None, parse_exif, exif) if exif else None
    return bool(parsed and parsed.photo)


def embed_tiff(file: BinaryIO, pages: Sequence[Metadata | TiffPage]) -> None:
    """Put metadata into the pages of a written TIFF or BigTIFF, in place, at its end.

    file: open for reading and writing, seekable. pages: by the chain of directories; the rest stay
    as they are. Each page gets a new directory with its old entries and the tags of IPTC (33723),
    XMP (700), Exif, GPS and the descriptive ones of TIFF 6.0; the file is whole after each page.
    A `TiffPage` is put in between, copied from a TIFF of the same byte order.
    Raises PhotoError DAMAGED where the file is no TIFF, UsageError for more metadata than pages,
    ValueError where a classic TIFF would pass 4 GiB, and as `copy_page` does.
    """
    reader = TiffReader(file)
    offsets = list(reader.pages())
    num_own = sum(isinstance(page, Metadata) for page in pages)
    if num_own > len(offsets):
        raise UsageError(f"expected metadata of at most {len(offsets)} pages, got {num_own}")
    writer, place = TiffWriter(file, reader.layout), reader.layout.first
    for page in pages:
        entries: dict[int, Entry | Value]
        if isinstance(page, TiffPage):
            entries = {**copy_page(page, writer)}
        else:
            entries = {**reader.entries(offsets.pop(0)), **_tiff_entries(writer, page)}
        new = writer.directory(entries, following=offsets[0] if offsets else 0)
        writer.pointer(place, new)
        place = reader.layout.end(new, len(entries))
    file.flush()
    file.seek(0)  # tifffile takes the position for the start of the TIFF


def _embed_jpeg(encoded: bytes, metadata: Metadata, profile: bytes) -> bytes:
    view, pieces = memoryview(encoded), list(jpeg_segments(encoded))
    kept = [p for p in pieces if p.name not in (APP1, APP2, APP13, COMMENT)]
    density = [_jfif(metadata.dpi, encoded[p.data]) for p in kept if p.name == APP0]
    if not density and all(p.name != APP14 for p in kept):  # JFIF and Adobe exclude each other
        density = [_jfif(metadata.dpi, b"")]
    others = [view[p.whole] for p in kept if p.name != APP0]
    rest = view[pieces[-1].whole.stop if pieces else 2 :]
    return b"".join([view[:2], *density, *_new_segments(metadata, profile), *others, rest])


def _new_segments(metadata: Metadata, profile: bytes) -> Iterator[bytes]:
    if exif := _fitting_exif(metadata.exif):
        yield jpeg_segment(0xE1, EXIF_START + exif)
    if metadata.xmp:
        yield jpeg_segment(0xE1, XMP_START + _fitting_xmp(metadata.xmp))
    if metadata.iptc:
        for chunk in _split(iptc.as_resource(metadata.iptc), len(RESOURCES_START)):
            yield jpeg_segment(0xED, RESOURCES_START + chunk)
    chunks = _split(profile, len(ICC_START) + 2)
    for number, chunk in enumerate(chunks, 1):
        yield jpeg_segment(0xE2, ICC_START + bytes([number, len(chunks)]) + chunk)
    for keyword, text in metadata.text:
        if keyword == "Comment":
            yield jpeg_segment(0xFE, text.encode(errors="replace")[:_LONGEST_SEGMENT])


def _split(data: bytes, num_reserved: int) -> list[bytes]:
    """Into parts that fit a segment beside so many bytes."""
    step = _LONGEST_SEGMENT - num_reserved
    return [data[start : start + step] for start in range(0, len(data), step)]


def _jfif(dpi: tuple[float, float] | None, data: bytes) -> bytes:
    """The APP0 segment of JFIF 1.02 with that density; JFXX and what has no density as it was."""
    dots = [round(value) for value in dpi or ()]
    if not data.startswith(JFIF_START) and data:
        dots = []
    if not dots or not all(0 < value <= 0xFFFF for value in dots):
        return jpeg_segment(0xE0, data) if data else b""
    data = data or b"JFIF\0\1\2".ljust(14, b"\0")
    return jpeg_segment(0xE0, data[:7] + struct.pack(">BHH", 1, *dots) + data[12:])


def _fitting_exif(content: bytes) -> bytes:
    """Cut to one segment: without MakerNote, else the first directory alone, else none."""
    longest = _LONGEST_SEGMENT - len(EXIF_START)
    if len(content) <= longest:
        return content
    exif = part(None, parse_exif, content)
    if exif is None:
        return b""
    photo = {tag: value for tag, value in exif.photo.items() if tag != MAKER_NOTE}
    shorter = replace(exif, photo=photo)
    alone = replace(exif, photo={}, gps={}, interop={})
    return next((b for b in map(pack_exif, (shorter, alone)) if len(b) <= longest), b"")


def _fitting_xmp(packet: bytes) -> bytes:
    longest = _LONGEST_SEGMENT - len(XMP_START)
    if len(packet) > longest:
        packet = xmp.essential(packet)
    if len(packet) > longest:
        raise UsageError(f"expected labels of at most {longest} bytes, got {len(packet)}")
    return packet


def _embed_png(encoded: bytes, metadata: Metadata, profile: bytes) -> bytes:
    view = memoryview(encoded)
    kept = [view[p.whole] for p in png_chunks(encoded) if p.name not in PNG_METADATA]
    return b"".join([view[:8], *kept[:1], *_new_chunks(metadata, profile), *kept[1:]])


def _new_chunks(metadata: Metadata, profile: bytes) -> Iterator[bytes]:
    if profile:
        yield png_chunk(b"iCCP", b"ICC profile\0\0" + zlib.compress(profile))
    if metadata.dpi:
        x, y = (round(dots / INCH) for dots in metadata.dpi)
        yield png_chunk(b"pHYs", struct.pack(">IIB", x, y, 1))
    if metadata.exif:
        yield png_chunk(b"eXIf", metadata.exif)
    if metadata.xmp:
        yield png_chunk(b"iTXt", PNG_XMP.encode() + bytes(5) + metadata.xmp)
    if metadata.iptc:
        yield _raw_profile_chunk("iptc", iptc.as_resource(metadata.iptc))
    for keyword, text in metadata.text:
        yield _text_chunk(keyword, text)


def _raw_profile_chunk(name: str, data: bytes) -> bytes:
    """As ImageMagick and ExifTool write what PNG has no chunk for."""
    lines = [data[start : start + 36].hex() for start in range(0, len(data), 36)]
    text = "\n".join([f"\n{name}\n{len(data):8}", *lines, ""])
    return png_chunk(b"zTXt", f"{RAW_PROFILE}{name}\0\0".encode() + zlib.compress(text.encode()))


def _text_chunk(keyword: str, text: str) -> bytes:
    """A tEXt chunk, or an iTXt one where Latin-1 does not do."""
    name, text = keyword.encode("latin-1", "replace")[:79], text.replace("\0", "")
    try:
        return png_chunk(b"tEXt", name + b"\0" + text.encode("latin-1"))
    except UnicodeEncodeError:
        return png_chunk(b"iTXt", name + bytes(5) + text.encode(errors="replace"))


def _embed_webp(encoded: bytes, metadata: Metadata, profile: bytes) -> bytes:
    view, pieces = memoryview(encoded), {p.name: p for p in riff_chunks(encoded)}
    ours = {b"ICCP": profile, b"EXIF": metadata.exif, b"XMP ": metadata.xmp}
    new = {name: riff_chunk(name, data) if data else b"" for name, data in ours.items()}
    found = webp_canvas({name: encoded[p.data][:10] for name, p in pieces.items()})
    flags = found.flags
    canvas = b"".join((side - 1).to_bytes(3, "little") for side in (found.width, found.height))
    flags |= sum(_WEBP_FLAGS[name] for name, data in ours.items() if data)
    header = riff_chunk(b"VP8X", bytes([flags, 0, 0, 0]) + canvas)
    kept = [view[p.whole] for p in riff_chunks(encoded) if p.name not in (*ours, b"VP8X")]
    body = b"".join([b"WEBP", header, new[b"ICCP"], *kept, new[b"EXIF"], new[b"XMP "]])
    return b"RIFF" + struct.pack("<I", len(body)) + body


def _embed_jpeg2000(encoded: bytes, metadata: Metadata, profile: bytes) -> bytes:
    """Boxes of its own before the codestream; its colours are sRGB by the encoder's header."""
    resources = iptc.as_resource(metadata.iptc) if metadata.iptc else b""
    said = ((JP2_EXIF, metadata.exif), (JP2_IPTC, resources), (JP2_XMP, metadata.xmp))
    ours = b"".join(iso_box(b"uuid", uuid + data) for uuid, data in said if data)
    kept = (
        encoded[b.whole] for b in iso_pieces(encoded) if not encoded[b.data].startswith(JP2_UUIDS)
    )
    return b"".join(ours + box if box[4:8] == b"jp2c" else box for box in kept)


def _embed_jpegxl(encoded: bytes, metadata: Metadata, profile: bytes) -> bytes:
    """Boxes before the codestream, which gets a container where it has none (ISO/IEC 18181-2)."""
    if not encoded.startswith(JPEGXL_START):
        start = iso_box(b"JXL ", b"\r\n\x87\n") + iso_box(b"ftyp", b"jxl \0\0\0\0jxl ")
        encoded = start + iso_box(b"jxlc", encoded)
    ours = iso_box(b"Exif", bytes(4) + metadata.exif) if metadata.exif else b""
    ours += iso_box(b"xml ", metadata.xmp) if metadata.xmp else b""
    kept = [encoded[b.whole] for b in iso_pieces(encoded) if b.name not in (b"Exif", b"xml ")]
    first = next(i for i, box in enumerate(kept) if box[4:8] in (b"jxlc", b"jxlp"))
    return b"".join([*kept[:first], ours, *kept[first:]])


def _tiff_entries(writer: TiffWriter, metadata: Metadata) -> dict[int, Value]:
    """The entries that a page gets; what they point to is written."""
    entries: dict[int, Value] = {}
    if metadata.xmp:
        entries[XMP_TAG] = Value(BYTE, metadata.xmp)
    if metadata.iptc:
        entries[IPTC_TAG] = Value(UNDEFINED, metadata.iptc)
    exif = part(None, parse_exif, metadata.exif)
    if exif is None:
        return entries
    exif = exif.ordered(writer.layout.order)
    entries |= {tag: value for tag, value in exif.main.items() if tag in DESCRIPTIVE}
    return entries | write_links(writer, exif, exif.photo)
