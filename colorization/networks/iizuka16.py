"""Let there be Color!: global and local features, fused (Iizuka, Simo-Serra, Ishikawa 2016)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from colorization.colour.lab import L_CENTRE, L_SPREAD
from colorization.networks.contract import Colorizer, Outputs

AB_GAIN = 128.0
"""The last sigmoid, 0..1, spans ab of −128..128."""
_GLOBAL_SIDE = 224
"""The global branch sees the whole photo at this size."""


class Iizuka16Colorizer(Colorizer):
    """Low-level features shared by a local branch and a global one that also names the scene.

    Paper reference [4]. 42.2 M parameters without the classification head, 29.1 GFLOPs at 256².
    num_classes: labels that the head tells apart; 0 leaves it out.
    """

    def __init__(self, num_classes: int = 0) -> None:
        super().__init__()
        self.low = nn.Sequential(
            *_conv(1, 64, stride=2),
            *_conv(64, 128),
            *_conv(128, 128, stride=2),
            *_conv(128, 256),
            *_conv(256, 256, stride=2),
            *_conv(256, 512),
        )
        self.middle = nn.Sequential(*_conv(512, 512), *_conv(512, 256))
        self.scene = nn.Sequential(
            *_conv(512, 512, stride=2),
            *_conv(512, 512),
            *_conv(512, 512, stride=2),
            *_conv(512, 512),
        )
        self.scene_features = nn.Sequential(*_linear(512 * 7 * 7, 1024), *_linear(1024, 512))
        self.to_fusion = nn.Sequential(*_linear(512, 256))
        self.fusion = nn.Sequential(nn.Conv2d(512, 256, 1), nn.ReLU(inplace=True))
        self.colour = nn.Sequential(
            *_conv(256, 128),
            nn.Upsample(scale_factor=2),
            *_conv(128, 64),
            *_conv(64, 64),
            nn.Upsample(scale_factor=2),
            *_conv(64, 32),
            nn.Conv2d(32, 2, 3, padding=1),
            nn.Sigmoid(),
        )
        self.num_classes = num_classes
        if num_classes:
            self.classifier = nn.Sequential(*_linear(512, 256), nn.Linear(256, num_classes))

    def forward(self, L_norm_N1HW: Tensor) -> Tensor:
        """L_norm: float32 (N, 1, H, W), H and W ≥ 32. Returns ab (N, 2, H, W) in Lab units."""
        return self._run(L_norm_N1HW)[0]

    def outputs(self, L_norm_N1HW: Tensor, hints_N3HW: Tensor | None = None) -> Outputs:
        """ab and, with a head, the scores of the labels."""
        ab, features = self._run(L_norm_N1HW)
        scene_logits = self.classifier(features).float() if self.num_classes else None
        return Outputs(ab=ab, scene_logits=scene_logits)

    def _run(self, L_norm_N1HW: Tensor) -> tuple[Tensor, Tensor]:
        height, width = L_norm_N1HW.shape[-2:]
        luma = L_norm_N1HW + L_CENTRE / L_SPREAD
        padded = F.pad(luma, (0, -width % 8, 0, -height % 8), mode="replicate")
        small = F.interpolate(luma, (_GLOBAL_SIDE, _GLOBAL_SIDE), mode="bilinear")
        scene = self.scene_features(self.scene(self.low(small)).flatten(1))
        local = self.middle(self.low(padded))
        everywhere = self.to_fusion(scene)[:, :, None, None].expand(-1, -1, *local.shape[-2:])
        half = self.colour(self.fusion(torch.cat([local, everywhere], dim=1))).float()
        ab = F.interpolate(half * 2 - 1, scale_factor=2, mode="bilinear") * AB_GAIN
        return ab[..., :height, :width], scene


def _conv(before: int, after: int, stride: int = 1) -> tuple[nn.Module, ...]:
    return (
        nn.Conv2d(before, after, 3, stride=stride, padding=1, bias=False),
        nn.BatchNorm2d(after),
        nn.ReLU(inplace=True),
    )


def _linear(before: int, after: int) -> tuple[nn.Module, ...]:
    return nn.Linear(before, after), nn.ReLU(inplace=True)
