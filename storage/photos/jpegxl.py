"""JPEG XL through imagecodecs, whose decoder takes no limit: the size is read from the codestream."""

from __future__ import annotations

from typing import Any

import imagecodecs
import numpy as np
from numpy.typing import NDArray

from storage.containers.jpegxl import codestream, read_head
from storage.containers.segments import JPEGXL_START, boxes_are_cut
from storage.errors import PhotoError
from storage.photos.codec import TRUSTED_OF_SLOW, Header, Like, OnePicture, at_full_range, shown

_MODES = {1: "L", 2: "LA", 3: "RGB", 4: "RGBA"}
_MOST_PIXELS = 500_000_000


class JpegXl(OnePicture):
    """JPEG XL, in boxes or as a bare codestream."""

    working_bytes = 34
    trusted_bytes = TRUSTED_OF_SLOW

    def is_cut(self, content: bytes) -> bool:
        """Of one in boxes; a bare codestream does not say where it ends."""
        return content.startswith(JPEGXL_START) and boxes_are_cut(content)

    def header(self, content: bytes) -> Header:
        """As of any; it decodes what is small enough."""
        head = read_head(codestream(content))
        width, height, bits = head.width, head.height, head.bits
        if width * height > _MOST_PIXELS:
            return shown(self.name, width=width, height=height, mode="RGB", bits=bits)
        pixels = _decoded(content)
        mode = _MODES[1 if pixels.ndim == 2 else pixels.shape[2]]
        height, width = pixels.shape[:2]
        deep = ";16" if pixels.dtype == np.uint16 else ""
        return shown(self.name, width=width, height=height, mode=mode + deep, bits=bits)

    def pixels(self, content: bytes, header: Header) -> NDArray[Any]:
        return _decoded(content)

    def encode(self, rgb: Any, like: Like) -> bytes:
        return bytes(imagecodecs.jpegxl_encode(rgb, lossless=True))


def _decoded(content: bytes) -> NDArray[Any]:
    """uint8 or uint16, (H, W) or (H, W, C) with alpha last. Raises PhotoError UNSUPPORTED_MODE."""
    pixels = np.asarray(imagecodecs.jpegxl_decode(content))
    if pixels.ndim == 3 and pixels.shape[2] == 1:
        pixels = pixels[..., 0]
    channels = 1 if pixels.ndim == 2 else pixels.shape[-1]
    if pixels.dtype not in (np.uint8, np.uint16) or pixels.ndim > 3 or channels not in _MODES:
        raise PhotoError(
            "UNSUPPORTED_MODE",
            f"expected one frame of 8 to 16 bits, got {pixels.dtype} {pixels.shape}",
        )
    bits = read_head(codestream(content)).bits
    return pixels if pixels.dtype == np.uint8 else at_full_range(pixels, (1 << bits) - 1)
