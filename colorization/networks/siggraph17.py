"""Real-time user-guided colorization with learned deep priors (Zhang et al., SIGGRAPH 2017)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from colorization.networks.contract import Colorizer, Outputs

AB_NORM = 110.0
"""Hints and output of the release are ab / 110."""


class Siggraph17Colorizer(Colorizer):
    """A ten-block U-Net with additions, which takes colour hints beside L.

    Paper reference [9]. 34.05 M parameters, 150.5 GFLOPs at 256²; with the head of 529 ab bins
    (a 1×1 convolution on block 8), which only training runs, 34.19 M. Parameter names and shapes are
    those of the release, so its file loads strictly.
    """

    bins = "grid529"
    takes_hints = True

    def __init__(self) -> None:
        super().__init__()
        self.model1 = _block((4, 64, 64))
        self.model2 = _block((64, 128, 128))
        self.model3 = _block((128, 256, 256, 256))
        self.model4 = _block((256, 512, 512, 512))
        self.model5 = _block((512, 512, 512, 512), dilation=2)
        self.model6 = _block((512, 512, 512, 512), dilation=2)
        self.model7 = _block((512, 512, 512, 512))
        self.model8up = nn.Sequential(nn.ConvTranspose2d(512, 256, 4, stride=2, padding=1))
        self.model3short8 = nn.Sequential(nn.Conv2d(256, 256, 3, padding=1))
        self.model8 = nn.Sequential(nn.ReLU(), *_block((256, 256, 256)))
        self.model9up = nn.Sequential(nn.ConvTranspose2d(256, 128, 4, stride=2, padding=1))
        self.model2short9 = nn.Sequential(nn.Conv2d(128, 128, 3, padding=1))
        self.model9 = nn.Sequential(nn.ReLU(), *_block((128, 128)))
        self.model10up = nn.Sequential(nn.ConvTranspose2d(128, 128, 4, stride=2, padding=1))
        self.model1short10 = nn.Sequential(nn.Conv2d(64, 128, 3, padding=1))
        self.model10 = nn.Sequential(
            nn.ReLU(), nn.Conv2d(128, 128, 3, padding=1), nn.LeakyReLU(negative_slope=0.2)
        )
        self.model_class = nn.Sequential(nn.Conv2d(256, 529, 1))
        self.model_out = nn.Sequential(nn.Conv2d(128, 2, 1), nn.Tanh())

    def forward(self, L_norm_N1HW: Tensor, hints_N3HW: Tensor | None = None) -> Tensor:
        """L_norm: float32 (N, 1, H, W), H and W ≥ 32. Returns ab (N, 2, H, W) in Lab units.

        hints: float32 (N, 3, H, W): a and b in Lab units, and 1 where there is a hint, else 0.
        """
        return self._run(L_norm_N1HW, hints_N3HW)[0]

    def outputs(self, L_norm_N1HW: Tensor, hints_N3HW: Tensor | None = None) -> Outputs:
        """ab and the scores of 529 bins at a quarter of the size."""
        ab, block8 = self._run(L_norm_N1HW, hints_N3HW)
        return Outputs(ab=ab, bin_logits=self.model_class(block8).float())

    def _run(self, L_norm_N1HW: Tensor, hints_N3HW: Tensor | None) -> tuple[Tensor, Tensor]:
        height, width = L_norm_N1HW.shape[-2:]
        if hints_N3HW is None:
            hints_N3HW = L_norm_N1HW.new_zeros(len(L_norm_N1HW), 3, height, width)
        hints = torch.cat([hints_N3HW[:, :2] / AB_NORM, hints_N3HW[:, 2:]], dim=1)
        x = torch.cat([L_norm_N1HW, hints], dim=1)
        x1 = self.model1(F.pad(x, (0, -width % 8, 0, -height % 8), mode="replicate"))
        x2 = self.model2(_every_second(x1))
        x3 = self.model3(_every_second(x2))
        x7 = self.model7(self.model6(self.model5(self.model4(_every_second(x3)))))
        x8 = self.model8(self.model8up(x7) + self.model3short8(x3))
        x9 = self.model9(self.model9up(x8) + self.model2short9(x2))
        x10 = self.model10(self.model10up(x9) + self.model1short10(x1))
        ab = self.model_out(x10).float()[..., :height, :width] * AB_NORM
        return ab, x8


def _every_second(x: Tensor) -> Tensor:
    """The release downsamples by taking every second pixel."""
    return x[:, :, ::2, ::2]


def _block(widths: tuple[int, ...], dilation: int = 1) -> nn.Sequential:
    layers: list[nn.Module] = []
    for before, after in zip(widths, widths[1:], strict=False):
        layers += [nn.Conv2d(before, after, 3, padding=dilation, dilation=dilation), nn.ReLU()]
    return nn.Sequential(*layers, nn.BatchNorm2d(widths[-1]))
