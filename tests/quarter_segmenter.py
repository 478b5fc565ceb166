"""Segmenters that take no time: every category counts a quarter everywhere, or one of them all."""

from __future__ import annotations

import torch
from torch import Tensor


class Quarters:
    """Of the contract of `colorization.merging.segmentation`."""

    def __call__(self, L_N1HW: Tensor) -> Tensor:
        n, _, height, width = L_N1HW.shape
        return torch.full((n, 4, height, width), 0.25)


class One:
    """As `Quarters`: the first category is all there is, so that one expert alone is asked."""

    def __call__(self, L_N1HW: Tensor) -> Tensor:
        n, _, height, width = L_N1HW.shape
        weight_N4HW = torch.zeros((n, 4, height, width))
        weight_N4HW[:, 0] = 1.0
        return weight_N4HW
