"""The strong default: the paper's ResNet-18 encoder with skip connections to the decoder.

Skip connections (Ronneberger et al. 2015) with a pretrained encoder are worth more than any loss
(probe in facts/colorization.md).
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from colorization.networks.contract import EncodedColorizer
from colorization.networks.encoder import ResNet18Encoder
from colorization.networks.residual import STAGE_CHANNELS

HEAD_GAIN = 20.0
"""Lab units for each unit of the head: about the spread of ab, so that Adam's first steps stay small."""
DECODER_WIDTHS = (128, 96, 64, 48)


class _Up(nn.Module):
    """Bilinear ×2, concatenate the encoder's features of that size, two 3×3 convolutions."""

    def __init__(self, before: int, skip: int, after: int) -> None:
        super().__init__()
        self.block = nn.Sequential(
            nn.Conv2d(before + skip, after, 3, padding=1, bias=False),
            nn.BatchNorm2d(after),
            nn.ReLU(inplace=True),
            nn.Conv2d(after, after, 3, padding=1, bias=False),
            nn.BatchNorm2d(after),
            nn.ReLU(inplace=True),
        )

    def forward(self, x: Tensor, skip: Tensor) -> Tensor:
        x = F.interpolate(x, size=skip.shape[-2:], mode="bilinear", align_corners=False)
        out: Tensor = self.block(torch.cat([x, skip], dim=1))
        return out


class UNet18Colorizer(EncodedColorizer):
    """ResNet-18 U-Net; ab is predicted at a fraction of the size and interpolated to the whole.

    depth: how many ResNet layers the encoder keeps. stride: of the finest features that the decoder
    uses, 2 or 4. `unet18` (4, 2) has 12.71 M parameters and takes 9.3 GFLOPs at 256²; `unet18-layer3`
    (3, 2) 3.40 M and 7.9 GFLOPs; `unet18-stride4` (4, 4) 12.64 M and 6.7 GFLOPs: layer4's scene and a
    decoder cheap enough to run four of them on one encoder. ab at a quarter of the size, interpolated
    bicubically, has a ceiling of 34.7 dB (facts/colorization.md), ten above what networks reach.
    """

    def __init__(self, depth: int = 4, stride: int = 2) -> None:
        super().__init__()
        self.encoder = ResNet18Encoder(depth=depth)
        finest = stride.bit_length() - 2
        skips = STAGE_CHANNELS[finest:depth][::-1]
        widths = DECODER_WIDTHS[4 - depth :][: len(skips)]
        befores = (STAGE_CHANNELS[depth], *widths)
        self.ups = nn.ModuleList(
            _Up(before, skip, after)
            for before, skip, after in zip(befores, skips, widths, strict=False)
        )
        self.head = nn.Conv2d(widths[-1], 2, kernel_size=3, padding=1)
        self.interpolation = "bilinear" if stride == 2 else "bicubic"

    def decode(self, features: Sequence[Tensor], size: torch.Size) -> Tensor:
        """ab (N, 2, *size), Lab units, from the features of every stage."""
        *skips, x = features
        for up, skip in zip(self.ups, reversed(skips), strict=False):
            x = up(x, skip)
        ab = self.head(x) * HEAD_GAIN
        return F.interpolate(ab, size, mode=self.interpolation, align_corners=False)
