"""Tonings of prints: the colours of their darkest and lightest shade, sRGB."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

TONINGS = {
    "sepia": ((30, 15, 5), (245, 225, 190)),
    "cyanotype": ((10, 30, 90), (235, 245, 250)),
    "faded": ((90, 70, 60), (230, 215, 190)),
    "paper": ((0, 0, 0), (255, 248, 225)),
}


def toned(
    share: NDArray[Any], dark: tuple[int, int, int], light: tuple[int, int, int]
) -> NDArray[np.uint8]:
    """A print whose shades run from one colour to another. share: (H, W), 0..1. Returns (H, W, 3)."""
    mixed = np.array(dark) * (1 - share[..., None]) + np.array(light) * share[..., None]
    return np.rint(mixed).astype(np.uint8)
