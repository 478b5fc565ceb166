"""The registry of colorizer networks.

Contract of every one: L_norm float32 (N, 1, H, W), any H, W ≥ 32, → ab float32 (N, 2, H, W) in
Lab units. The names are known without torch; building one imports it.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from colorization.errors import ConfigError

if TYPE_CHECKING:
    from colorization.networks.contract import Colorizer

_BUILDERS: dict[str, tuple[str, str, dict[str, Any]]] = {
    "resnet18": ("resnet18", "ResNet18Colorizer", {}),
    "resnet18-trunk": ("resnet18_trunk", "ResNet18TrunkColorizer", {}),
    "unet18": ("unet18", "UNet18Colorizer", {"depth": 4}),
    "unet18-layer3": ("unet18", "UNet18Colorizer", {"depth": 3}),
    "unet18-stride4": ("unet18", "UNet18Colorizer", {"stride": 4}),
    "eccv16": ("eccv16", "Eccv16Colorizer", {}),
    "siggraph17": ("siggraph17", "Siggraph17Colorizer", {}),
    "iizuka16": ("iizuka16", "Iizuka16Colorizer", {}),
    "hypercolumn": ("hypercolumn", "HypercolumnColorizer", {}),
}
"""Name → module, class, arguments."""
NETWORK_NAMES = tuple(_BUILDERS)
BIN_NETWORKS = ("eccv16", "siggraph17", "hypercolumn")
"""They classify ab bins, so loss = "classification" can train them."""
LABEL_NETWORKS = ("iizuka16",)
"""They can learn the photos' labels beside their colours."""
HINT_NETWORKS = ("siggraph17",)
"""They take colour hints."""
ENCODER_NETWORKS = (
    "resnet18",
    "resnet18-trunk",
    "unet18",
    "unet18-layer3",
    "unet18-stride4",
    "hypercolumn",
)
"""They can start from torchvision's resnet18 weights."""


def check_network(name: str) -> str:
    """Return `name` if it is registered, else raise ConfigError naming the allowed values."""
    if name not in NETWORK_NAMES:
        raise ConfigError(f"Expected a network of {', '.join(NETWORK_NAMES)}; got {name!r}.")
    return name


def build_network(name: str, *, num_classes: int = 0) -> Colorizer:
    """A freshly initialised network in eval mode.

    num_classes: labels that a network of LABEL_NETWORKS learns; the others have none. Raises
    ConfigError for an unknown name.
    """
    check_network(name)
    module, cls, arguments = _BUILDERS[name]
    if num_classes and name in LABEL_NETWORKS:
        arguments = {**arguments, "num_classes": num_classes}
    network: Colorizer = getattr(import_module(f"colorization.networks.{module}"), cls)(**arguments)
    return network.eval()
