"""A discriminator that judges patches of 70 × 70 pixels (Isola et al. 2017)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

_AB_NORM = 110.0


class PatchGAN(nn.Module):
    """Verdicts on how real the colours of each patch are, given L. 2.77 M parameters."""

    def __init__(self) -> None:
        super().__init__()
        layers: list[nn.Module] = [nn.Conv2d(3, 64, 4, stride=2, padding=1), nn.LeakyReLU(0.2)]
        for before, after, stride in ((64, 128, 2), (128, 256, 2), (256, 512, 1)):
            layers += [
                nn.Conv2d(before, after, 4, stride=stride, padding=1, bias=False),
                nn.InstanceNorm2d(after),
                nn.LeakyReLU(0.2),
            ]
        self.layers = nn.Sequential(*layers, nn.Conv2d(512, 1, 4, padding=1))

    def forward(self, L_norm: Tensor, ab: Tensor) -> Tensor:
        """L_norm: float32 (N, 1, H, W). ab: float32 (N, 2, H, W). Returns (N, 1, h, w)."""
        verdict: Tensor = self.layers(torch.cat([L_norm, ab / _AB_NORM], dim=1))
        return verdict
