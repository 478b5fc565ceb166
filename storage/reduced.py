"""Decode a photo at the size that training wants, at little more than the cost of its entropy code.

A JPEG is reduced inside the decoder, by its DCT, to the smallest eighth that is not under the size
wanted, then by area. On photographs that differs from decoding whole and averaging by about half a
level (docs/decisions/005).
"""

from __future__ import annotations

import io

import cv2
import numpy as np
import simplejpeg
from numpy.typing import NDArray
from PIL import Image

from storage.photos import PILLOW_FORMATS, Header, Pixels, decode, decoder_errors, inspect, upright

_HARMLESS = ("extraneous bytes before marker", "Could not determine subsampling")
"""What simplejpeg refuses though the picture is whole: a warning of libjpeg-turbo, and samplings
that its TurboJPEG interface does not know. Pillow decodes these."""


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
    if header.format == "JPEG" and header.mode in ("L", "RGB"):
        pixels = _decode_jpeg(content, short_side)
    elif header.format == "TIFF" or header.mode.endswith(";16"):
        pixels = _eight_bit(decode(content, max_megapixels=float("inf")).pixels)
    else:
        with decoder_errors(), Image.open(io.BytesIO(content), formats=PILLOW_FORMATS) as image:
            if header.format == "PNG":
                image.verify()  # checks the CRCs, which load() does not
        with decoder_errors(), Image.open(io.BytesIO(content), formats=PILLOW_FORMATS) as image:
            pixels = np.asarray(image.convert("RGB"))
    if pixels.ndim == 2:
        pixels = np.repeat(pixels[..., None], 3, axis=2)
    return resize(upright(pixels, _orientation_left(header)), short_side)


def resize(pixels: NDArray[np.uint8], short_side: int) -> NDArray[np.uint8]:
    """Resize by area, or bicubically when enlarging. pixels: uint8 (H, W, 3), and so returned."""
    height, width = pixels.shape[:2]
    scale = short_side / min(height, width)
    size = max(short_side, round(width * scale)), max(short_side, round(height * scale))
    if size == (width, height):
        return pixels
    method = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
    return np.asarray(cv2.resize(pixels, size, interpolation=method), np.uint8)


def _decode_jpeg(content: bytes, short_side: int) -> NDArray[np.uint8]:
    with decoder_errors():
        try:
            return np.asarray(
                simplejpeg.decode_jpeg(
                    content, min_height=short_side, min_width=short_side, min_factor=1
                )
            )
        except ValueError as error:
            if not any(harmless in str(error) for harmless in _HARMLESS):
                raise
        with Image.open(io.BytesIO(content), formats=("JPEG",)) as image:
            return np.asarray(image.convert("RGB"))


def _orientation_left(header: Header) -> int:
    """The orientation that the decoder has not applied: `decode` has, for TIFF and 16 bit."""
    return 1 if header.format == "TIFF" or header.mode.endswith(";16") else header.orientation


def _eight_bit(pixels: Pixels) -> NDArray[np.uint8]:
    return (pixels >> 8).astype(np.uint8) if pixels.dtype == np.uint16 else pixels.astype(np.uint8)
