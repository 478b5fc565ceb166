"""JPEG: pixels from a decoder that reports damage, and the quality of the original."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import simplejpeg
from numpy.typing import NDArray
from PIL import Image

from storage.errors import PhotoError

_HARMLESS = (
    "extraneous bytes before marker",
    "bad ICC marker",
    "Could not determine subsampling",
)
"""What simplejpeg refuses though the picture is whole: warnings of libjpeg-turbo, and samplings
that its TurboJPEG interface does not know. Pillow decodes these."""
_MOST_SCANS = 256
"""A progressive JPEG has about ten; one with 10,000 kept a decoder busy for over 30 s."""
_LUMA = (
    (16, 11, 10, 16, 24, 40, 51, 61),
    (12, 12, 14, 19, 26, 58, 60, 55),
    (14, 13, 16, 24, 40, 57, 69, 56),
    (14, 17, 22, 29, 51, 87, 80, 62),
    (18, 22, 37, 56, 68, 109, 103, 77),
    (24, 35, 55, 64, 81, 104, 113, 92),
    (49, 64, 78, 87, 103, 121, 120, 101),
    (72, 92, 95, 98, 112, 100, 103, 99),
)
"""ISO/IEC 10918-1, table K.1."""


def check_whole(content: bytes) -> None:
    """Raise PhotoError TRUNCATED without an end marker, TOO_SLOW with more scans than any encoder's."""
    last_scan = content.rfind(b"\xff\xda")
    if last_scan != content.find(b"\xff\xda"):
        scans = content.count(b"\xff\xda")
        if scans > _MOST_SCANS:
            raise PhotoError("TOO_SLOW", f"expected at most {_MOST_SCANS} scans, got {scans}")
    if content.rfind(b"\xff\xd9") <= last_scan:
        raise PhotoError("TRUNCATED", "expected the end marker of JPEG, found none")


def decode_pixels(content: bytes, mode: str, short_side: int = 0) -> NDArray[np.uint8]:
    """Decode a gray (L), RGB or CMYK JPEG as stored.

    short_side: above 0, the decoder may reduce by eighths down to this, pixels. Returns (H, W) for L,
    else (H, W, C). Raises ValueError where libjpeg-turbo warns of damage; Pillow is silent there.
    """
    if mode in ("L", "RGB"):
        reduced: dict[str, Any] = (
            {"min_height": short_side, "min_width": short_side, "min_factor": 1}
            if short_side
            else {}
        )
        try:
            space = "GRAY" if mode == "L" else "RGB"
            pixels = np.asarray(simplejpeg.decode_jpeg(content, space, **reduced))
            return pixels[..., 0] if mode == "L" else pixels
        except ValueError as error:
            if not any(harmless in str(error) for harmless in _HARMLESS):
                raise
    with Image.open(io.BytesIO(content), formats=("JPEG",)) as image:
        return np.asarray(image)


def quality_of(content: bytes) -> int:
    """The quality that the original was saved with, 1..100, by its luminance table.

    The lowest quality of the scale of the Independent JPEG Group whose table quantizes no coefficient
    more coarsely than the file's does.
    """
    with Image.open(io.BytesIO(content), formats=("JPEG",)) as image:
        tables: dict[int, Any] = getattr(image, "quantization", {})
    if not tables:
        return 75
    own = np.sort(np.asarray(tables[min(tables)], np.int64))
    fitting = (quality for quality in range(1, 101) if (_scaled(quality) <= own).all())
    return next(fitting, 100)


def _scaled(quality: int) -> NDArray[np.int64]:
    """The luminance table of a quality, sorted: orders of storage differ among readers."""
    scale = 5000 // quality if quality < 50 else 200 - 2 * quality
    table = (np.asarray(_LUMA, np.int64).ravel() * scale + 50) // 100
    return np.sort(np.clip(table, 1, 255))
