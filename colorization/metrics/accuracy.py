"""Raw accuracy of colours: the AuC of Zhang, Isola, Efros 2016, section 3.1. NumPy only."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

LARGEST_DISTANCE = 150.0
"""The curve runs over thresholds 0..150, Lab units."""


def accuracy_auc(ab: NDArray[Any], ab_truth: NDArray[Any]) -> float:
    """Area under the curve of the share of pixels whose ab lies within t of the truth, t = 0..150.

    ab, ab_truth: float (2, H, W), Lab units. Returns 0..1, the area divided by 150: 1 where every
    pixel is true. The area of a pixel at distance d is 150 − d, so no curve is sampled.
    """
    distance = np.hypot(*(np.asarray(ab, np.float64) - np.asarray(ab_truth, np.float64)))
    return float(np.mean(np.maximum(0.0, 1 - distance / LARGEST_DISTANCE)))
