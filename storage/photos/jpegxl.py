"""JPEG XL through imagecodecs, whose decoder takes no limit: the size is read from the codestream."""

from __future__ import annotations

from typing import Any

import imagecodecs
import numpy as np
from numpy.typing import NDArray

from storage.containers.segments import JPEGXL_START, boxes_are_cut, iso_boxes
from storage.errors import PhotoError
from storage.photos.codec import Header, Like, OnePicture, shown

_RATIOS = ((1, 1), (12, 10), (4, 3), (3, 2), (16, 9), (5, 4), (2, 1))
_MODES = {1: "L", 2: "LA", 3: "RGB", 4: "RGBA"}
_MOST_PIXELS = 500_000_000


class JpegXl(OnePicture):
    """JPEG XL, in boxes or as a bare codestream."""

    working_bytes = 34
    trusted_bytes = 4_000_000

    def is_cut(self, content: bytes) -> bool:
        """Of one in boxes; a bare codestream does not say where it ends."""
        return content.startswith(JPEGXL_START) and boxes_are_cut(content)

    def header(self, content: bytes) -> Header:
        """As of any; it decodes what is small enough."""
        width, height, bits = _facts(_codestream(content))
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
    bits = _facts(_codestream(content))[2]
    if pixels.dtype == np.uint8 or bits == 16:
        return pixels
    return np.rint(pixels * (65535 / ((1 << bits) - 1))).clip(0, 65535).astype(np.uint16)


def _codestream(content: bytes) -> bytes:
    """Its start, out of the boxes of ISO/IEC 18181-2 where it is in a container."""
    if not content.startswith(JPEGXL_START):
        return content[:32]
    for kind, start, _ in iso_boxes(content, 12):
        if kind in (b"jxlc", b"jxlp"):
            start += 4 if kind == b"jxlp" else 0  # the part's number
            return content[start : start + 32]
    raise PhotoError("TRUNCATED", "expected a codestream of JPEG XL, found none")


class _Bits:
    """Little-endian bits of a codestream after its signature FF 0A."""

    def __init__(self, stream: bytes) -> None:
        self._bits, self._place = int.from_bytes(stream[2:], "little"), 0

    def take(self, count: int) -> int:
        """The next bits as a number."""
        self._place += count
        return (self._bits >> (self._place - count)) & ((1 << count) - 1)

    def side(self, small: bool) -> int:
        """A side of the picture, pixels."""
        if small:
            return (self.take(5) + 1) * 8
        return self.take((9, 13, 18, 30)[self.take(2)]) + 1

    def size(self) -> tuple[int, int]:
        """Width and height by SizeHeader (ISO/IEC 18181-1, annex D)."""
        small = bool(self.take(1))
        height = self.side(small)
        ratio = self.take(3)
        if not ratio:
            return self.side(small), height
        across, down = _RATIOS[ratio - 1]
        return height * across // down, height


def _facts(stream: bytes) -> tuple[int, int, int]:
    """Width, height and bits a sample, by SizeHeader and ImageMetadata.

    Raises PhotoError UNSUPPORTED_MODE for an animation, a preview or float samples.
    """
    bits = _Bits(stream)
    width, height = bits.size()
    if bits.take(1):  # all_default
        return width, height, 8
    if bits.take(1):  # extra_fields
        bits.take(3)  # orientation, which the decoder applies
        if bits.take(1):
            bits.size()  # intrinsic_size
        if bits.take(1) or bits.take(1):
            raise PhotoError("UNSUPPORTED_MODE", "expected one still picture, got more frames")
    if bits.take(1):
        raise PhotoError("UNSUPPORTED_MODE", "expected whole samples, got float ones")
    choice = bits.take(2)
    return width, height, (8, 10, 12)[choice] if choice < 3 else 1 + bits.take(6)
