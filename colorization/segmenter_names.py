"""Which segmenters there are: for configs, which are read before torch is."""

from __future__ import annotations

TORCHVISION_SEGMENTERS = (
    "deeplabv3_resnet101",
    "deeplabv3_mobilenet_v3_large",
    "lraspp_mobilenet_v3_large",
)
"""Their official weights know the 21 VOC classes, in VOC's order."""
SEGMENTER_NAMES = ("starter", *(f"torchvision:{name}" for name in TORCHVISION_SEGMENTERS))
