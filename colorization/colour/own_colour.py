"""Real colour in a photo that is gray or toned otherwise: a test strip, a stamp, ink, an album page.

Toning is a function of lightness that changes slowly: it goes through the least chromatic part of as
many lightnesses as such a function can, so that a coloured page round a gray photo does not count. What
lies far beyond it is the photo's own colour.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from colorization.colour.lab import Float

LOOK_SIDE = 384
"""Short side at which a photo is best given to `own_colour`, pixels."""
_BINS, _LEAST_IN_BIN, _LEAST_CHROMATIC = 12, 0.003, 0.3
"""Of lightness; the share of a photo that one must hold, and the part of its pixels that tells."""
_MOST_SLOPE, _SLACK = 1.0, 4.0
"""Of toning, Lab units by L, and Lab units beyond that."""
_STEPS = 8
"""Of the table of toning, an L."""
_NOISE = (5.0, 8.0)
"""Of the mean colour around a pixel, beyond the toning: nothing to all, Lab units. Noise has none."""
_OWN = (7.0, 13.0)
"""Of the pixel itself."""
_UNEVEN = 0.3
"""Share of a toning's own chroma by which it varies from place to place, as old prints do."""
_REACH = 2
"""Pixels of the small picture: how far around what is coloured there, pixels are looked at."""
_LEAST_SHARE = 2e-4


@dataclass(frozen=True, slots=True)
class OwnColour:
    """Where a photo has colour of its own, and from what toning on."""

    toning: Float
    """(2, 801): a and b by eighths of L."""
    near: Tensor
    """float32 (1, 1, h, w), 0..1: around what is coloured."""
    share: float
    """Of the photo's area."""

    def kept(self, lab: Float, near: Float) -> Float:
        """How much of each pixel's own colour is kept, 0..1.

        lab: float32 (3, rows, W) of the photo. near: float32 (1, rows, W), `near` at full size.
        Returns float32 (1, rows, W).
        """
        toned = _toned(self.toning, lab[0])
        beyond = np.hypot(*(lab[1:] - toned)) - _UNEVEN * np.hypot(*toned)
        return np.asarray(np.clip(near, 0, 1) * _ramp(beyond, *_OWN), np.float32)


def own_colour(lab: Float) -> OwnColour | None:
    """Find it; None where a photo has none.

    lab: float32 (3, h, w) of the photo, reduced to a short side of about LOOK_SIDE.
    """
    if float(np.hypot(lab[1], lab[2]).max()) < _OWN[0]:
        return None
    toning = _fitted(lab)
    toned = _toned(toning, lab[0])
    beyond = np.asarray(lab[1:] - toned, np.float32)
    uneven = _UNEVEN * np.hypot(*toned)
    found = _ramp(np.hypot(*_means(beyond)) - uneven, *_NOISE)
    share = float((found * _ramp(np.hypot(*beyond) - uneven, *_OWN)).mean())
    if share < _LEAST_SHARE:
        return None
    near = torch.nn.functional.max_pool2d(
        torch.from_numpy(found)[None, None], 2 * _REACH + 1, stride=1, padding=_REACH
    )
    return OwnColour(toning, near, share)


def _fitted(lab: Float) -> Float:
    """The table of toning."""
    told = _least_chromatic(lab)
    chains = [_grown(told, start) for start in range(len(told))]
    if not chains:
        return np.zeros((2, 100 * _STEPS + 1), np.float32)
    chroma = np.hypot(*told[:, 1:].T)
    best = max(chains, key=lambda chain: (len(chain), -chroma[chain].mean()))
    L, *ab = told[sorted(best)].T
    steps = np.arange(100 * _STEPS + 1) / _STEPS
    return np.asarray([np.interp(steps, L, channel) for channel in ab], np.float32)


def _least_chromatic(lab: Float) -> NDArray[np.float64]:
    """(n, 3): means of L, a and b of the least chromatic pixels of each lightness that there is."""
    L, ab = lab[0].reshape(-1), lab[1:].reshape(2, -1)
    chroma = np.hypot(*ab)
    bins = np.minimum((L * (_BINS / 100)).astype(np.int64), _BINS - 1)
    points = []
    for index in range(_BINS):
        inside = np.flatnonzero(bins == index)
        if len(inside) >= max(8, _LEAST_IN_BIN * len(L)):
            least = inside[chroma[inside] <= np.quantile(chroma[inside], _LEAST_CHROMATIC)]
            points.append((L[least].mean(), *ab[:, least].mean(axis=1)))
    return np.asarray(points, np.float64).reshape(-1, 3)


def _grown(told: NDArray[np.float64], start: int) -> list[int]:
    """The lightnesses that one toning may have with that of `start`, from it upwards and downwards."""
    chain = [start]
    for places in (range(start + 1, len(told)), range(start - 1, -1, -1)):
        last = start
        for place in places:
            apart = np.abs(told[place] - told[last])
            if np.hypot(*apart[1:]) <= _MOST_SLOPE * apart[0] + _SLACK:
                chain.append(place)
                last = place
    return chain


def _toned(toning: Float, L: Float) -> Float:
    """a and b that toning gives a lightness. Returns float32 (2, …)."""
    steps = (L * _STEPS + 0.5).astype(np.int32)
    return np.asarray(toning.take(steps, axis=1, mode="clip"), np.float32)


def _means(ab: Float) -> Float:
    """Over 5 × 5 pixels, as vectors: thin strokes stand out, noise does not. float32 (2, h, w)."""
    wide = torch.nn.functional.pad(torch.from_numpy(ab)[None], (2, 2, 2, 2), mode="replicate")
    return np.asarray(torch.nn.functional.avg_pool2d(wide, 5, stride=1)[0].numpy())


def _ramp(values: Float, none: float, all_: float) -> Float:
    return np.asarray(np.clip((values - none) / (all_ - none), 0, 1), np.float32)
