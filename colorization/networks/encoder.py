"""The ResNet-18 encoder that the house's colorizers and the starter segmenter share.

He et al. 2016 (paper reference [2]), with conv1 for one channel.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from colorization.colour.lab import L_CENTRE, L_SPREAD
from colorization.errors import WeightsMismatchError
from colorization.networks.residual import ResNetStem

IMAGENET_GRAY_MEAN, IMAGENET_GRAY_STD = 0.449, 0.226
"""Mean of ImageNet's three channel means and standard deviations, for gray input 0..1."""


class ResNet18Encoder(ResNetStem):
    """ResNet-18 without pooling head, on one channel, giving the features of every stage.

    depth: how many of layer1..layer4 are kept, 1..4.
    """

    def __init__(self, depth: int = 4) -> None:
        super().__init__(depth)
        self.depth = depth

    def forward(self, L_norm_N1HW: Tensor) -> list[Tensor]:
        """L_norm: float32 (N, 1, H, W), −0.5..0.5. Returns features at strides 2, 4, … ."""
        luma = L_norm_N1HW + L_CENTRE / L_SPREAD
        x = self.relu(self.bn1(self.conv1((luma - IMAGENET_GRAY_MEAN) / IMAGENET_GRAY_STD)))
        features = [x]
        x = self.maxpool(x)
        for i in range(1, self.depth + 1):
            x = getattr(self, f"layer{i}")(x)
            features.append(x)
        return features

    def load_backbone(self, state: Mapping[str, Tensor]) -> None:
        """Load torchvision's resnet18 weights. Raises WeightsMismatchError."""
        load_backbone(self, state)


def load_backbone(encoder: nn.Module, state: Mapping[str, Tensor]) -> None:
    """Load torchvision's resnet18 weights (fc may be absent) into modules of the same names.

    conv1 is summed over its three input channels, which equals feeding gray as RGB. Raises
    WeightsMismatchError when a key is missing or has another shape.
    """
    own = encoder.state_dict()
    loaded: dict[str, Tensor] = {}
    for key, tensor in own.items():
        value = state.get(key)
        if value is not None and key == "conv1.weight" and value.shape[1] == 3:
            value = value.float().sum(dim=1, keepdim=True)
        if value is None and key.endswith("num_batches_tracked"):
            value = tensor
        if value is None or value.shape != tensor.shape:
            got = "no such key" if value is None else f"shape {tuple(value.shape)}"
            raise WeightsMismatchError(
                f"Expected encoder weights of torchvision's resnet18 with {key} of shape "
                f"{tuple(tensor.shape)}, got {got}. Give a resnet18 state dict."
            )
        loaded[key] = value.to(torch.float32) if value.is_floating_point() else value
    encoder.load_state_dict(loaded)
