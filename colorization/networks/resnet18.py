"""The paper's colorizer: a whole ResNet-18 encoder and deconvolutions (paper section 2.2, figure 2)."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from colorization.networks.contract import Colorizer
from colorization.networks.encoder import ResNet18Encoder
from colorization.networks.residual import STAGE_CHANNELS


class ResNet18Colorizer(Colorizer):
    """ResNet-18 (no head), then five learned ×2 upsamplings, each with BatchNorm and ReLU.

    Paper section 2.2, figure 2: "every convolutional layer is followed by a batch normalization
    and ReLU", which cannot hold for the last one, since ab has both signs. The transposed
    kernels are 4×4, a multiple of the stride, against checkerboards. The last layer answers in Lab
    units: with a factor of 110 behind it, Adam's steps of 1e-2 killed the features in one epoch.
    13.96 M parameters, 5.9 GFLOPs at 256².
    """

    def __init__(self) -> None:
        super().__init__()
        self.encoder = ResNet18Encoder(depth=4)
        widths = (STAGE_CHANNELS[-1], 256, 128, 64, 32, 16)
        blocks: list[nn.Module] = []
        for before, after in zip(widths, widths[1:], strict=False):
            blocks += [
                nn.ConvTranspose2d(before, after, 4, stride=2, padding=1, bias=False),
                nn.BatchNorm2d(after),
                nn.ReLU(inplace=True),
            ]
        self.decoder = nn.Sequential(*blocks)
        self.head = nn.Conv2d(widths[-1], 2, kernel_size=3, padding=1)

    def forward(self, L_norm_N1HW: Tensor) -> Tensor:
        """L_norm: float32 (N, 1, H, W), H and W ≥ 32. Returns ab (N, 2, H, W) in Lab units."""
        height, width = L_norm_N1HW.shape[-2:]
        padded = F.pad(L_norm_N1HW, (0, -width % 32, 0, -height % 32), mode="replicate")
        ab: Tensor = self.head(self.decoder(self.encoder(padded)[-1]))
        return ab[..., :height, :width]
