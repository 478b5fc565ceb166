"""DeepLabv3 on MobileNetV2 for gray photos: the network of the starter segmenter.

Chen et al. 2017 (image pooling), Sandler et al. 2018 (inverted residuals), the family that the paper
used (section 3.1). Without BatchNorm: the published weights that it starts from are folded.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from colorization.categories import CATEGORIES
from colorization.colour.lab import L_CENTRE, L_SPREAD


class _Stage(NamedTuple):
    channels: int
    blocks: int
    stride: int
    dilation: int
    expansion: int = 6


_STEM = 32
_STAGES = (
    _Stage(16, 1, 1, 1, expansion=1),
    _Stage(24, 2, 2, 1),
    _Stage(32, 3, 2, 1),
    _Stage(64, 4, 2, 1),
    _Stage(96, 3, 1, 1),
    _Stage(160, 3, 1, 2),
    _Stage(320, 1, 1, 2),
)
"""Stride 16 in all; the stages that would halve once more are dilated instead."""
_HEAD = 256


class InvertedResidual(nn.Module):
    """1×1 to more channels, 3×3 in each of them, 1×1 back (Sandler et al. 2018, figure 3)."""

    def __init__(self, before: int, after: int, stage: _Stage, stride: int) -> None:
        super().__init__()
        inner, d = before * stage.expansion, stage.dilation
        self.expand = nn.Conv2d(before, inner, 1) if stage.expansion > 1 else None
        self.depthwise = nn.Conv2d(inner, inner, 3, stride, d, d, groups=inner)
        self.project = nn.Conv2d(inner, after, 1)
        self.has_shortcut = stride == 1 and before == after

    def forward(self, x: Tensor) -> Tensor:
        inner = F.relu6(self.expand(x)) if self.expand is not None else x
        out: Tensor = self.project(F.relu6(self.depthwise(inner)))
        return x + out if self.has_shortcut else out


class GrayDeepLab(nn.Module):
    """L_norm float32 (N, 1, H, W), −0.5..0.5, → logits (N, K, H, W). 2.1 M parameters."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(1, _STEM, 3, 2, 1)
        blocks, before = [], _STEM
        for stage in _STAGES:
            for i in range(stage.blocks):
                stride = stage.stride if i == 0 else 1
                blocks.append(InvertedResidual(before, stage.channels, stage, stride))
                before = stage.channels
        self.blocks = nn.ModuleList(blocks)
        self.aspp0 = nn.Conv2d(before, _HEAD, 1)
        self.image_pooling = nn.Conv2d(before, _HEAD, 1)
        self.concat_projection = nn.Conv2d(2 * _HEAD, _HEAD, 1)
        self.logits = nn.Conv2d(_HEAD, len(CATEGORIES), 1)

    def forward(self, L_norm_N1HW: Tensor) -> Tensor:
        """L_norm: float32 (N, 1, H, W). Returns logits (N, K, H, W)."""
        luma = L_norm_N1HW + L_CENTRE / L_SPREAD
        x = F.relu6(self.stem(2 * luma - 1))
        for block in self.blocks:
            x = block(x)
        scene = F.relu(self.image_pooling(x.mean(dim=(2, 3), keepdim=True)))
        both = torch.cat([scene.expand(-1, -1, *x.shape[-2:]), F.relu(self.aspp0(x))], dim=1)
        logits = self.logits(F.relu(self.concat_projection(both)))
        return F.interpolate(logits, L_norm_N1HW.shape[-2:], mode="bilinear", align_corners=False)
