"""Decode a photo at the size that training wants, at little more than the cost of its entropy code.

A JPEG is reduced inside the decoder, by its DCT, to the smallest eighth that is not under the size
wanted, then by area. On photographs that differs from decoding whole and averaging by about half a
level (docs/decisions/005).
"""

from __future__ import annotations

from typing import TypeVar

import cv2
import numpy as np
from numpy.typing import NDArray

from storage.photos.codec import Header
from storage.photos.codecs import CODECS
from storage.photos.photo import decode, decoder_errors, inspect, upright
from storage.photos.profiles import Pixels

P = TypeVar("P", bound=Pixels)


def decode_rgb(
    content: bytes,
    *,
    short_side: int,
    max_megapixels: float = 500.0,
    header: Header | None = None,
) -> NDArray[np.uint8]:
    """8-bit RGB, upright, the short side resized to `short_side` pixels, the aspect kept.

    Smaller photos are enlarged bicubically. header: what `inspect` gave for these bytes, to save
    reading them again; its limit on megapixels has been applied then.
    Returns uint8 (H, W, 3). Raises PhotoError, for a JPEG also where other decoders only warn.
    """
    header = header or inspect(content, max_megapixels=max_megapixels)
    codec = CODECS[header.format]
    with decoder_errors(codec, content):
        pixels = codec.reduced(content, header, short_side)
    if pixels is not None:
        pixels = upright(pixels, header.orientation)
    else:
        pixels = _eight_bit(decode(content, max_megapixels=float("inf")).pixels)
    if pixels.ndim == 2:
        pixels = np.repeat(pixels[..., None], 3, axis=2)
    return resize(pixels, short_side)


def resize(pixels: P, short_side: int) -> P:
    """Resize by area, or bicubically when enlarging.

    pixels: uint8 or uint16, (H, W) or (H, W, 3), and so returned.
    """
    height, width = pixels.shape[:2]
    scale = short_side / min(height, width)
    size = max(short_side, round(width * scale)), max(short_side, round(height * scale))
    if size == (width, height):
        return pixels
    method = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
    resized: P = cv2.resize(pixels, size, interpolation=method)
    return resized


def thumbnail(pixels: P, short_side: int) -> P:
    """As `resize`, but a photo longer than 8:1 is squeezed to that, so that it stays small.

    pixels: uint8 or uint16, (H, W) or (H, W, 3), and so returned.
    """
    height, width = pixels.shape[:2]
    most = 8 * min(height, width)
    if max(height, width) > most:
        size = min(width, most), min(height, most)
        pixels = cv2.resize(pixels, size, interpolation=cv2.INTER_AREA)
    return resize(pixels, short_side)


def _eight_bit(pixels: Pixels) -> NDArray[np.uint8]:
    return (pixels >> 8).astype(np.uint8) if pixels.dtype == np.uint16 else pixels.astype(np.uint8)
