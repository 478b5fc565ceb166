"""At which size the networks see a photo."""

from __future__ import annotations

import math

import torch.nn.functional as F
from torch import Tensor

MULTIPLE = 32
LEAST_SIDE = 96
"""Photos smaller than the networks' size are seen at their own, but none at less than this."""
_MOST_ASPECT, _MOST_MULTIPLES = 4, 64


def network_size(height: int, width: int, short_side: int) -> tuple[int, int]:
    """Height and width at which the networks see a photo.

    The short side is `short_side`, or that of a smaller photo, of which an enlarged one shows no more, but
    not under LEAST_SIDE; the aspect is kept, but for photos longer than 4:1, which are reduced further so
    that they cost no more than one of 4:1; no side is under MULTIPLE or over 64 × MULTIPLE.
    """
    short_side = min(short_side, max(LEAST_SIDE, min(height, width)))
    scale = short_side / min(height, width)
    area = scale * scale * height * width
    scale *= min(1.0, math.sqrt(_MOST_ASPECT * short_side * short_side / area))
    rows, columns = (
        min(max(MULTIPLE, round(side * scale)), _MOST_MULTIPLES * MULTIPLE)
        for side in (height, width)
    )
    return rows, columns


def to_network_size(photo_1CHW: Tensor, short_side: int) -> Tensor:
    """Resize a photo of any channels, (1, C, H, W), to the size of the networks, antialiased."""
    height, width = photo_1CHW.shape[-2:]
    size = network_size(height, width, short_side)
    if size == (height, width):
        return photo_1CHW
    return F.interpolate(
        photo_1CHW, size=list(size), mode="bilinear", align_corners=False, antialias=True
    )


def padded(photo_1Chw: Tensor) -> tuple[Tensor, tuple[int, int]]:
    """Reflect-pad right and below to a multiple of MULTIPLE. Returns it and the size before."""
    height, width = photo_1Chw.shape[-2:]
    result = F.pad(photo_1Chw, (0, -width % MULTIPLE, 0, -height % MULTIPLE), mode="reflect")
    return result, (height, width)
