"""ab cut into bins of 10 × 10 Lab units, for networks that classify colours (Zhang et al. 2016)."""

from __future__ import annotations

from functools import cache

import numpy as np
from numpy.typing import NDArray

from colorization.colour.lab import AB_OFFSET, rgb_to_lab
from colorization.errors import ConfigError

WIDTH = 10.0
"""Side of a bin, Lab units."""
NUM_NEIGHBOURS = 5
"""A colour counts for its nearest bins, weighted by a Gaussian (Zhang et al. 2016, section 2.2)."""
SIGMA = 5.0
"""Of that Gaussian, Lab units."""
_HALF = 11
"""The grid runs from −110 to 110."""
BIN_NAMES = ("gamut313", "grid529")


@cache
def bin_centres(name: str) -> NDArray[np.float32]:
    """Centres of the bins. Returns float32 (Q, 2): a and b.

    gamut313: the 313 centres nearest to colours of sRGB, in order of a, then b; the release of
    eccv16 has as many. grid529: all 23 × 23 cells, as siggraph17 has. Raises ConfigError
    for another name.
    """
    axis = np.arange(-_HALF, _HALF + 1) * WIDTH
    grid = np.stack(np.meshgrid(axis, axis, indexing="ij"), axis=-1).reshape(-1, 2)
    if name == "grid529":
        return grid.astype(np.float32)
    if name != "gamut313":
        raise ConfigError(f"Expected bins of {', '.join(BIN_NAMES)}; got {name!r}.")
    levels = np.arange(0, 256, 5, dtype=np.uint8)
    rgb = np.stack(np.meshgrid(levels, levels, levels, indexing="ij"), axis=-1)
    ab = rgb_to_lab(rgb.reshape(1, -1, 3))[1:].reshape(2, -1).T
    colours = np.unique(np.rint(ab), axis=0)
    distance = np.array([((colours - centre) ** 2).sum(axis=1).min() for centre in grid])
    nearest = np.argsort(distance, kind="stable")[:313]
    return grid[np.sort(nearest)].astype(np.float32)


@cache
def soft_codes(name: str) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """For each of the 256 × 256 stored (a, b), its nearest bins and how much it counts for each.

    Returns indices int64 (65536, 5), nearest first, and weights float32 (65536, 5) that sum to 1.
    Row 256·a + b, of stored a and b.
    """
    centres = bin_centres(name)
    axis = np.arange(256) - AB_OFFSET
    ab = np.stack(np.meshgrid(axis, axis, indexing="ij"), axis=-1).reshape(-1, 2)
    squares = (ab**2).sum(1)[:, None] - 2 * ab @ centres.T + (centres**2).sum(1)
    nearest = np.argpartition(squares, NUM_NEIGHBOURS, axis=1)[:, :NUM_NEIGHBOURS]
    found = np.take_along_axis(squares, nearest, axis=1)
    order = np.argsort(found, axis=1, kind="stable")
    nearest, found = (np.take_along_axis(x, order, axis=1) for x in (nearest, found))
    weight = np.exp(-(found - found[:, :1]) / (2 * SIGMA**2))
    return nearest.astype(np.int64), (weight / weight.sum(1, keepdims=True)).astype(np.float32)


def rebalancing(prior: NDArray[np.float64], share: float) -> NDArray[np.float32]:
    """Weights that make rare colours count (Zhang et al. 2016, equation 4).

    prior: float64 (Q,), sum 1: how often each bin occurs. share: of the uniform distribution mixed
    in, 0..1; 1 gives every bin the same weight. Returns float32 (Q,) whose mean under the prior is 1.
    """
    weight = 1 / ((1 - share) * prior + share / len(prior))
    normalized: NDArray[np.float32] = (weight / (prior * weight).sum()).astype(np.float32)
    return normalized
