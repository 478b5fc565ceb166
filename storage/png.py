"""Metadata for 16-bit PNG: Pillow writes metadata but no 16-bit colour, imagecodecs the reverse."""

from __future__ import annotations

import struct
import zlib

_HEADER_END = 33
"""Signature (8) and the IHDR chunk (25); what describes the picture follows it."""
_INCH = 0.0254


def png_with_metadata(
    content: bytes, *, profile: bytes, exif: bytes, dpi: tuple[float, float] | None
) -> bytes:
    """Insert an ICC profile, resolution and EXIF into a PNG (ISO/IEC 15948: iCCP, pHYs, eXIf).

    content: a PNG's bytes. exif: as Pillow gives it, empty for none. dpi: dots an inch, x and y.
    Returns the new file's bytes.
    """
    chunks = _chunk(b"iCCP", b"ICC profile\0\0" + zlib.compress(profile))
    if dpi:
        x, y = (round(dots / _INCH) for dots in dpi)
        chunks += _chunk(b"pHYs", struct.pack(">IIB", x, y, 1))
    if exif:
        chunks += _chunk(b"eXIf", exif.removeprefix(b"Exif\0\0"))
    return content[:_HEADER_END] + chunks + content[_HEADER_END:]


def _chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
