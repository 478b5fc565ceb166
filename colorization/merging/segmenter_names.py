"""Which segmenters there are: for configs, which are read before torch is."""

from __future__ import annotations

import re

from colorization.errors import ConfigError

TORCHVISION_SEGMENTERS = (
    "deeplabv3_resnet101",
    "deeplabv3_mobilenet_v3_large",
    "lraspp_mobilenet_v3_large",
)
"""Their official weights know the 21 VOC classes, in VOC's order."""
_IMPORT_PATH = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[A-Za-z_]\w*")
SEGMENTER_NAMES = ("starter", *(f"torchvision:{name}" for name in TORCHVISION_SEGMENTERS))


def check_segmenter(name: str) -> str:
    """Return a name of SEGMENTER_NAMES or MODULE:CLASS. Raises ConfigError naming what is allowed."""
    if name in SEGMENTER_NAMES or is_import_path(name):
        return name
    raise ConfigError(
        f"Expected a segmenter of {', '.join(SEGMENTER_NAMES)}, or MODULE:CLASS of your own; got "
        f"{name!r}."
    )


def is_import_path(name: str) -> bool:
    """Whether a segmenter is somebody's own, named as MODULE:CLASS."""
    return not name.startswith("torchvision:") and _IMPORT_PATH.fullmatch(name) is not None
