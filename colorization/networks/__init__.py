"""The registry of colorizer networks.

Contract of every one: L_norm float32 (N, 1, H, W), any H, W ≥ 32, → ab float32 (N, 2, H, W) in
Lab units. The names are known without torch; building one imports it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from importlib import import_module
from typing import TYPE_CHECKING, Any

from colorization.errors import ConfigError

if TYPE_CHECKING:
    from colorization.networks.contract import Colorizer

LABELS, BINS, HINTS, ENCODER, PALETTES = "labels", "bins", "hints", "encoder", "palettes"


@dataclass(frozen=True, slots=True)
class NetworkEntry:
    """One network of the registry. Configs are checked against it before torch is imported."""

    module: str
    """Its file in this folder."""
    cls: str
    arguments: dict[str, Any] = field(default_factory=dict)
    """What the class is called with."""
    can: frozenset[str] = frozenset()
    """LABELS: it can learn the photos' labels beside their colours. BINS: it classifies ab bins, so
    loss = "classification" can train it. HINTS: it takes colour hints. ENCODER: it can start from
    torchvision's resnet18 weights. PALETTES: its colours follow one."""


_ENCODED = frozenset({ENCODER})
_REGISTRY: dict[str, NetworkEntry] = {
    "resnet18": NetworkEntry("resnet18", "ResNet18Colorizer", can=_ENCODED),
    "resnet18-trunk": NetworkEntry("resnet18_trunk", "ResNet18TrunkColorizer", can=_ENCODED),
    "unet18": NetworkEntry("unet18", "UNet18Colorizer", {"depth": 4}, _ENCODED),
    "unet18-layer3": NetworkEntry("unet18", "UNet18Colorizer", {"depth": 3}, _ENCODED),
    "unet18-stride4": NetworkEntry("unet18", "UNet18Colorizer", {"stride": 4}, _ENCODED),
    "unet-scene": NetworkEntry("unet_scene", "SceneColorizer", can=frozenset({ENCODER, PALETTES})),
    "eccv16": NetworkEntry("eccv16", "Eccv16Colorizer", can=frozenset({BINS})),
    "siggraph17": NetworkEntry("siggraph17", "Siggraph17Colorizer", can=frozenset({BINS, HINTS})),
    "iizuka16": NetworkEntry("iizuka16", "Iizuka16Colorizer", can=frozenset({LABELS})),
    "hypercolumn": NetworkEntry(
        "hypercolumn", "HypercolumnColorizer", can=frozenset({BINS, ENCODER})
    ),
}
NETWORK_NAMES = tuple(_REGISTRY)


def networks_that(can: str) -> tuple[str, ...]:
    """Names of the networks with one of LABELS, BINS, HINTS, ENCODER, PALETTES, in the registry's order."""
    return tuple(name for name, entry in _REGISTRY.items() if can in entry.can)


def network_module(name: str) -> str:
    """The module that holds a network's class."""
    return f"colorization.networks.{_REGISTRY[name].module}"


def check_network(name: str) -> str:
    """Return `name` if it is registered, else raise ConfigError naming the allowed values."""
    if name not in NETWORK_NAMES:
        raise ConfigError(f"Expected a network of {', '.join(NETWORK_NAMES)}; got {name!r}.")
    return name


def build_network(name: str, *, num_classes: int = 0) -> Colorizer:
    """A freshly initialised network in eval mode.

    num_classes: labels for a network that can learn LABELS; the others have none. Raises
    ConfigError for an unknown name.
    """
    check_network(name)
    entry = _REGISTRY[name]
    arguments = dict(entry.arguments)
    if num_classes and LABELS in entry.can:
        arguments["num_classes"] = num_classes
    network: Colorizer = getattr(import_module(network_module(name)), entry.cls)(**arguments)
    return network.eval()
