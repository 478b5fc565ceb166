"""The scores of one photo, as training, evaluation and reports print them."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from colorization.colour.lab import lab_to_rgb
from colorization.metrics.distances import (
    ab_rmse,
    colourfulness,
    colourfulness_absolute,
    delta_e_2000,
    psnr,
)

SCORE_NAMES = ("delta_e", "ab_rmse", "psnr", "colourfulness", "colourfulness_absolute")
"""Mean CIEDE2000; ab RMSE in Lab units; PSNR of 8-bit sRGB in dB; colourfulness by Hasler and
Süsstrunk, and with absolute differences."""


def photo_scores(
    L: NDArray[np.float32], ab: NDArray[np.float32], ab_truth: NDArray[np.float32]
) -> dict[str, float]:
    """Scores of predicted against true colours under the same L.

    L: float32 (1, H, W), 0..100. ab, ab_truth: float32 (2, H, W), Lab units.
    """
    lab, lab_truth = (np.moveaxis(np.concatenate([L, c]), 0, -1) for c in (ab, ab_truth))
    rgb, rgb_truth = (lab_to_rgb(L[0], c).astype(np.uint8) for c in (ab, ab_truth))
    return {
        "delta_e": float(delta_e_2000(lab, lab_truth).mean()),
        "ab_rmse": ab_rmse(ab, ab_truth),
        "psnr": psnr(rgb, rgb_truth),
        "colourfulness": colourfulness(rgb),
        "colourfulness_absolute": colourfulness_absolute(rgb),
    }


def colourfulness_of(L: NDArray[np.float32], ab: NDArray[np.float32]) -> float:
    """Hasler and Süsstrunk's, of one photo. L: float32 (1, H, W). ab: float32 (2, H, W)."""
    return colourfulness(lab_to_rgb(L[0], ab).astype(np.uint8))


def mean_scores(scores: list[dict[str, float]]) -> dict[str, Any]:
    """Mean over photos of each score, and the number of photos; no means where there are none."""
    means = {n: float(np.mean([s[n] for s in scores])) for n in SCORE_NAMES} if scores else {}
    return {"num_photos": len(scores), **means}
