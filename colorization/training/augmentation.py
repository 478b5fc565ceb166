"""Crop, flip, saturate (paper section 1.2), drawn from (seed, photo hash, variant) alone.

Never from the order in which Dask workers happen to run, so a shard has the same bytes on any
number of workers.
"""

from __future__ import annotations

import hashlib
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, kw_only=True, slots=True)
class Augmentation:
    """What is done to one photo before it enters a shard."""

    top: int
    """First row of the crop box, in pixels of the resized photo."""
    left: int
    """First column of the crop box."""
    size: int
    """Side of the square crop, in pixels."""
    horizontal_flip: bool
    vertical_flip: bool
    saturation: float
    """Factor on a and b; 1 leaves the colours as they are."""

    def to_dict(self) -> dict[str, Any]:
        """The fields as plain values, for rows.parquet."""
        return asdict(self)


def draw_augmentation(
    *,
    seed: int,
    photo_hash: str,
    variant: int,
    height: int,
    width: int,
    size: int,
    horizontal_flip: float,
    vertical_flip: float,
    saturation: float,
) -> Augmentation:
    """Draw the augmentation of a training photo.

    height, width: of the resized photo, both ≥ size. horizontal_flip, vertical_flip:
    probabilities 0..1. Raises ValueError if the photo is smaller than the crop.
    """
    _check_size(height, width, size)
    down, right, mirror, upend = _uniforms(seed, photo_hash, variant)
    return Augmentation(
        top=int(down * (height - size + 1)),
        left=int(right * (width - size + 1)),
        size=size,
        horizontal_flip=mirror < horizontal_flip,
        vertical_flip=upend < vertical_flip,
        saturation=saturation,
    )


def centre_crop(height: int, width: int, size: int) -> Augmentation:
    """The augmentation of a validation photo: centre crop, no flip, colours untouched."""
    _check_size(height, width, size)
    return Augmentation(
        top=(height - size) // 2,
        left=(width - size) // 2,
        size=size,
        horizontal_flip=False,
        vertical_flip=False,
        saturation=1.0,
    )


def crop_and_flip(pixels: NDArray[Any], augmentation: Augmentation) -> NDArray[Any]:
    """Cut the crop box out and mirror it. pixels: (H, W, C). Returns a view, (size, size, C)."""
    a = augmentation
    crop = pixels[a.top : a.top + a.size, a.left : a.left + a.size]
    if a.horizontal_flip:
        crop = crop[:, ::-1]
    if a.vertical_flip:
        crop = crop[::-1]
    return crop


def saturate_hsv(rgb: NDArray[np.uint8], factor: float) -> NDArray[np.uint8]:
    """Scale saturation in HSV (A. R. Smith 1978); hue and value stay, lightness changes.

    rgb: uint8 (H, W, 3). factor ≥ 0; saturation ends at 1. Returns uint8 (H, W, 3).
    """
    if factor == 1:
        return rgb
    values = rgb.astype(np.float32)
    value = values.max(axis=2, keepdims=True)
    below = value - values
    # saturation is max(below) / value; it may grow by 1 / saturation and no further
    deepest = below.max(axis=2, keepdims=True)
    most = np.divide(value, deepest, out=np.ones_like(value), where=deepest > 0)
    saturated: NDArray[np.float32] = np.rint(value - below * np.minimum(np.float32(factor), most))
    return saturated.astype(np.uint8)


def _uniforms(seed: int, photo_hash: str, variant: int) -> list[float]:
    """Four numbers in 0..1 (1 excluded): a hash serves, and costs a tenth of a new generator."""
    digest = hashlib.sha256(f"{seed}:{photo_hash}:{variant}".encode()).digest()
    return [int.from_bytes(digest[i : i + 6], "big") / 256**6 for i in (0, 8, 16, 24)]


def _check_size(height: int, width: int, size: int) -> None:
    if min(height, width) < size:
        raise ValueError(
            f"Expected a photo of at least {size}×{size} pixels, got {width}×{height}. "
            "Resize its short side to the crop size first."
        )
