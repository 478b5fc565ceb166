"""How a coloured photo looks, in numbers and small pictures: what the run report shows of it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from colorization.colour.full_size import Kept, colour_strips, strips
from colorization.colour.lab import L_MAX, Float, Pixels, gray_to_L, rgb_to_luminance
from colorization.merging.prediction import Prediction
from colorization.metrics.distances import colourfulness

_LOOKED_AT = 1 << 18
"""Pixels of a photo at which lightness is compared, about: 3 ms whatever its size."""
_LEVELS = 1 << 16
_UNCERTAINTY_SHOWN = 64.0
"""Lab units that are drawn white."""


@dataclass(frozen=True, slots=True)
class Appearance:
    """The first page of a coloured photo in small, and what was measured of it."""

    before: NDArray[np.uint8]
    """(h, w), or (h, w, 3) where it is toned."""
    after: NDArray[np.uint8]
    """(h, w, 3), without a label."""
    weight: Float
    """(K, h', w'), sum 1 over K, at network size."""
    uncertainty: NDArray[np.uint8] | None
    """(h', w'), white at 64 Lab units; None where it was not asked for."""
    shares: dict[str, float]
    """Category → mean weight."""
    colourfulness: float
    """Of `after`: Hasler and Süsstrunk 2003, signed."""
    mean_uncertainty: float | None
    """Lab units."""


def appearance_of(small: Pixels, found: Prediction, kept: Kept = Kept()) -> Appearance:  # noqa: B008
    """What a photo looks like with the colours that the networks gave it.

    small: the photo reduced, uint8 or uint16, (h, w) or (h, w, 3). kept: of its own colour.
    """
    after = colours_of(small, found.ab, kept)
    levels, mean = None, None
    if found.uncertainty is not None:
        uncertainty = found.uncertainty[0, 0].cpu().numpy()
        levels = np.rint(np.clip(uncertainty / _UNCERTAINTY_SHOWN, 0, 1) * 255).astype(np.uint8)
        mean = float(uncertainty.mean())
    return Appearance(
        before=(small >> 8).astype(np.uint8)
        if small.dtype == np.uint16
        else small.astype(np.uint8),
        after=after,
        weight=found.weight[0].cpu().numpy(),
        uncertainty=levels,
        shares=dict(found.shares),
        colourfulness=colourfulness(after),
        mean_uncertainty=mean,
    )


def colours_of(small: Pixels, ab: Tensor, kept: Kept = Kept()) -> NDArray[np.uint8]:  # noqa: B008
    """A reduced photo with colours, uint8 (h, w, 3). small, kept: as `appearance_of` takes them."""
    return np.concatenate(list(colour_strips(small, ab, np.uint8, kept))).astype(np.uint8)


class LightnessWatch:
    """The largest |ΔL*| between a photo and what its strips become, on the way to the encoder."""

    def __init__(self) -> None:
        self.most = 0.0
        """So far. Of photos over half a megapixel every second, third, … row is looked at."""

    def passing(self, pixels: Pixels, coloured: Iterator[Pixels]) -> Iterator[Pixels]:
        """The same strips, looked at.

        pixels: the photo, uint8 or uint16, (H, W) or (H, W, 3). coloured: (rows, W, 3), top to bottom,
        as `colour_strips` cuts them.
        """
        height, width = pixels.shape[:2]
        every = max(1, height * width // _LOOKED_AT)
        for rows, strip in zip(strips(height, width), coloured, strict=True):
            first = -rows.start % every
            before, after = pixels[rows][first::every], strip[first::every]
            if len(before):
                difference = np.abs(_lightness(after) - _lightness(before))
                self.most = max(self.most, float(difference.max()))
            yield strip


def _lightness(pixels: Pixels) -> Float:
    """L of gray (h, w) or RGB (h, w, 3) pixels, by a table for the latter: within 0.02."""
    if pixels.ndim == 2:
        return gray_to_L(pixels)
    luminance = rgb_to_luminance(pixels) * (_LEVELS - 1)
    return _lightness_table().take(np.rint(luminance).astype(np.int32), mode="clip")


@cache
def _lightness_table() -> Float:
    """L of luminance 0..1 in 65,536 steps (CIE 15:2004, 8.2.1)."""
    luminance = np.arange(_LEVELS) / (_LEVELS - 1)
    L = np.where(luminance > 0.008856, 116 * np.cbrt(luminance) - 16, 903.3 * luminance)
    return np.clip(L, 0, L_MAX).astype(np.float32)
