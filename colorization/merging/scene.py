"""Photos of one size as the experts see them, before they have colours."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from colorization.colour.evidence import evidence
from colorization.colour.lab import L_CENTRE, L_SPREAD

STRIDE = 4
"""At which the starter's experts give ab, and at which it is merged."""


@dataclass(frozen=True, slots=True)
class Scenes:
    """N photos of one size."""

    L_norm: Tensor
    """(N, 1, h', w'), padded."""
    size: tuple[int, int]
    """Height and width before."""
    stride: int
    """Of `weight`, and of the ab that are merged by it: 1 or STRIDE."""
    weight: Tensor
    """(N, K, ⌈h / stride⌉, ⌈w / stride⌉)."""
    names: tuple[dict[int, str], ...]
    """Of each photo the experts that matter, by their category's number."""
    shares: tuple[dict[str, float], ...]
    """Of each photo, category → mean weight."""
    features: Mapping[nn.Module, Sequence[Tensor]]
    """By encoder, what it says of all photos."""
    likelihood: Tensor
    """(N, Q); (N, 0) where it was not looked for or no expert follows palettes."""

    @property
    def L(self) -> Tensor:
        """float32 (N, 1, h, w), 0..100."""
        height, width = self.size
        return self.L_norm[..., :height, :width] * L_SPREAD + L_CENTRE


def at_stride(x: Tensor, stride: int) -> Tensor:
    """Means of `stride` × `stride` pixels; at the right and lower end of those that are left."""
    return x if stride == 1 else F.avg_pool2d(x, stride, ceil_mode=True)


def from_stride(x: Tensor, stride: int, size: tuple[int, int], mode: str) -> Tensor:
    """To height and width `size` again; what lies beyond is cut off. mode: of interpolation."""
    if stride == 1:
        return x
    height, width = (stride * side for side in x.shape[-2:])
    large = F.interpolate(x, (height, width), mode=mode, align_corners=False)
    return large[..., : size[0], : size[1]]


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
