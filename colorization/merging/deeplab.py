"""DeepLabv3 on MobileNetV2 for gray photos: the network of the starter segmenter.

Chen et al. 2017 (dilation, image pooling), Sandler et al. 2018 (inverted residuals), the family that the
paper used (section 3.1). Without BatchNorm: the published weights that it starts
from are folded. It tells VOC's 21 classes apart; their probabilities are added up by category.

A feature of stride s is centred on every s-th pixel, from pixel 0 on, and is enlarged accordingly.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from colorization.categories import PAPER, VOC_CLASSES, Categories
from colorization.colour.lab import L_CENTRE, L_SPREAD


class _Block(NamedTuple):
    channels: int
    stride: int = 1
    dilation: int = 1
    expansion: int = 6


_STEM = 32
_BLOCKS = (
    _Block(16, expansion=1),
    *(_Block(24, stride=2), _Block(24)),
    *(_Block(32, stride=2), _Block(32), _Block(32)),
    *(_Block(64), *3 * (_Block(64, dilation=2),)),
    *3 * (_Block(96, dilation=2),),
    *(_Block(160, dilation=2), *2 * (_Block(160, dilation=4),)),
    _Block(320, dilation=4),
)
"""Stride 8 in all; the blocks that would halve once more are dilated instead."""
_HEAD = 256


class InvertedResidual(nn.Module):
    """1×1 to more channels, 3×3 in each of them, 1×1 back (Sandler et al. 2018, figure 3)."""

    def __init__(self, before: int, block: _Block) -> None:
        super().__init__()
        inner, d = before * block.expansion, block.dilation
        self.expand = nn.Conv2d(before, inner, 1) if block.expansion > 1 else None
        self.depthwise = nn.Conv2d(inner, inner, 3, block.stride, d, d, groups=inner)
        self.project = nn.Conv2d(inner, block.channels, 1)
        self.has_shortcut = block.stride == 1 and before == block.channels

    def forward(self, x: Tensor, phases: int = 1) -> Tensor:
        """x holds every phases-th pixel, as `regroup` does; the dilation is so much less."""
        inner = F.relu6(self.expand(x), inplace=True) if self.expand is not None else x
        c, d = self.depthwise, self.depthwise.dilation[0] // phases
        by_channel = F.conv2d(inner, c.weight, c.bias, c.stride, d, d, c.groups)
        out: Tensor = self.project(F.relu6(by_channel, inplace=True))
        return x + out if self.has_shortcut else out


class GrayDeepLab(nn.Module):
    """L_norm float32 (N, 1, H, W), −0.5..0.5, → logits (N, K, H, W). 2.1 M parameters.

    categories: whose K sums of classes it gives; its weights are the same for any.
    """

    def __init__(self, categories: Categories = PAPER) -> None:
        super().__init__()
        self.categories = categories
        self.stem = nn.Conv2d(1, _STEM, 3, 2, 1)
        before = (_STEM, *(block.channels for block in _BLOCKS))
        self.blocks = nn.ModuleList(map(InvertedResidual, before, _BLOCKS))
        self.aspp0 = nn.Conv2d(before[-1], _HEAD, 1)
        self.image_pooling = nn.Conv2d(before[-1], _HEAD, 1)
        self.concat_projection = nn.Conv2d(2 * _HEAD, _HEAD, 1)
        self.logits = nn.Conv2d(_HEAD, len(VOC_CLASSES), 1)

    def forward(self, L_norm_N1HW: Tensor) -> Tensor:
        """L_norm: float32 (N, 1, H, W), H and W multiples of 8 (32 in training). → logits (N, K, H, W)."""
        luma = L_norm_N1HW + L_CENTRE / L_SPREAD
        x = F.relu6(self.stem(2 * luma - 1), inplace=True)
        phases = 1
        for block, options in zip(self.blocks, _BLOCKS, strict=True):
            if self.training:
                x, phases = regroup(x, phases, options.dilation), options.dilation
            x = block(x, phases)
        x = regroup(x, phases, 1)
        scene = F.relu(self.image_pooling(x.mean(dim=(2, 3), keepdim=True)))
        of_scene, of_place = self.concat_projection.weight.split(_HEAD, dim=1)
        bias = F.conv2d(scene, of_scene, self.concat_projection.bias)
        head = F.relu(F.conv2d(F.relu(self.aspp0(x)), of_place) + bias)
        return enlarge(by_category(self.logits(head), self.categories), 8)


def by_category(logits_NCHW: Tensor, categories: Categories = PAPER) -> Tensor:
    """Logarithm of each category's share of the classes' softmax. Returns float32 (N, K, H, W)."""
    log_shares = logits_NCHW.float().log_softmax(dim=1)
    owner = categories.owners()
    classes = [[c for c, k in enumerate(owner) if k == own] for own in range(len(categories))]
    return torch.stack([log_shares[:, own].logsumexp(dim=1) for own in classes], dim=1)


def enlarge(x: Tensor, factor: int) -> Tensor:
    """Bilinear (N, C, h, w) → (N, C, factor·h, factor·w); pixel i of x is pixel factor·i."""
    height, width = ((side - 1) * factor + 1 for side in x.shape[-2:])
    large = F.interpolate(x, (height, width), mode="bilinear", align_corners=True)
    return F.pad(large, (0, factor - 1, 0, factor - 1), mode="replicate")


def regroup(x: Tensor, before: int, after: int) -> Tensor:
    """From every before-th pixel of a photo, (before²·N, C, H/before, W/before), to every after-th.

    Dilated convolutions of a photo are others of every d-th pixel, whose gradient torch finds 15 times
    as fast on the CPU. H and W are multiples of both.
    """
    if before == after:
        return x
    (n, channels, height, width), b, a = x.shape, before, after
    whole = x.reshape(b, b, -1, channels, height, width).permute(2, 3, 4, 0, 5, 1)
    n, height, width = n // (b * b), b * height, b * width
    parts = whole.reshape(n, channels, height // a, a, width // a, a).permute(3, 5, 0, 1, 2, 4)
    parts = parts.reshape(a * a * n, channels, height // a, width // a)
    return parts.contiguous(memory_format=torch.channels_last)
