"""Fréchet distance between two sets of features (FID where they are an Inception's).

Heusel et al. 2017, equation 6: each set is taken for a Gaussian, and the distance is that of Dowson
and Landau 1982. With fewer photos than features it is far too high (Chong and Forsyth 2020): compare
only systems that were measured on the same number of the same photos. NumPy only, float64.

Legend: N photos, D features, R = min(N, D).
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
INCEPTION_SIDE = 299
"""Pixels; what an Inception is shown of a picture."""


def frechet_distance(features_ND: Array, features_truth_ND: Array) -> float:
    """|μ₁ − μ₂|² + tr(Σ₁ + Σ₂ − 2 (Σ₁ Σ₂)^½), the covariances with N − 1.

    features_ND, features_truth_ND: any float, (N, D) and (M, D). Returns 0 or more. Raises
    ValueError for other shapes or fewer than two rows.
    """
    _check(features_ND, features_truth_ND)
    mean, root_RD = _gaussian(features_ND)
    mean_truth, root_truth_RD = _gaussian(features_truth_ND)
    shared = np.linalg.svd(root_RD @ root_truth_RD.T, compute_uv=False).sum()
    spread = np.sum(root_RD**2) + np.sum(root_truth_RD**2) - 2 * shared
    return max(0.0, float(np.sum((mean - mean_truth) ** 2) + spread))


def _gaussian(features_ND: Array) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Mean (D,), and a root R (R, D) of the covariance: Σ = RᵀR.

    So tr (Σ₁ Σ₂)^½ is the sum of the singular values of R₁ R₂ᵀ: no square root of a singular matrix
    is needed, as Σ is one where N ≤ D.
    """
    features_ND = np.asarray(features_ND, np.float64)
    mean = features_ND.mean(axis=0)
    root = np.linalg.qr(features_ND - mean, mode="r") / np.sqrt(len(features_ND) - 1)
    return mean, root


def _check(features_ND: Array, features_truth_ND: Array) -> None:
    shapes = [np.shape(features) for features in (features_ND, features_truth_ND)]
    if {len(shape) for shape in shapes} != {2} or shapes[0][1] != shapes[1][1]:
        raise ValueError(f"Expected features (N, D) and (M, D), got {shapes[0]} and {shapes[1]}.")
    if min(shape[0] for shape in shapes) < 2:
        raise ValueError(f"Expected two photos or more, got {shapes[0][0]} and {shapes[1][0]}.")
