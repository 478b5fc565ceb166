"""A photo at its full size, strip by strip: its lightness down to the networks, their ab back up.

Whatever a photo's size, only its pixels and one strip of float temporaries are in memory. L itself
is never resampled on its way to the output.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import repeat

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from colorization.colour.lab import (
    L_MAX,
    Float,
    Pixels,
    gray_to_L,
    lab_to_rgb,
    rgb_to_L,
    rgb_to_lab,
)
from colorization.colour.own_colour import OwnColour

STRIP_PIXELS = 1 << 16
"""Of a strip, about: its temporaries then stay in the processor's cache."""
_CUBIC = -0.75
"""The free parameter of bicubic interpolation, as torch and OpenCV have it."""


def strips(height: int, width: int) -> Iterator[slice]:
    """Rows of a photo from top to bottom, in equal parts but for the last."""
    rows = max(1, STRIP_PIXELS // width)
    for top in range(0, height, rows):
        yield slice(top, min(top + rows, height))


def pixels_to_L(pixels: Pixels) -> Float:
    """L of gray (H, W) or RGB (H, W, 3) pixels, sRGB-encoded. Returns float32 (H, W), 0..100."""
    return gray_to_L(pixels) if pixels.ndim == 2 else rgb_to_L(pixels)


def reduced_L(pixels: Pixels, alpha: Pixels | None, size: tuple[int, int]) -> Float:
    """L for the networks: means of whole blocks, at least twice `size` where the photo is.

    pixels: as `pixels_to_L` takes them. alpha: (H, W); what is transparent counts as white paper.
    size: height and width that the networks want. Returns float32 (h, w), 0..100; a photo under
    four times `size` comes back at its own size.
    """
    height, width = pixels.shape[:2]
    down, across = max(1, height // (2 * size[0])), max(1, width // (2 * size[1]))
    rows_out, columns_out = height // down, width // across
    reduced = np.empty((rows_out, columns_out), np.float32)
    block_rows = max(1, STRIP_PIXELS // (width * down))
    for top in range(0, rows_out, block_rows):
        bottom = min(top + block_rows, rows_out)
        rows = slice(top * down, bottom * down)
        L = pixels_to_L(pixels[rows, : columns_out * across])
        if alpha is not None:
            L = _on_paper(L, alpha[rows, : columns_out * across])
        reduced[top:bottom] = _block_means(L, down, across)
    return reduced


def _block_means(L: Float, down: int, across: int) -> Float:
    """Means of blocks, `down` rows by `across` columns. Sums of slices: ten times numpy's means."""
    height, width = L.shape
    rows = L.reshape(height // down, down, width).sum(axis=1) if down > 1 else L
    columns = rows[:, ::across].copy()
    for k in range(1, across):
        columns += rows[:, k::across]
    columns *= np.float32(1 / (down * across))
    return columns


@dataclass(frozen=True, slots=True)
class Kept:
    """What stays of a photo's own colour; by default nothing."""

    toning: bool = False
    """Whether colours are added to its toning instead of replacing it."""
    own: OwnColour | None = None
    """What is no toning: it stays, and gets no other colour."""


def colour_strips(
    pixels: Pixels,
    ab_12hw: Tensor,
    dtype: type[np.uint8] | type[np.uint16],
    kept: Kept = Kept(),  # noqa: B008 - frozen
) -> Iterator[Pixels]:
    """Colour a photo with ab at network size. Yields (rows, W, 3) of `dtype`, top to bottom.

    pixels: (H, W) or (H, W, 3), sRGB-encoded. ab: float32 (1, 2, h, w), Lab units. kept: of the pixels'
    own colour.
    """
    own, shape = kept.own, pixels.shape[:2]
    near = (part for _, part in full_size_strips(own.near, shape)) if own else repeat(None)
    for (rows, ab), around in zip(full_size_strips(ab_12hw, shape), near, strict=False):
        strip = pixels[rows]
        if strip.ndim == 3 and (own or kept.toning):
            lab = rgb_to_lab(strip)
            shares = own.kept(lab, around) if own and around is not None else 0
            ab = ab * (1 - shares) + lab[1:] * (1 if kept.toning else shares)
        yield lab_to_rgb(pixels_to_L(strip), ab, dtype, fit=True)


def full_size_strips(small_1chw: Tensor, shape: tuple[int, ...]) -> Iterator[tuple[slice, Float]]:
    """Bring ab to full size bicubically (34.7 dB, against nearest's 33.5), strip by strip.

    small: float32 (1, C, h, w). shape: (H, W). Yields row slices and float32 (C, rows, W).
    """
    height, width = shape
    small = small_1chw.float().cpu()
    across = F.interpolate(small, size=(small.shape[2], width), mode="bicubic", align_corners=False)
    wide = across[0]  # (C, h, W)
    for rows in strips(height, width):
        places, shares = _cubic_rows(rows, height, wide.shape[1])
        first, last = int(places[0, 0]), int(places[-1, -1])
        mix = torch.zeros(len(places), last - first + 1).scatter_add_(1, places - first, shares)
        yield rows, (mix @ wide[:, first : last + 1]).numpy()


def _cubic_rows(rows: slice, height: int, num_rows: int) -> tuple[Tensor, Tensor]:
    """For each row of the photo four rows of the small one and their shares, (rows, 4) each."""
    centre = (torch.arange(rows.start, rows.stop, dtype=torch.float64) + 0.5) * num_rows / height
    first = torch.floor(centre - 0.5)
    distance = (centre - 0.5 - first)[:, None] - torch.arange(-1, 3, dtype=torch.float64)
    places = (first[:, None].long() + torch.arange(-1, 3)).clamp(0, num_rows - 1)
    return places, _cubic(distance.abs()).float()


def _cubic(t: Tensor) -> Tensor:
    """Keys' kernel (1981) at distances 0..2."""
    near = ((_CUBIC + 2) * t - (_CUBIC + 3)) * t * t + 1
    far = ((_CUBIC * t - 5 * _CUBIC) * t + 8 * _CUBIC) * t - 4 * _CUBIC
    return torch.where(t <= 1, near, far)


def _on_paper(L: Float, alpha: Pixels) -> Float:
    opacity = alpha.astype(np.float32) / np.float32(np.iinfo(alpha.dtype).max)
    return np.asarray(L * opacity + np.float32(L_MAX) * (1 - opacity), np.float32)
