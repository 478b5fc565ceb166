"""Colour hints as training shows them: a few patches of the truth (Zhang et al. 2017, section 3.1)."""

from __future__ import annotations

import numpy as np
from torch import Tensor

_MOST_PATCH = 9
"""Patches are squares of 1..9 pixels."""


def draw_hints(ab: Tensor, mean_number: float, rng: np.random.Generator) -> Tensor:
    """Reveal the mean colour of a random number of random patches.

    ab: float32 (N, 2, H, W), Lab units. mean_number: of patches a photo; the number is geometric,
    so many photos get none. Positions are Gaussian around the centre. Returns float32 (N, 3, H, W):
    a, b, and 1 where there is a hint.
    """
    photos, _, height, width = ab.shape
    hints = ab.new_zeros(photos, 3, height, width)
    for photo in range(photos):
        for _ in range(int(rng.geometric(1 / (1 + mean_number))) - 1):
            side = int(rng.integers(1, _MOST_PATCH + 1))
            at = rng.normal(0.5, 0.25, 2).clip(0, 1)
            top, left = (int(p * (n - side)) for p, n in zip(at, (height, width), strict=True))
            box = (slice(top, top + side), slice(left, left + side))
            hints[photo, :2, *box] = ab[photo, :, *box].mean(dim=(1, 2))[:, None, None]
            hints[photo, 2, *box] = 1
    return hints
