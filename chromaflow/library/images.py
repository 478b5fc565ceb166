"""What callers have in memory ↔ photos: arrays of numpy, and pictures of Pillow."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image, ImageOps

from storage.errors import UsageError
from storage.photos.codec import Header
from storage.photos.photo import Photo
from storage.photos.profiles import to_srgb

_DEEP = ("I;16", "I;16L", "I;16B")


@dataclass(frozen=True, slots=True)
class InMemory:
    """A photo that is no file, and the way back to what it was given as."""

    photo: Photo
    restored: Callable[[Any], Any]
    """Of (H, W, 3) pixels of the photo's depth."""


def in_memory(image: Any) -> InMemory:
    """A photo of an array or a picture. Raises UsageError for what is neither."""
    if isinstance(image, np.ndarray):
        return _of_array(image)
    if isinstance(image, Image.Image):
        return _of_picture(image)
    raise UsageError(
        "Expected a numpy array, a Pillow image, or the path of a photo; got "
        f"{type(image).__name__}."
    )


def _of_array(array: np.ndarray) -> InMemory:
    """(H, W), (H, W, 1), (H, W, 3), or with alpha (H, W, 4)."""
    if array.dtype not in (np.uint8, np.uint16):
        raise UsageError(
            f"Expected an array of uint8 or uint16, got {array.dtype}. Values of 0..1 become bytes by "
            '(255 * array).round().astype("uint8").'
        )
    channels = array.shape[2] if array.ndim == 3 else 1
    if array.ndim not in (2, 3) or channels not in (1, 3, 4) or 0 in array.shape:
        raise UsageError(
            "Expected an array of height × width, gray, or height × width × 3 or 4, RGB or RGBA; got "
            f"{' × '.join(map(str, array.shape)) or 'a single number'}."
        )
    if channels == 1:
        photo = _photo(array.reshape(array.shape[:2]), None)
    else:
        photo = _photo(array[..., :3], array[..., 3] if channels == 4 else None)
    return InMemory(photo, lambda pixels: _with_alpha(pixels, photo))


def _of_picture(picture: Image.Image) -> InMemory:
    """Upright and in sRGB; 16-bit gray comes back with 8 bits, as Pillow has no deeper colour."""
    upright = ImageOps.exif_transpose(picture)
    profile = picture.info.get("icc_profile") or b""
    bits = 1 if picture.mode == "1" else 8
    if upright.mode in _DEEP:
        pixels, alpha = np.asarray(upright).astype(np.uint16), None
        bits = 16
    else:
        samples = np.asarray(upright.convert(_mode(upright)))
        has_alpha = samples.ndim == 3 and samples.shape[2] in (2, 4) and upright.mode != "CMYK"
        alpha = samples[..., -1] if has_alpha else None
        pixels = samples[..., :-1] if has_alpha else samples
        if pixels.ndim == 3 and pixels.shape[2] == 1:
            pixels = pixels[..., 0]
    photo = _photo(to_srgb(np.ascontiguousarray(pixels), profile, None), alpha, bits)
    return InMemory(photo, lambda pixels: Image.fromarray(_with_alpha(_eight_bit(pixels), photo)))


def _mode(picture: Image.Image) -> str:
    """That whose samples are read."""
    if picture.mode in ("L", "LA", "RGB", "RGBA", "CMYK") and "transparency" not in picture.info:
        return picture.mode
    if picture.has_transparency_data:
        return "RGBA"
    return "L" if picture.mode == "1" else "RGB"


def _photo(pixels: Any, alpha: Any, bits: int = 0) -> Photo:
    """bits: of a sample; 0 for those of the array."""
    height, width = pixels.shape[:2]
    header = Header(
        format="PNG",
        width=width,
        height=height,
        mode="L" if pixels.ndim == 2 else "RGB",
        bits=bits or pixels.dtype.itemsize * 8,
        largest_page=height * width,
    )
    whole = None if alpha is None else np.ascontiguousarray(alpha)
    return Photo(header=header, pixels=np.ascontiguousarray(pixels), alpha=whole)


def _with_alpha(pixels: Any, photo: Photo) -> Any:
    return pixels if photo.alpha is None else np.dstack([pixels, photo.alpha])


def _eight_bit(pixels: Any) -> Any:
    return pixels if pixels.dtype == np.uint8 else np.rint(pixels / 257).astype(np.uint8)
