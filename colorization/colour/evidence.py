"""How much there is to be seen: where a photo shows nothing, no colour is to be invented for it.

Evidence is contrast at the scale of things, 2% to 8% of the short side, beyond what a slope, a vignette
or grain leaves there, within a wide neighbourhood: the sky over a landscape shares the landscape's
(docs/decisions/035).
"""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np

from colorization.colour.lab import Float

_SIDE, _WINDOW_SIDE = 128, 32
"""Short sides at which contrast is looked for, and at which it is spread, pixels; never enlarged."""
_FINE, _COARSE, _GRAIN = 2.5, 10.0, 1.0
"""Standard deviations of Gaussians, pixels of the first: contrast is what lies between two."""
_WIDE = 8.0
"""Of the neighbourhood, pixels of the second."""
_QUANTILE, _OF_NOISE = 0.25, 0.3186 * 0.873
"""That quantile of |x − blurred x| tells grain from things; what it is for white noise of 1."""
_TIMES = 2.0
"""So far beyond what grain leaves is evidence."""
_OF_ALL = 0.4
"""Share of the frame's best neighbourhood that every other one has at least."""
_NONE, _ENOUGH = 0.4, 0.9
"""L: no colour up to the first, all of it from the second on."""


def evidence(L: Float) -> Float:
    """Share of the colours that a photo is evidence enough for, 0..1.

    L: float32 (H, W), 0..100. Returns float32 (h, w), a small picture of it; 1 all over for most photos.
    """
    beyond = _beyond_grain(L)
    beyond = np.maximum(beyond, _OF_ALL * beyond.max())
    return np.asarray(np.clip((beyond - _NONE) / (_ENOUGH - _NONE), 0, 1), np.float32)


def _beyond_grain(L: Float) -> Float:
    """Contrast in each neighbourhood, L units. Returns float32 (h, w)."""
    small = _reduced(L, _SIDE)
    small = small - _surface(small)
    scale = min(1.0, min(small.shape) / _SIDE)
    fine, coarse = _FINE * scale, _COARSE * scale
    contrast = _blurred(small, fine) - _blurred(small, coarse)
    rest = np.abs(small - _blurred(small, _GRAIN))[::2, ::2]
    grain = float(np.quantile(rest, _QUANTILE)) / _OF_NOISE
    squares = _reduced(contrast * contrast, _WINDOW_SIDE)
    around = _blurred(squares, _WIDE * min(1.0, min(squares.shape) / _WINDOW_SIDE))
    left = around - (_TIMES * _gain(fine, coarse) * grain) ** 2
    return np.asarray(np.sqrt(np.maximum(left, 0)), np.float32)


def _surface(field: Float) -> Float:
    """The surface of parabolas down and across that fits best: lighting and vignettes."""
    down, across = (_parabolas(n) for n in field.shape)
    return np.asarray(down @ (down.T @ field @ across) @ across.T, np.float32)


def _reduced(field: Float, side: int) -> Float:
    """Means over areas, to a short side; smaller ones stay."""
    scale = min(1.0, side / min(field.shape))
    down, across = (_areas(n, max(1, round(n * scale))) for n in field.shape)
    return np.asarray(down @ field @ across.T, np.float32)


def _blurred(field: Float, sigma: float) -> Float:
    down, across = (_gaussian(n, sigma) for n in field.shape)
    return np.asarray(down @ field @ across.T, np.float32)


@lru_cache(32)
def _parabolas(n: int) -> Float:
    """(n, 3): orthonormal, together all parabolas along a line."""
    powers = np.linspace(-1, 1, n)[:, None] ** np.arange(3)
    return np.asarray(np.linalg.qr(powers)[0], np.float32)


@lru_cache(32)
def _areas(before: int, after: int) -> Float:
    """(after, before): each row takes the mean over its part of a line."""
    edges = np.linspace(0, before, after + 1)
    cells = np.arange(before)
    shared = np.minimum(edges[1:, None], cells + 1) - np.maximum(edges[:-1, None], cells)
    return np.asarray(np.maximum(shared, 0) * (after / before), np.float32)


@lru_cache(32)
def _gaussian(n: int, sigma: float) -> Float:
    """(n, n): each row blurs a line, mirrored at its ends."""
    reach = max(1, math.ceil(4 * sigma))
    offsets = np.arange(-reach, reach + 1)
    shares = np.exp(-0.5 * (offsets / sigma) ** 2)
    places = (np.arange(n)[:, None] + offsets) % (2 * n)
    places = np.minimum(places, 2 * n - 1 - places)
    matrix = np.zeros((n, n), np.float32)
    np.add.at(matrix, (np.arange(n)[:, None], places), shares / shares.sum())
    return matrix


def _gain(fine: float, coarse: float) -> float:
    """What white noise of 1 leaves between two Gaussians."""
    pi = math.pi
    squares = 1 / (4 * pi * fine**2) + 1 / (4 * pi * coarse**2) - 1 / (pi * (fine**2 + coarse**2))
    return math.sqrt(squares)
