"""Everything that is measured of the colours of a photo."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from colorization.colour.lab import Float, lab_to_rgb
from colorization.metrics.accuracy import accuracy_auc
from colorization.metrics.distances import colourfulness, colourfulness_absolute, delta_e_2000
from colorization.metrics.lpips import LPIPS
from colorization.metrics.scores import photo_scores
from colorization.metrics.ssim import ssim


class Truth:
    """A colour photo, which colourings of its L are measured against.

    L: float32 (1, H, W), 0..100. ab: float32 (2, H, W), Lab units. lpips: adds that distance.
    """

    def __init__(self, L: Float, ab: Float, lpips: LPIPS | None = None) -> None:
        self.L, self.ab = L, ab
        self._lpips = lpips
        self._rgb = self.colours(ab)
        self._seen = lpips.look(self._rgb) if lpips else []

    def colours(self, ab: Float) -> NDArray[np.uint8]:
        """8-bit sRGB of other colours under the true L, clipped as `photo_scores` does.

        ab: float32 (2, H, W). Returns uint8 (H, W, 3).
        """
        return lab_to_rgb(self.L[0], ab).astype(np.uint8)

    def own_colourfulness(self) -> dict[str, float]:
        """The truth's, by both definitions."""
        return {
            "colourfulness_truth": colourfulness(self._rgb),
            "colourfulness_absolute_truth": colourfulness_absolute(self._rgb),
        }

    def delta_e(self, ab: Float) -> float:
        """Mean CIEDE2000 of other colours under the true L. ab: float32 (2, H, W)."""
        lab, lab_truth = (np.moveaxis(np.concatenate([self.L, c]), 0, -1) for c in (ab, self.ab))
        return float(delta_e_2000(lab, lab_truth).mean())

    def measure(self, ab: Float) -> dict[str, float]:
        """The scores of `colorization.metrics.scores`, SSIM, AuC, and LPIPS where a network was given.

        ab: float32 (2, H, W), Lab units.
        """
        rgb = self.colours(ab)
        measured = photo_scores(self.L, ab, self.ab) | {
            "ssim": ssim(rgb, self._rgb),
            "auc": accuracy_auc(ab, self.ab),
        }
        if self._lpips is not None:
            measured["lpips"] = self._lpips.distance(self._lpips.look(rgb), self._seen)
        return measured
