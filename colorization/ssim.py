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
    mean_x, mean_y, xx, yy, xy = _windows(torch.stack([x, y, x * x, y * y, x * y]))
    var_x, var_y, cov = xx - mean_x**2, yy - mean_y**2, xy - mean_x * mean_y
    luminance = (2 * mean_x * mean_y + _C1) / (mean_x**2 + mean_y**2 + _C1)
    structure = (2 * cov + _C2) / (var_x + var_y + _C2)
    return float((luminance * structure).mean())


def _windows(planes_N3HW: Tensor) -> Tensor:
    """Weighted mean over every window, rows first. Returns (N, 3, H − 10, W − 10)."""
    distance = torch.arange(_SIDE, dtype=torch.float32) - _SIDE // 2
    kernel = torch.exp(-0.5 * (distance / _SIGMA) ** 2)
    kernel /= kernel.sum()
    count, channels, height, width = planes_N3HW.shape
    planes = planes_N3HW.reshape(count * channels, 1, height, width)
    planes = F.conv2d(planes, kernel[None, None, :, None])
    planes = F.conv2d(planes, kernel[None, None, None, :])
    return planes.reshape(count, channels, *planes.shape[-2:])
