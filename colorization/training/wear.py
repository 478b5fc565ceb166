"""L as old photos have it: faded, unsharp, grainy, unevenly lit by the scanner, scratched.

Training photos come from the web; archives do not. Only L changes, the colours stay.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from colorization.colour.lab import L_MAX


@dataclass(frozen=True, kw_only=True, slots=True)
class Wear:
    """How much is done to L, at most, and how often. All off by default."""

    share: float = 0.0
    """Of the photos that are worn at all, 0..1; each kind below then befalls half of them."""
    tone: float = 0.35
    """Largest natural logarithm of gamma and of contrast."""
    blur: float = 1.5
    """Largest standard deviation of the blur, in pixels."""
    grain: float = 5.0
    """Largest standard deviation of the grain, in units of L."""
    lighting: float = 8.0
    """Largest unevenness of the light, in units of L."""
    scratches: int = 3
    """Most scratches of a photo."""


_BEFALLS = 0.5
_GRID = 4
"""Points a side from which uneven light is interpolated."""


def wear(L_N1HW: Tensor, options: Wear, rng: np.random.Generator) -> Tensor:
    """L worn, each photo in its own way, on its device. L_N1HW: float32, 0..100. Returns the same."""
    photos = len(L_N1HW)
    worn = rng.random(photos) < options.share
    if not worn.any():
        return L_N1HW
    out = L_N1HW.clone()
    for i in np.flatnonzero(worn):
        out[i] = _wear_one(out[i], options, rng)
    return out.clamp_(0, L_MAX)


def _wear_one(L_1HW: Tensor, options: Wear, rng: np.random.Generator) -> Tensor:
    """In the order in which it befalls a photo: lens, film, print, scan."""
    blur, tone, grain, lighting, scratched = rng.random(5) < _BEFALLS
    L = L_1HW
    if blur:
        L = blurred(L, rng.uniform(0, options.blur))
    if tone:
        L = toned(L, *np.exp(rng.uniform(-options.tone, options.tone, 2)))
    if grain:
        L = L + rng.uniform(0, options.grain) * _grain(L.shape, rng).to(L.device)
    if lighting:
        L = L + rng.uniform(0, options.lighting) * _lighting(L.shape, rng).to(L.device)
    if scratched:
        L = _scratched(L, int(rng.integers(0, options.scratches + 1)), rng)
    return L


def blurred(L_1HW: Tensor, sigma: float) -> Tensor:
    """Gaussian blur, borders repeated. sigma: in pixels; under 0.3 nothing is done."""
    if sigma < 0.3:
        return L_1HW
    reach = math.ceil(2.5 * sigma)
    at = torch.arange(-reach, reach + 1, dtype=torch.float32, device=L_1HW.device)
    kernel = torch.exp(-0.5 * (at / sigma) ** 2)
    kernel = kernel / kernel.sum()
    padded = F.pad(L_1HW[None], (reach,) * 4, mode="replicate")
    across = F.conv2d(padded, kernel[None, None, None])
    return F.conv2d(across, kernel[None, None, :, None])[0]


def toned(L_1HW: Tensor, gamma: float, contrast: float) -> Tensor:
    """L with another gamma, then another contrast about its middle. Returns float32, 0..100."""
    level = (L_1HW / L_MAX).clamp(0, 1) ** gamma
    return ((0.5 + (level - 0.5) * contrast) * L_MAX).clamp(0, L_MAX)


def _noise(shape: tuple[int, ...], rng: np.random.Generator) -> Tensor:
    return torch.from_numpy(rng.standard_normal(shape, dtype=np.float32))


def _grain(shape: torch.Size, rng: np.random.Generator) -> Tensor:
    """Noise of one standard deviation, fine or of clumps of about two pixels."""
    noise = _noise(tuple(shape), rng)
    if rng.random() < 0.5:
        noise = blurred(noise, 0.8)
    return noise / noise.std().clamp(min=1e-6)


def _lighting(shape: torch.Size, rng: np.random.Generator) -> Tensor:
    """A smooth field of about −1..1."""
    coarse = torch.from_numpy(rng.uniform(-1, 1, (1, 1, _GRID, _GRID)).astype(np.float32))
    return F.interpolate(coarse, shape[-2:], mode="bicubic", align_corners=True)[0]


def _scratched(L_1HW: Tensor, count: int, rng: np.random.Generator) -> Tensor:
    """Light or dark lines of one pixel, nearly upright or level, from edge to edge."""
    out = L_1HW.clone()
    for _ in range(count):
        plane = out[0] if rng.random() < 0.5 else out[0].T
        rows, columns = plane.shape
        start, end = rng.uniform(0, columns - 1, 2)
        along = start + (end - start) * rng.uniform(0, 0.2) * np.linspace(0, 1, rows)
        plane[torch.arange(rows), torch.from_numpy(along.round().astype(np.int64))] += float(
            rng.choice([-1, 1]) * rng.uniform(10, 40)
        )
    return out
