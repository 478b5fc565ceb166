"""What a network gives for stored photos, while it learns and afterwards."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from colorization.compute import autocast
from colorization.training.feeding import to_tensors


def predict_ab(
    network: nn.Module,
    stored: NDArray[np.uint8],
    precision: str,
    device: str = "cpu",
    heads: NDArray[np.int64] | None = None,
) -> NDArray[np.float32]:
    """ab that a colorizer gives for stored Lab; one that follows palettes gives the mean colours.

    stored: uint8 (N, 3, H, W). heads: int64 (N,), whose colours each photo gets of a network with
    several; None: the first one's. Returns (N, 2, H, W).
    """
    L_norm, _ = to_tensors(torch.from_numpy(stored).to(device))
    more = () if heads is None else (torch.from_numpy(heads).to(device),)
    with torch.inference_mode(), autocast(precision, device):
        ab: Tensor = network(L_norm, *more)
    return ab.float().cpu().numpy()
