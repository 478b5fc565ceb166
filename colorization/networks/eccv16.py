"""Colorful Image Colorization: colours as a classification (Zhang, Isola, Efros, ECCV 2016)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from colorization.colour.bins import bin_centres
from colorization.networks.contract import Colorizer, Outputs

AB_NORM = 110.0
"""The release gives ab / 110."""


class Eccv16Colorizer(Colorizer):
    """Eight blocks of 3×3 convolutions, 313 ab bins at quarter size, their mean as ab.

    Paper reference [8]. 32.24 M parameters, 83.6 GFLOPs at 256². Parameter names and shapes are
    those of the release, so its file loads strictly. Its softmax is the annealed one: train with
    the recipe's `temperature`, and the annealed mean is what `forward` gives.
    """

    bins = "gamut313"
    ab_from_bins = True

    def __init__(self) -> None:
        super().__init__()
        self.model1 = _block((1, 64, 64), stride=2)
        self.model2 = _block((64, 128, 128), stride=2)
        self.model3 = _block((128, 256, 256, 256), stride=2)
        self.model4 = _block((256, 512, 512, 512))
        self.model5 = _block((512, 512, 512, 512), dilation=2)
        self.model6 = _block((512, 512, 512, 512), dilation=2)
        self.model7 = _block((512, 512, 512, 512))
        self.model8 = nn.Sequential(
            nn.ConvTranspose2d(512, 256, 4, stride=2, padding=1),
            nn.ReLU(inplace=True),
            nn.Conv2d(256, 256, 3, padding=1),
            nn.ReLU(inplace=True),
            nn.Conv2d(256, 256, 3, padding=1),
            nn.ReLU(inplace=True),
            nn.Conv2d(256, 313, 1),
        )
        self.model_out = nn.Conv2d(313, 2, 1, bias=False)
        centres = torch.from_numpy(bin_centres(self.bins))
        weight = (centres.T / AB_NORM)[:, :, None, None].contiguous()
        self.model_out.weight = nn.Parameter(weight, requires_grad=False)

    def forward(self, L_norm_N1HW: Tensor) -> Tensor:
        """L_norm: float32 (N, 1, H, W), H and W ≥ 32. Returns ab (N, 2, H, W) in Lab units."""
        return self.outputs(L_norm_N1HW).ab

    def outputs(self, L_norm_N1HW: Tensor, hints_N3HW: Tensor | None = None) -> Outputs:
        """ab and the scores of the 313 bins at a quarter of the size."""
        height, width = L_norm_N1HW.shape[-2:]
        x = F.pad(L_norm_N1HW, (0, -width % 8, 0, -height % 8), mode="replicate")
        for i in range(1, 9):
            x = getattr(self, f"model{i}")(x)
        logits = x.float()
        quarter = self.model_out(logits.softmax(dim=1)).float()
        ab = F.interpolate(quarter, scale_factor=4, mode="bilinear", align_corners=False)
        return Outputs(ab=ab[..., :height, :width] * AB_NORM, bin_logits=logits)


def _block(widths: tuple[int, ...], stride: int = 1, dilation: int = 1) -> nn.Sequential:
    """3×3 convolutions with ReLU, the last one with the stride, and BatchNorm at the end."""
    layers: list[nn.Module] = []
    for i, (before, after) in enumerate(zip(widths, widths[1:], strict=False)):
        last = i == len(widths) - 2
        layers += [
            nn.Conv2d(
                before,
                after,
                3,
                stride=stride if last else 1,
                padding=dilation,
                dilation=dilation,
            ),
            nn.ReLU(inplace=True),
        ]
    return nn.Sequential(*layers, nn.BatchNorm2d(widths[-1]))
