"""Walkers over the containers of photos: JPEG segments, PNG and RIFF chunks, ISO boxes.

All of them are bounded, for the files are not ours: they never read past the end, and stop after a
number of pieces that no honest photo has. What does not parse raises PhotoError DAMAGED.
Standards: ITU-T T.81 (JPEG), ISO/IEC 15948 (PNG), RFC 9649 (WebP).
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from storage.errors import PhotoError

APP0, APP1, APP2, APP13, APP14, COMMENT = b"\xe0", b"\xe1", b"\xe2", b"\xed", b"\xee", b"\xfe"
"""JPEG markers: JFIF, EXIF and XMP, ICC, Photoshop, Adobe, comment."""
JFIF_START, EXIF_START = b"JFIF\0", b"Exif\0\0"
XMP_START, RESOURCES_START = b"http://ns.adobe.com/xap/1.0/\0", b"Photoshop 3.0\0"
ICC_START = b"ICC_PROFILE\0"
JPEGXL_START = b"\x00\x00\x00\x0cJXL "
"""What the data of a JPEG segment start with; WebP's EXIF may, too. The last: a JPEG XL in boxes."""
JP2_EXIF = b"JpgTiffExif->JP2"
JP2_XMP = bytes.fromhex("be7acfcb97a942e89c71999491e3afac")
JP2_IPTC = bytes.fromhex("33c7a4d2b81d4723a0baf1a3e097ad38")
JP2_UUIDS = (JP2_EXIF, JP2_XMP, JP2_IPTC)
"""Of boxes of JPEG 2000, as ExifTool and Adobe write them."""
WEBP_ALPHA, WEBP_ANIMATION = 0x10, 0x02
PNG_TEXTS = (b"tEXt", b"zTXt", b"iTXt")
PNG_METADATA = {*PNG_TEXTS, b"iCCP", b"sRGB", b"gAMA", b"cHRM", b"cICP", b"pHYs", b"eXIf"}
PNG_XMP, RAW_PROFILE = "XML:com.adobe.xmp", "Raw profile type "
"""Keywords of PNG texts: XMP's, and the start of ImageMagick's and ExifTool's for the rest."""

_NO_FRAMES, _JPEGLS = (0xC4, 0xC8, 0xCC), 0xF7
"""Markers among the frames' that are none: tables and a reserved one; and JPEG-LS's frame."""
_MOST_PIECES = 200_000


@dataclass(frozen=True, slots=True)
class Piece:
    """A JPEG segment, or a PNG or RIFF chunk: its name, and its place in the file."""

    name: bytes
    """One byte, the marker, for JPEG; four for PNG and RIFF."""
    whole: slice
    data: slice


def jpeg_segments(content: bytes) -> Iterator[Piece]:
    """The segments between SOI and the first scan, SOS included (ITU-T T.81, B.1.1)."""
    if content[:2] != b"\xff\xd8":
        raise PhotoError("DAMAGED", f"expected a JPEG's SOI, got {content[:2].hex()}")
    place = 2
    for _ in range(_MOST_PIECES):
        if place + 4 > len(content) or content[place] != 0xFF or content[place + 1] == 0xD9:
            return
        marker = content[place + 1]
        if marker in (0x01, 0xFF) or 0xD0 <= marker <= 0xD7:  # no length follows; FF fills
            place += 1 if marker == 0xFF else 2
            continue
        end = place + 2 + int.from_bytes(content[place + 2 : place + 4], "big")
        if end < place + 4 or end > len(content):
            return
        yield Piece(bytes([marker]), slice(place, end), slice(place + 4, end))
        if marker == 0xDA:
            return
        place = end


def jpeg_ends(content: bytes) -> bool:
    """Whether EOI comes after the last scan began."""
    return content.rfind(b"\xff\xd9") > content.rfind(b"\xff\xda")


@dataclass(frozen=True, slots=True)
class JpegFrame:
    """What a JPEG's frame header says (ITU-T T.81, B.2.2; ITU-T T.87 for JPEG-LS)."""

    kind: int
    """Its marker's second byte: C0 baseline, C1 extended, C2 progressive, C3 lossless, F7 JPEG-LS, …"""
    bits: int
    height: int
    width: int
    channels: int


def jpeg_frame(content: bytes) -> JpegFrame | None:
    """The first frame before the first scan; None where there is none."""
    for piece in jpeg_segments(content):
        kind = piece.name[0]
        if (0xC0 <= kind <= 0xCF and kind not in _NO_FRAMES) or kind == _JPEGLS:
            data = content[piece.data]
            return JpegFrame(kind, *struct.unpack_from(">BHHB", data)) if len(data) >= 6 else None
    return None


def png_chunks(content: bytes) -> Iterator[Piece]:
    """The chunks up to IEND (ISO/IEC 15948, 5.3); the CRCs are not checked."""
    if content[:8] != b"\x89PNG\r\n\x1a\n":
        raise PhotoError("DAMAGED", f"expected a PNG's signature, got {content[:8].hex()}")
    place = 8
    for _ in range(_MOST_PIECES):
        if place + 12 > len(content):
            return
        size, name = struct.unpack_from(">I4s", content, place)
        end = place + 8 + size
        if end + 4 > len(content):
            return
        yield Piece(name, slice(place, end + 4), slice(place + 8, end))
        if name == b"IEND":
            return
        place = end + 4


def riff_chunks(content: bytes) -> Iterator[Piece]:
    """The chunks of a WebP (RFC 9649, 2.3)."""
    if content[:4] != b"RIFF" or content[8:12] != b"WEBP":
        raise PhotoError("DAMAGED", f"expected a WebP's RIFF, got {content[:12].hex()}")
    place = 12
    for _ in range(_MOST_PIECES):
        if place + 8 > len(content):
            return
        name, size = struct.unpack_from("<4sI", content, place)
        end = place + 8 + size
        if end > len(content):
            return
        yield Piece(name, slice(place, end + size % 2), slice(place + 8, end))
        place = end + size % 2


def iso_boxes(content: bytes, place: int = 0) -> Iterator[tuple[bytes, int, int]]:
    """Kind, start and end of the contents of each box (ISO/IEC 14496-12, 4.2); the last may be cut.

    A size of 1 stands for 64 bits of it after the kind, of 0 for all that is left.
    """
    for _ in range(_MOST_PIECES):
        if place + 8 > len(content):
            return
        size, kind = struct.unpack_from(">I4s", content, place)
        start = place + 8
        if size == 1 and start + 8 <= len(content):
            (size,) = struct.unpack_from(">Q", content, start)
            start += 8
        end = place + size if size else len(content)
        if end < start:
            return
        yield kind, start, min(end, len(content))
        place = end


def iso_pieces(content: bytes) -> Iterator[Piece]:
    """The boxes of a file, as they lie in it."""
    place = 0
    for kind, start, end in iso_boxes(content):
        yield Piece(kind, slice(place, end), slice(start, end))
        place = end


def iso_box(kind: bytes, data: bytes) -> bytes:
    """A box of at most 4 GiB."""
    return struct.pack(">I4s", len(data) + 8, kind) + data


def boxes_are_cut(content: bytes) -> bool:
    """Whether the last box says that it goes on behind the end of the file."""
    place = 0
    while place + 8 <= len(content):
        size = int.from_bytes(content[place : place + 4], "big")
        if size == 1:
            size = int.from_bytes(content[place + 8 : place + 16], "big")
        if size < 8:  # 0: all that is left; the rest is damage
            return False
        place += size
    return place != len(content)


@dataclass(frozen=True, slots=True)
class WebPCanvas:
    """What a WebP says of its picture (RFC 9649, 2.5 to 2.7; RFC 6386, 9.1)."""

    flags: int
    """WEBP_ALPHA and WEBP_ANIMATION."""
    width: int
    height: int


def webp_canvas(starts: Mapping[bytes, bytes]) -> WebPCanvas:
    """By the first ten bytes of each chunk. Raises PhotoError DAMAGED where none is a picture's."""
    if len(head := starts.get(b"VP8X", b"")) >= 10:
        sides = (int.from_bytes(head[i : i + 3], "little") + 1 for i in (4, 7))
        return WebPCanvas(head[0] & (WEBP_ALPHA | WEBP_ANIMATION), *sides)
    if len(head := starts.get(b"VP8L", b"")) >= 5:
        (bits,) = struct.unpack_from("<I", head, 1)
        alpha = WEBP_ALPHA * (bits >> 28 & 1)
        return WebPCanvas(alpha, (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1)
    if len(head := starts.get(b"VP8 ", b"")) >= 10:
        return WebPCanvas(0, *(side & 0x3FFF for side in struct.unpack_from("<HH", head, 6)))
    raise PhotoError("DAMAGED", f"expected a WebP's picture, got {list(starts)}")


def jpeg_segment(marker: int, data: bytes) -> bytes:
    """A segment. data: at most 65,533 bytes."""
    return struct.pack(">BBH", 0xFF, marker, len(data) + 2) + data


def png_chunk(name: bytes, data: bytes) -> bytes:
    """A chunk with its length and CRC."""
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def riff_chunk(name: bytes, data: bytes) -> bytes:
    """A chunk, padded to an even length."""
    return struct.pack("<4sI", name, len(data)) + data + bytes(len(data) % 2)


class Budget:
    """Bytes that may still be made of a file's metadata."""

    def __init__(self, most: int) -> None:
        self.left = most

    def spend(self, num_bytes: int) -> None:
        """Raises PhotoError where that many are not left."""
        if num_bytes > self.left:
            raise PhotoError("DAMAGED", f"expected at most {self.left} bytes, got {num_bytes}")
        self.left -= num_bytes


def inflate(data: bytes, budget: Budget, *, most: int) -> bytes:
    """Expand a zlib stream (RFC 1950) to at most `most` bytes. Raises PhotoError, zlib.error."""
    most = min(most, budget.left)
    worker = zlib.decompressobj()
    expanded = worker.decompress(data, most + 1)
    budget.spend(min(len(expanded), most))  # a bomb costs too, or many of them would take for ever
    if len(expanded) > most or not worker.eof:
        raise PhotoError("DAMAGED", f"expected a whole stream of at most {most} bytes, got another")
    return expanded
