"""What a photo's file says of itself, apart from its pixels, read from each container.

JPEG (ITU-T T.81, JFIF 1.02, XMP part 3), PNG (ISO/IEC 15948), WebP (RFC 9649), TIFF 6.0 and
BigTIFF. A part that does not parse is left out and named: a photo matters more than its tags.
"""

from __future__ import annotations

import io
import struct
import warnings
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from itertools import islice
from typing import Any

from PIL import Image

from storage.containers.jpegxl import codestream, read_head
from storage.containers.parsing import Losses, part
from storage.containers.segments import (
    APP0,
    APP1,
    APP2,
    APP13,
    COMMENT,
    EXIF_START,
    ICC_START,
    JFIF_START,
    JP2_EXIF,
    JP2_IPTC,
    JP2_XMP,
    JPEGXL_START,
    PNG_METADATA,
    PNG_TEXTS,
    PNG_XMP,
    RAW_PROFILE,
    RESOURCES_START,
    XMP_START,
    Budget,
    Piece,
    inflate,
    iso_boxes,
    jpeg_segments,
    png_chunks,
    riff_chunks,
)
from storage.containers.tiff_directories import LONG, TiffReader, Value
from storage.metadata import iptc, xmp
from storage.metadata.charsets import decoded, latin
from storage.metadata.exif import (
    DESCRIPTIVE,
    IPTC_TAG,
    ORIENTATION,
    PROFILE_TAG,
    RESOLUTION_UNIT,
    RESOURCES_TAG,
    X_RESOLUTION,
    XMP_TAG,
    Y_RESOLUTION,
    pack_exif,
    parse_exif,
    read_exif,
    resolution,
)

INCH = 0.0254
"""Metres."""

_MOST_INFLATED, _MOST_TEXT, _MOST_TEXTS = 16 << 20, 32 << 20, 1000
_MOST_DPI = 1e6
_SCAN, _JPEG_END, _PADDING = b"\xda", b"\xff\xd9", b"\0\xff\xd9 \r\n"
_MORE_XMP = b"http://ns.adobe.com/xmp/extension/\0"
_JP2_START = b"\0\0\0\x0cjP  "
_GIF_XMP, _GIF_XMP_END = b"\x21\xff\x0bXMP DataXMP", b"\x01\xff\xfe"
_GIF_ICC = b"\x21\xff\x0bICCRGBG1012"
_WEBP_METADATA = (b"ICCP", b"EXIF", b"XMP ")
_PAGE_TAGS = frozenset(
    {XMP_TAG, IPTC_TAG, RESOURCES_TAG, PROFILE_TAG, X_RESOLUTION, Y_RESOLUTION, RESOLUTION_UNIT}
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Metadata:
    """What a photo says of itself, apart from its pixels."""

    exif: bytes = b""
    """A TIFF structure (CIPA DC-008) from its byte order mark on, without "Exif\\0\\0"."""
    iptc: bytes = b""
    """IIM datasets, as in TIFF tag 33723 and in Photoshop's resource 0x0404."""
    xmp: bytes = b""
    """A packet, UTF-8."""
    profile: bytes = b""
    """ICC profile of the original's pixels."""
    dpi: tuple[float, float] | None = None
    """Dots an inch, x and y."""
    gamma: float | None = None
    """PNG gAMA where no profile says more, as the file's number, e.g. 0.45455."""
    text: tuple[tuple[str, str], ...] = ()
    """PNG's texts by keyword; JPEG's comments under "Comment"."""
    lost: tuple[str, ...] = ()
    """What could not be read, a line each, as `EXIF: tag 33434 ExposureTime: expected …`."""


def read_metadata(format_name: str, content: bytes, page: int = 0) -> Metadata:
    """Read what a file says of itself; never raises, for a photo matters more than its tags.

    format_name: JPEG, PNG, WEBP or TIFF; others as Pillow names them, of which only what Pillow
    tells cheaply is read. page: of a TIFF, counted along its directories, thumbnails included.
    A part that does not parse is left empty and told in `lost`; what of it does is kept.
    """
    losses = Losses()
    readers: dict[str, Callable[[bytes, Losses], Metadata]] = {
        **dict.fromkeys(("JPEG", "JPEGLS", "LJPEG", "JPEG12"), _read_jpeg),
        "PNG": _read_png,
        "WEBP": _read_webp,
        "JXL": _read_jpegxl,
        "JPEG2000": _read_jpeg2000,
        "GIF": _read_gif,
        "BMP": _read_bmp,
        "TIFF": partial(_read_tiff, page=page),
        "DNG": _read_raw,
        "RAW": _read_raw,
    }
    reader = readers.get(format_name) or partial(_read_pillow, format_name)
    found = losses.part("metadata", Metadata(), reader, content, losses)
    return replace(found, lost=tuple(losses))


def _read_jpeg(content: bytes, losses: Losses) -> Metadata:
    pieces = list(jpeg_segments(content))
    segments = [(piece.name, content[piece.data]) for piece in pieces]
    _note_trailer(content, pieces, losses)
    exif = _checked_exif(_first(segments, APP1, EXIF_START), losses)
    if more := len(list(_all(segments, APP1, _MORE_XMP))):
        losses.note("XMP", f"its extension, in {more} further segments, is not carried over")
    resources = b"".join(_all(segments, APP13, RESOURCES_START))
    comments = islice(_all(segments, COMMENT, b""), _MOST_TEXTS)
    return Metadata(
        exif=exif,
        iptc=losses.part("IPTC", b"", iptc.from_resources, resources, losses),
        xmp=losses.part("XMP", b"", xmp.checked, _first(segments, APP1, XMP_START)),
        profile=_joined_profile(list(_all(segments, APP2, ICC_START)), losses),
        dpi=part(None, _jfif_dpi, _first(segments, APP0, JFIF_START)) or _exif_dpi(exif),
        text=tuple(("Comment", decoded(comment)) for comment in comments),
    )


def _note_trailer(content: bytes, pieces: list[Piece], losses: Losses) -> None:
    """Bytes behind the picture's end: a motion photo's film, a second view, a gain or depth map."""
    if not pieces or pieces[-1].name != _SCAN:
        return
    end = content.find(_JPEG_END, pieces[-1].whole.stop)
    rest = content[end + 2 :] if end >= 0 else b""
    if rest.strip(_PADDING):
        is_picture = rest.lstrip(b"\0").startswith(b"\xff\xd8")
        what = "another picture" if is_picture else "a film" if b"ftyp" in rest else "no part of it"
        losses.note(
            "trailer", f"{len(rest)} bytes behind the picture, {what}, are not carried over"
        )


def _all(segments: Iterable[tuple[bytes, bytes]], marker: bytes, start: bytes) -> Iterator[bytes]:
    """The data after `start` of all segments of a marker that have it."""
    return (
        data[len(start) :] for name, data in segments if name == marker and data.startswith(start)
    )


def _first(segments: Iterable[tuple[bytes, bytes]], marker: bytes, start: bytes) -> bytes:
    return next(_all(segments, marker, start), b"")


def _joined_profile(chunks: list[bytes], losses: Losses) -> bytes:
    """An ICC profile from its APP2 chunks: number, of how many, data (ICC.1, B.4)."""
    if not chunks:
        return b""
    parts = {chunk[0]: chunk[2:] for chunk in chunks if len(chunk) > 2}
    if sorted(parts) != list(range(1, len(chunks) + 1)) or chunks[0][1] != len(chunks):
        losses.note("ICC profile", f"expected all of its segments, got {len(parts)} that fit")
        return b""
    return b"".join(parts[number] for number in sorted(parts))


def _jfif_dpi(data: bytes) -> tuple[float, float] | None:
    """Of what follows "JFIF\\0": version (2 bytes), unit, density of x and y."""
    unit, x, y = struct.unpack_from(">BHH", data, 2)
    factor = {1: 1.0, 2: 2.54}.get(unit)
    return _dpi(factor * x, factor * y) if factor else None


def _dpi(x: float, y: float) -> tuple[float, float] | None:
    return (x, y) if 0 < x < _MOST_DPI and 0 < y < _MOST_DPI else None


def _read_png(content: bytes, losses: Losses) -> Metadata:
    texts, chunks = _png_parts(content, losses)
    said = dict(reversed(texts))  # the first of a keyword counts
    exif = chunks.get(b"eXIf", b"") or _raw_profile(losses, said, "exif", "APP1")
    packet = said.get(PNG_XMP, "").encode() or _raw_profile(losses, said, "xmp")
    profiled = chunks.keys() & {b"iCCP", b"sRGB", b"cICP"}
    return Metadata(
        exif=_checked_exif(exif.removeprefix(EXIF_START), losses),
        iptc=losses.part(
            "IPTC", b"", iptc.from_resources, _raw_profile(losses, said, "iptc"), losses
        ),
        xmp=losses.part("XMP", b"", xmp.checked, packet),
        profile=losses.part("ICC profile", b"", _png_profile, chunks.get(b"iCCP", b"")),
        dpi=losses.part("resolution", None, _png_dpi, chunks.get(b"pHYs", b"")),
        gamma=None
        if profiled
        else losses.part("gamma", None, _png_gamma, chunks.get(b"gAMA", b"")),
        text=tuple(text for text in texts if not text[0].startswith((PNG_XMP, RAW_PROFILE))),
    )


def _png_parts(content: bytes, losses: Losses) -> tuple[list[tuple[str, str]], dict[bytes, bytes]]:
    """The texts, and the first of each other chunk of metadata."""
    budget, texts, chunks = Budget(_MOST_TEXT), list[tuple[str, str]](), dict[bytes, bytes]()
    for piece in png_chunks(content):
        if piece.name not in PNG_METADATA:
            continue
        if (size := piece.data.stop - piece.data.start) > _MOST_INFLATED:
            losses.note(
                piece.name.decode("latin-1"), f"expected at most {_MOST_INFLATED} bytes, got {size}"
            )
        elif piece.name in PNG_TEXTS and len(texts) >= _MOST_TEXTS:
            losses.note("text", f"only the first {_MOST_TEXTS} are kept")
        elif piece.name in PNG_TEXTS:
            text = losses.part("text", None, _png_text, content[piece.data], piece.name, budget)
            texts += [text] if text and text[0] else []
        else:
            chunks.setdefault(piece.name, content[piece.data])
    return texts, chunks


def _png_text(data: bytes, name: bytes, budget: Budget) -> tuple[str, str]:
    """Keyword and text of a tEXt, zTXt or iTXt chunk (ISO/IEC 15948, 11.3.4)."""
    keyword, _, rest = data.partition(b"\0")
    packed = name == b"zTXt" or (name == b"iTXt" and rest[0] == 1)
    if name == b"iTXt":
        _language, _keyword, rest = rest[2:].split(b"\0", 2)
    elif packed:
        rest = rest[1:]
    if packed:
        rest = inflate(rest, budget, most=_MOST_INFLATED)
    else:
        budget.spend(len(rest))
    return latin(keyword), decoded(rest) if name == b"iTXt" else latin(rest)


def _raw_profile(losses: Losses, said: dict[str, str], *names: str) -> bytes:
    """A profile that ImageMagick and ExifTool keep in a PNG's text: name, length, hexadecimal."""
    for name in names:
        lines = said.get(RAW_PROFILE + name, "").split("\n", 3)
        if len(lines) == 4:
            return losses.part(name, b"", _from_hex, lines[3].encode())
    return b""


def _from_hex(text: bytes) -> bytes:
    return bytes.fromhex(text.decode())


def _png_profile(data: bytes) -> bytes:
    _name, _, rest = data.partition(b"\0")
    return inflate(rest[1:], Budget(2 * _MOST_INFLATED), most=_MOST_INFLATED)


def _png_dpi(data: bytes) -> tuple[float, float] | None:
    x, y, unit = struct.unpack(">IIB", data)
    return _dpi(x * INCH, y * INCH) if unit == 1 else None


def _png_gamma(data: bytes) -> float | None:
    (gamma,) = struct.unpack(">I", data)
    return gamma / 100_000 or None


def _read_webp(content: bytes, losses: Losses) -> Metadata:
    chunks = {p.name: content[p.data] for p in riff_chunks(content) if p.name in _WEBP_METADATA}
    exif = _checked_exif(chunks.get(b"EXIF", b"").removeprefix(EXIF_START), losses)
    return Metadata(
        exif=exif,
        xmp=losses.part("XMP", b"", xmp.checked, chunks.get(b"XMP ", b"")),
        profile=chunks.get(b"ICCP", b""),
        dpi=_exif_dpi(exif),
    )


def _read_jpegxl(content: bytes, losses: Losses) -> Metadata:
    """The boxes of ISO/IEC 18181-2; a bare codestream has none."""
    if part(False, _has_profile, content):
        losses.note("ICC profile", "of a JPEG XL it is not read: its colours count as sRGB")
    if not content.startswith(JPEGXL_START):
        return Metadata()
    boxes: dict[bytes, bytes] = {}
    for kind, start, end in iso_boxes(content):
        if kind == b"brob":
            name = content[start : start + 4].decode("latin-1").strip()
            losses.note(name, "it is packed by Brotli, which is not read here")
        elif kind in (b"Exif", b"xml "):
            boxes.setdefault(kind, content[start:end])
    exif = boxes.get(b"Exif", b"")
    place = 4 + int.from_bytes(exif[:4], "big")  # where the TIFF structure begins
    checked = _checked_exif(exif[place:], losses)
    return Metadata(
        exif=checked,
        xmp=losses.part("XMP", b"", xmp.checked, boxes.get(b"xml ", b"")),
        dpi=_exif_dpi(checked),
    )


def _has_profile(content: bytes) -> bool:
    return read_head(codestream(content)).has_profile


def _read_jpeg2000(content: bytes, losses: Losses) -> Metadata:
    """The boxes of ISO/IEC 15444-1, annex I; a bare codestream has none."""
    if not content.startswith(_JP2_START):
        return Metadata()
    exif = packet = profile = resources = b""
    for kind, start, end in iso_boxes(content):
        data = content[start:end]
        if kind == b"uuid":
            exif = exif or _after(data, JP2_EXIF)
            packet = packet or _after(data, JP2_XMP)
            resources = resources or _after(data, JP2_IPTC)
        elif kind == b"xml ":
            packet = packet or data
        elif kind == b"jp2h":
            inner = (data[s:e] for k, s, e in iso_boxes(data) if k == b"colr")
            profile = next((colr[3:] for colr in inner if colr[:1] in (b"\2", b"\3")), b"")
    checked = _checked_exif(exif.removeprefix(EXIF_START), losses)
    return Metadata(
        exif=checked,
        iptc=losses.part("IPTC", b"", _plain_iptc, resources, losses),
        xmp=losses.part("XMP", b"", xmp.checked, packet),
        profile=profile,
        dpi=_exif_dpi(checked),
    )


def _plain_iptc(content: bytes, losses: Losses) -> bytes:
    """Datasets, in Photoshop's resources or as they are."""
    return iptc.from_resources(content, losses) if content.startswith(b"8BIM") else content


def _after(data: bytes, start: bytes) -> bytes:
    return data[len(start) :] if data.startswith(start) else b""


def _read_gif(content: bytes, losses: Losses) -> Metadata:
    """As Pillow, and the packet and the profile of its application extensions."""
    found = _read_pillow("GIF", content, losses)
    _, _, rest = content.partition(_GIF_XMP)
    packet, _, _ = rest.partition(_GIF_XMP_END)  # no blocks, but a magic trailer
    if _GIF_ICC in content:
        losses.note("ICC profile", "of a GIF it is not read")
    return replace(found, xmp=losses.part("XMP", b"", xmp.checked, packet))


def _read_bmp(content: bytes, losses: Losses) -> Metadata:
    """As Pillow, and the profile of a version 5 header (BITMAPV5HEADER)."""
    found = _read_pillow("BMP", content, losses)
    if len(content) < 138 or struct.unpack_from("<I", content, 14)[0] != 124:
        return found
    if content[70:74] != b"DEBM":  # "MBED", embedded
        return found
    offset, size = struct.unpack_from("<II", content, 126)
    return replace(found, profile=content[14 + offset : 14 + offset + size])


def _read_raw(content: bytes, losses: Losses) -> Metadata:
    """Of a camera's raw file that is a TIFF. Without the profile: its pixels come in sRGB."""
    if not content.startswith((b"II*\0", b"MM\0*")):
        losses.note("metadata", "of camera raw that is no TIFF it is not read")
        return Metadata()
    return replace(_read_tiff(content, losses), profile=b"")


def _read_tiff(content: bytes, losses: Losses, page: int = 0) -> Metadata:
    reader = TiffReader(io.BytesIO(content))
    offset = next(islice(reader.pages(), page, None))
    entries = reader.entries(offset)
    exif = read_exif(reader, offset, DESCRIPTIVE | {ORIENTATION})
    values = reader.values(entries, _PAGE_TAGS)
    for line in reader.lost:
        losses.note("TIFF", line)
    said = exif.photo or exif.gps or exif.main.keys() - {ORIENTATION}
    resources = _data(values, RESOURCES_TAG)
    return Metadata(
        exif=part(b"", pack_exif, exif) if said else b"",
        iptc=_tiff_iptc(values.get(IPTC_TAG), losses)
        or losses.part("IPTC", b"", iptc.from_resources, resources, losses),
        xmp=losses.part("XMP", b"", xmp.checked, _data(values, XMP_TAG)),
        profile=_data(values, PROFILE_TAG),
        dpi=part(None, _tiff_dpi, values, reader.layout.order),
    )


def _data(values: dict[int, Value], tag: int) -> bytes:
    return values[tag].data if tag in values else b""


def _tiff_iptc(value: Value | None, losses: Losses) -> bytes:
    """Tag 33723; libtiff's old type LONG is swapped with the file's byte order."""
    if value is None:
        return b""
    swapped = value.type == LONG and value.data[:1] != b"\x1c"
    return iptc.whole_datasets(value.swapped().data if swapped else value.data, losses)


def _read_pillow(format_name: str, content: bytes, losses: Losses) -> Metadata:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Pillow warns of odd metadata
        with Image.open(io.BytesIO(content), formats=(format_name,)) as image:
            info: dict[Any, Any] = dict(image.info)
    exif, packet = (info.get(name) or b"" for name in ("exif", "xmp"))  # pi-heif says None
    dpi = info.get("dpi")
    return Metadata(
        exif=_checked_exif(bytes(exif).removeprefix(EXIF_START), losses),
        xmp=losses.part(
            "XMP", b"", xmp.checked, packet.encode() if isinstance(packet, str) else bytes(packet)
        ),
        profile=bytes(info.get("icc_profile") or b""),
        dpi=_dpi(float(dpi[0]), float(dpi[1])) if dpi else None,
    )


def _checked_exif(content: bytes, losses: Losses) -> bytes:
    """The structure itself, if anything of it parses."""
    return content if losses.part("EXIF", None, parse_exif, content, losses) else b""


def _exif_dpi(content: bytes) -> tuple[float, float] | None:
    exif = part(None, parse_exif, content)
    return part(None, _tiff_dpi, exif.main, exif.order) if exif else None


def _tiff_dpi(values: dict[int, Value], order: str) -> tuple[float, float] | None:
    return _dpi(*resolution(values, order))
