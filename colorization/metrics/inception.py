"""Inception features for FID (Heusel et al. 2017), by a network that is given.

Legend: N photos, H, W pixels, 2048 features.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray

from colorization.metrics.fid import INCEPTION_SIDE

_BATCH = 8


@torch.inference_mode()
def inception_features(
    inception: Any, pictures: Sequence[NDArray[np.uint8]]
) -> NDArray[np.float32]:
    """Features of pictures, uint8 (H, W, 3) of any size, brought to 299 × 299 by antialiased
    bilinear. Returns float32 (N, 2048).

    inception: float32 (N, 3, 299, 299), −1..1, to float32 (N, 2048).
    """
    parts = [
        inception(torch.cat([_input(p) for p in pictures[start : start + _BATCH]]))
        for start in range(0, len(pictures), _BATCH)
    ]
    features: NDArray[np.float32] = torch.cat(parts).cpu().numpy()
    return features


def _input(picture: NDArray[np.uint8]) -> torch.Tensor:
    x = torch.tensor(picture).permute(2, 0, 1)[None].float() / 127.5 - 1
    size = (INCEPTION_SIDE, INCEPTION_SIDE)
    return F.interpolate(x, size, mode="bilinear", align_corners=False, antialias=True)
