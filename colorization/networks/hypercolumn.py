"""Hypercolumns: every pixel described by the features of all depths (Larsson et al. 2016, 2017)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from colorization.colour.bins import bin_centres
from colorization.networks.contract import Colorizer, Outputs
from colorization.networks.encoder import ResNet18Encoder
from colorization.networks.residual import STAGE_CHANNELS

_HIDDEN = 384


class HypercolumnColorizer(Colorizer):
    """ResNet-18 features of every stage at a quarter of the size, 313 ab bins, their mean as ab.

    Paper reference [5], which predicts a histogram for each pixel from a hypercolumn; theirs stands
    on VGG-16 and hue-chroma histograms, ours on ResNet-18 and joint ab bins. 11.68 M parameters,
    6.7 GFLOPs at 256².
    """

    bins = "gamut313"
    ab_from_bins = True

    def __init__(self) -> None:
        super().__init__()
        self.encoder = ResNet18Encoder(depth=4)
        # a 1×1 convolution of the concatenation is the sum of 1×1 convolutions of its parts, each
        # of which may be taken before the upsampling
        self.columns = nn.ModuleList(
            nn.Conv2d(channels, _HIDDEN, 1, bias=False) for channels in STAGE_CHANNELS
        )
        self.norm = nn.BatchNorm2d(_HIDDEN)
        self.head = nn.Conv2d(_HIDDEN, 313, 1)
        centres = torch.from_numpy(bin_centres(self.bins))
        self.register_buffer("centres", centres.T[:, :, None, None].contiguous(), persistent=False)

    def forward(self, L_norm_N1HW: Tensor) -> Tensor:
        """L_norm: float32 (N, 1, H, W), H and W ≥ 32. Returns ab (N, 2, H, W) in Lab units."""
        return self.outputs(L_norm_N1HW).ab

    def outputs(self, L_norm_N1HW: Tensor, hints_N3HW: Tensor | None = None) -> Outputs:
        """ab and the scores of the 313 bins at a quarter of the size."""
        features = self.encoder(L_norm_N1HW)
        size = features[1].shape[-2:]
        total: Tensor | None = None
        for column, feature in zip(self.columns, features, strict=True):
            resized = F.interpolate(column(feature), size, mode="bilinear", align_corners=False)
            total = resized if total is None else total + resized
        assert total is not None
        logits = self.head(F.relu(self.norm(total))).float()
        quarter = F.conv2d(logits.softmax(dim=1), self.get_buffer("centres"))
        ab = F.interpolate(
            quarter.float(), L_norm_N1HW.shape[-2:], mode="bilinear", align_corners=False
        )
        return Outputs(ab=ab, bin_logits=logits)
