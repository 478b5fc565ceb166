"""JPEG XL through imagecodecs, whose decoder takes no limit: the size is read from the codestream."""

from __future__ import annotations

from typing import Any

import imagecodecs
import numpy as np
from numpy.typing import NDArray

from storage.errors import PhotoError

_CONTAINER = b"\x00\x00\x00\x0cJXL "
_RATIOS = ((1, 1), (12, 10), (4, 3), (3, 2), (16, 9), (5, 4), (2, 1))
_MODES = {1: "L", 2: "LA", 3: "RGB", 4: "RGBA"}
_MOST_PIXELS = 500_000_000


def read_header(content: bytes) -> dict[str, Any]:
    """Width, height, mode and bits, for `storage.photos.Header`; it decodes what is small enough."""
    width, height = _size(_codestream(content))
    if width * height > _MOST_PIXELS:
        return {"width": width, "height": height, "mode": "RGB", "bits": 8}
    pixels = read_pixels(content)
    channels = 1 if pixels.ndim == 2 else pixels.shape[2]
    deep = pixels.dtype == np.uint16
    mode = _MODES[channels] + (";16" if deep else "")
    height, width = pixels.shape[:2]
    return {"width": width, "height": height, "mode": mode, "bits": 16 if deep else 8}


def read_pixels(content: bytes) -> NDArray[Any]:
    """uint8 or uint16, (H, W) or (H, W, C) with alpha last. Raises PhotoError UNSUPPORTED_MODE."""
    pixels = np.asarray(imagecodecs.jpegxl_decode(content))
    if pixels.ndim == 3 and pixels.shape[2] == 1:
        pixels = pixels[..., 0]
    channels = 1 if pixels.ndim == 2 else pixels.shape[-1]
    if pixels.dtype not in (np.uint8, np.uint16) or pixels.ndim > 3 or channels not in _MODES:
        raise PhotoError(
            "UNSUPPORTED_MODE",
            f"expected one frame of 8 or 16 bits, got {pixels.dtype} {pixels.shape}",
        )
    return pixels


def _codestream(content: bytes) -> bytes:
    """Its start, out of the boxes of ISO/IEC 18181-2 where it is in a container."""
    if not content.startswith(_CONTAINER):
        return content[:32]
    place = 12
    while place + 8 <= len(content):
        size, kind = (
            int.from_bytes(content[place : place + 4], "big"),
            content[place + 4 : place + 8],
        )
        if kind in (b"jxlc", b"jxlp"):
            start = place + (8 if kind == b"jxlc" else 12)
            return content[start : start + 32]
        if size < 8:
            break
        place += size
    raise PhotoError("TRUNCATED", "expected a codestream of JPEG XL, found none")


def _size(stream: bytes) -> tuple[int, int]:
    """Width and height by SizeHeader (ISO/IEC 18181-1, annex A), little-endian bits after FF 0A."""
    bits, place = int.from_bytes(stream[2:], "little"), 0

    def take(count: int) -> int:
        nonlocal place
        place += count
        return (bits >> (place - count)) & ((1 << count) - 1)

    def side(small: bool) -> int:
        return (take(5) + 1) * 8 if small else take((9, 13, 18, 30)[take(2)]) + 1

    small = bool(take(1))
    height = side(small)
    ratio = take(3)
    if ratio:
        across, down = _RATIOS[ratio - 1]
        return height * across // down, height
    return side(small), height
