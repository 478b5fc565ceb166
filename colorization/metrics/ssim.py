"""Structural similarity of two pictures (Wang, Bovik, Sheikh, Simoncelli 2004).

As its authors compute it, and scikit-image with `gaussian_weights=True, sigma=1.5,
use_sample_covariance=False`: Gaussian windows of 11 × 11, only those that lie inside the picture.

Legend: N planes, H, W pixels.
"""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

_SIDE, _SIGMA = 11, 1.5
_PEAK = 255.0
_C1, _C2 = (0.01 * _PEAK) ** 2, (0.03 * _PEAK) ** 2


def ssim(rgb: NDArray[np.uint8], rgb_truth: NDArray[np.uint8]) -> float:
    """Mean over windows and channels of 8-bit sRGB; 1 for equal pictures.

    rgb, rgb_truth: uint8 (H, W, 3). Raises ValueError for other shapes or a side under 11 pixels.
    """
    if rgb.shape != rgb_truth.shape or rgb.ndim != 3 or min(rgb.shape[:2]) < _SIDE:
        raise ValueError(
            f"Expected two pictures (H, W, 3) of one size, {_SIDE} pixels or more a side, got "
            f"{rgb.shape} and {rgb_truth.shape}. Crop them alike."
        )
    x, y = (torch.from_numpy(p.astype(np.float32)).permute(2, 0, 1) for p in (rgb, rgb_truth))
    mean_x, mean_y, squares, xy = _windows(torch.stack([x, y, x * x + y * y, x * y]))
    means, variances = mean_x**2 + mean_y**2, squares - mean_x**2 - mean_y**2
    luminance = (2 * mean_x * mean_y + _C1) / (means + _C1)
    structure = (2 * (xy - mean_x * mean_y) + _C2) / (variances + _C2)
    return float((luminance * structure).mean())


def _windows(planes_N3HW: Tensor) -> Tensor:
    """Weighted mean over every window, rows first. Returns (N, 3, H − 10, W − 10)."""
    distance = torch.arange(_SIDE, dtype=torch.float32) - _SIDE // 2
    weights = torch.exp(-0.5 * (distance / _SIGMA) ** 2)
    planes = planes_N3HW.flatten(0, 1)[None]
    # a group for every plane: twenty times as fast as a batch of them
    kernel = (weights / weights.sum()).expand(planes.shape[1], 1, _SIDE)
    rows = F.conv2d(planes, kernel[..., None], groups=planes.shape[1])
    columns = F.conv2d(rows, kernel[:, :, None], groups=planes.shape[1])
    return columns[0].reshape(*planes_N3HW.shape[:2], *columns.shape[-2:])
