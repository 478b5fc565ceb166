"""Is the lightness of a derivative that of its original? What `chromaflow verify` measures."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from colorization.colour.full_size import pixels_to_L, strips
from colorization.colour.lab import Pixels, linear_to_srgb, rgb_to_luminance


@dataclass(frozen=True, slots=True)
class LightnessChange:
    """How far a derivative's lightness lies from its original's."""

    max_codes: int
    """Largest difference of gray, code values at the depth compared."""
    mean_L: float
    """Mean difference of L."""


def compare_lightness(
    original: Pixels,
    derivative: Pixels,
    *,
    dtype: type[np.uint8] | type[np.uint16],
    ignored: tuple[slice, slice] = (slice(0, 0), slice(0, 0)),
) -> LightnessChange:
    """Compare gray and L, pixel by pixel.

    original, derivative: uint8 or uint16, (H, W) or (H, W, 3), sRGB-encoded; the derivative may have
    rows more (a label's border). dtype: the depth at which gray is compared. ignored: rows and columns
    that a label covers.
    """
    height, width = original.shape[:2]
    most, total, count = 0, 0.0, 0
    for rows in strips(height, width):
        counted = np.ones((rows.stop - rows.start, width), bool)
        first, last = max(ignored[0].start, rows.start), min(ignored[0].stop, rows.stop)
        if first < last:
            counted[first - rows.start : last - rows.start, ignored[1]] = False
        before, after = original[rows], derivative[rows]
        codes = np.abs(gray_codes(after, dtype) - gray_codes(before, dtype))[counted]
        most = max(most, int(codes.max(initial=0)))
        total += float(np.abs(pixels_to_L(after) - pixels_to_L(before))[counted].sum())
        count += int(counted.sum())
    return LightnessChange(most, total / max(1, count))


def gray_codes(pixels: Pixels, dtype: type[np.uint8] | type[np.uint16]) -> NDArray[np.int64]:
    """The gray of each pixel's luminance, sRGB-encoded, as code values of `dtype`.

    pixels: uint8 or uint16, (H, W) or (H, W, 3). Returns int64 (H, W).
    """
    top = np.iinfo(dtype).max
    if pixels.ndim == 2:
        shares = pixels / np.iinfo(pixels.dtype).max
    else:
        shares = linear_to_srgb(rgb_to_luminance(pixels))
    codes: NDArray[np.int64] = np.rint(shares * top).astype(np.int64)
    return codes
