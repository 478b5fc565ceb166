"""The stages of a ResNet-18, as torchvision builds them and under its names.

He et al. 2016 (paper reference [2]), table 1. torchvision itself is not imported: that takes 1.8 s of
a processor in each Dask worker (docs/decisions/036).
"""

from __future__ import annotations

from torch import Tensor, nn

STAGE_CHANNELS = (64, 64, 128, 256, 512)
"""Channels after conv1 (stride 2), layer1 (4), layer2 (8), layer3 (16), layer4 (32)."""


class BasicBlock(nn.Module):
    """Two 3 × 3 convolutions beside a shortcut, which is a 1 × 1 convolution where the shape changes."""

    def __init__(self, before: int, after: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(before, after, 3, stride=stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(after)
        self.relu = nn.ReLU(inplace=True)
        self.conv2 = nn.Conv2d(after, after, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(after)
        self.downsample: nn.Module | None = None
        if stride != 1 or before != after:
            self.downsample = nn.Sequential(
                nn.Conv2d(before, after, 1, stride=stride, bias=False), nn.BatchNorm2d(after)
            )

    def forward(self, x_NCHW: Tensor) -> Tensor:
        """float32 (N, before, H, W) to (N, after, H / stride, W / stride)."""
        shortcut = x_NCHW if self.downsample is None else self.downsample(x_NCHW)
        changed = self.bn2(self.conv2(self.relu(self.bn1(self.conv1(x_NCHW)))))
        both: Tensor = self.relu(changed + shortcut)
        return both


class ResNetStem(nn.Module):
    """conv1, bn1, relu, maxpool and layer1 to layer`depth` of a ResNet-18 for one channel."""

    def __init__(self, depth: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(1, STAGE_CHANNELS[0], 7, stride=2, padding=3, bias=False)
        self.bn1 = nn.BatchNorm2d(STAGE_CHANNELS[0])
        self.relu = nn.ReLU(inplace=True)
        self.maxpool = nn.MaxPool2d(3, stride=2, padding=1)
        for i in range(1, depth + 1):
            before, after = STAGE_CHANNELS[i - 1], STAGE_CHANNELS[i]
            first = BasicBlock(before, after, 1 if i == 1 else 2)
            self.add_module(f"layer{i}", nn.Sequential(first, BasicBlock(after, after, 1)))
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
