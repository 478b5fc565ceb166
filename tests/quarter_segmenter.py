"""A segmenter that takes no time: every category counts a quarter everywhere."""

from __future__ import annotations

import torch
from torch import Tensor


class Quarters:
    """Of the contract of `colorization.merging.segmentation`."""

    def __call__(self, L_N1HW: Tensor) -> Tensor:
        n, _, height, width = L_N1HW.shape
        return torch.full((n, 4, height, width), 0.25)
