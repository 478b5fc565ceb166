"""The network of the paper's published code, which is not the one that the paper draws."""

from __future__ import annotations

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from colorization.colour.lab import KAPPA, L_CENTRE, L_SPREAD
from colorization.networks.contract import Colorizer
from colorization.networks.encoder import load_backbone
from colorization.networks.residual import ResNetStem

_AB_SCALE, _AB_OFFSET = 255.0, 128.0
"""Its output is (ab + 128) / 255."""


class ResNet18TrunkColorizer(Colorizer):
    """ResNet-18 up to layer2 (stride 8) and five convolutions with nearest upsampling.

    The authors' code (facts/colorization.md): gamma luma 0..1 in, (ab + 128) / 255 out, true ab
    resolution H/2. 0.95 M parameters, 4.2 GFLOPs at 256². Module names are those of the published
    state dicts, which load by key.
    """

    encoder_prefix = "midlevel_resnet."

    def __init__(self) -> None:
        super().__init__()
        self.midlevel_resnet = nn.Sequential(*ResNetStem(depth=2).children())
        self.upsample = nn.Sequential(
            *_block(128, 128),
            nn.Upsample(scale_factor=2),
            *_block(128, 64),
            *_block(64, 64),
            nn.Upsample(scale_factor=2),
            *_block(64, 32),
            nn.Conv2d(32, 2, 3, padding=1),
            nn.Upsample(scale_factor=2),
        )

    def forward(self, L_norm_N1HW: Tensor) -> Tensor:
        """L_norm: float32 (N, 1, H, W), H and W ≥ 32. Returns ab (N, 2, H, W) in Lab units."""
        height, width = L_norm_N1HW.shape[-2:]
        padded = F.pad(L_norm_N1HW, (0, -width % 8, 0, -height % 8), mode="replicate")
        luma = gray_luma(padded * L_SPREAD + L_CENTRE)
        ab: Tensor = self.upsample(self.midlevel_resnet(luma)) * _AB_SCALE - _AB_OFFSET
        return ab[..., :height, :width]

    def load_encoder(self, state: Mapping[str, Tensor]) -> None:
        """Load torchvision's resnet18 weights into the trunk, conv1 summed over RGB."""
        trunk = nn.Module()
        names = ("conv1", "bn1", "relu", "maxpool", "layer1", "layer2")
        for name, module in zip(names, self.midlevel_resnet, strict=True):
            trunk.add_module(name, module)
        load_backbone(trunk, state)


def gray_luma(L: Tensor) -> Tensor:
    """The sRGB-encoded gray value of a lightness (CIE 15:2004, IEC 61966-2-1).

    L: float32, 0..100, any shape. Returns float32, 0..1.
    """
    f = (L + 16) / 116
    linear = torch.where(f > 6 / 29, f**3, (f - 16 / 116) / KAPPA).clamp(0, 1)
    curved = 1.055 * linear.clamp(min=0.0031308) ** (1 / 2.4) - 0.055
    return torch.where(linear <= 0.0031308, 12.92 * linear, curved)


def _block(before: int, after: int) -> tuple[nn.Module, ...]:
    return nn.Conv2d(before, after, 3, padding=1), nn.BatchNorm2d(after), nn.ReLU(inplace=True)
