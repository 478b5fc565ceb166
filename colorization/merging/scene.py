"""A photo as the experts see it, before it has colours."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from colorization.colour.evidence import evidence
from colorization.colour.lab import L_CENTRE, L_SPREAD
from colorization.merging.scene_palettes import Features


@dataclass(frozen=True, slots=True)
class Scene:
    """A photo as the experts see it."""

    L_norm: Tensor
    """(1, 1, h', w'), padded."""
    size: tuple[int, int]
    """Height and width before."""
    weight: Tensor
    """(1, K, h, w)."""
    names: dict[int, str]
    """The experts that matter, by their category's number."""
    shares: dict[str, float]
    features: Features
    likelihood: Tensor
    """(Q,); (0,) where it was not looked for or no expert follows palettes."""

    @property
    def L(self) -> Tensor:
        """float32 (1, 1, h, w), 0..100."""
        height, width = self.size
        return self.L_norm[..., :height, :width] * L_SPREAD + L_CENTRE


def colour_share(L_11hw: Tensor) -> Tensor | None:
    """What share of the colours each pixel keeps, (1, 1, h, w); None where that is all of them everywhere.

    Where nothing is to be seen there is no colour.
    """
    shares = evidence(np.ascontiguousarray(L_11hw[0, 0].float().cpu().numpy()))
    if shares.min() >= 1:
        return None
    return F.interpolate(
        torch.from_numpy(shares)[None, None].to(L_11hw.device),
        size=L_11hw.shape[-2:],
        mode="bilinear",
        align_corners=False,
    )
