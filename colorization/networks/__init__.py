"""The registry of colorizer networks.

Contract of every one: L_norm float32 (N, 1, H, W), any H, W ≥ 32, → ab float32 (N, 2, H, W) in
Lab units. The names are known without torch; building one imports it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from colorization.errors import ConfigError

if TYPE_CHECKING:
    from torch import nn

NETWORK_NAMES = ("resnet18", "unet18", "unet18-layer3")


def check_network(name: str) -> str:
    """Return `name` if it is registered, else raise ConfigError naming the allowed values."""
    if name not in NETWORK_NAMES:
        raise ConfigError(f"Expected a network of {', '.join(NETWORK_NAMES)}; got {name!r}.")
    return name


def build_network(name: str) -> nn.Module:
    """A freshly initialised network in eval mode. Raises ConfigError for an unknown name."""
    check_network(name)
    if name == "resnet18":
        from colorization.networks.resnet18 import ResNet18Colorizer

        return ResNet18Colorizer().eval()
    from colorization.networks.unet18 import UNet18Colorizer

    return UNet18Colorizer(depth=3 if name == "unet18-layer3" else 4).eval()
