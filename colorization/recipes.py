"""Training recipes as small typed configs. Importing this imports no torch."""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields, replace
from typing import Any

from colorization.errors import ConfigError
from colorization.networks import check_network

LOSSES = ("l2", "l1", "huber")
OPTIMIZERS = ("adam", "adamw")
SCHEDULES = ("step", "cosine", "constant")
PRECISIONS = ("auto", "fp32", "bf16")


def _one_of(field: str, value: str, allowed: tuple[str, ...]) -> None:
    if value not in allowed:
        raise ConfigError(f"Expected {field} of {', '.join(allowed)}; got {value!r}.")


@dataclass(frozen=True, kw_only=True, slots=True)
class Recipe:
    """How one colorizer is trained."""

    network: str
    """A name of `colorization.networks.NETWORK_NAMES`."""
    loss: str = "l2"
    """On ab in Lab units: l2 (paper section 2.1), l1 or huber."""
    huber_beta: float = 5.0
    """Where huber turns from square to straight, in Lab units."""
    optimizer: str = "adam"
    weight_decay: float = 1e-3
    learning_rate: float = 1e-2
    """At the start; the decoder's, where encoder_lr_factor is not 1."""
    final_learning_rate: float = 1e-5
    encoder_lr_factor: float = 1.0
    """The encoder's share of the learning rate; under 1 where it starts from pretrained weights."""
    schedule: str = "step"
    """step: equal plateaus, a factor 10 apart, from start to final rate. cosine: to the final rate."""
    epochs: int = 50
    batch: int = 64
    """Photos in a batch."""
    crop: int = 0
    """Side of a random crop taken out of the shard's photo at each visit, in pixels; 0 for none."""
    horizontal_flip: float = 0.0
    """Probability of mirroring a photo at each visit, on top of what the shard did once."""
    precision: str = "auto"
    """auto: bf16 where the processor multiplies it natively, else fp32."""

    def __post_init__(self) -> None:
        check_network(self.network)
        _one_of("loss", self.loss, LOSSES)
        _one_of("optimizer", self.optimizer, OPTIMIZERS)
        _one_of("schedule", self.schedule, SCHEDULES)
        _one_of("precision", self.precision, PRECISIONS)
        for name in ("epochs", "batch"):
            if getattr(self, name) < 1:
                raise ConfigError(f"Expected {name} of 1 or more, got {getattr(self, name)}.")
        if self.crop and (self.crop < 32 or self.crop % 32):
            raise ConfigError(f"Expected crop 0 or a multiple of 32, got {self.crop}.")
        if not 0 < self.final_learning_rate <= self.learning_rate:
            raise ConfigError(
                "Expected 0 < final_learning_rate <= learning_rate, got "
                f"{self.final_learning_rate} and {self.learning_rate}."
            )

    def to_dict(self) -> dict[str, Any]:
        """The fields as plain values, for fingerprints and cards."""
        return asdict(self)


RECIPES = {
    # Section 2.2: Adam, weight decay 0.001, 1e-2 → 1e-5 in steps after about 50 epochs, batch 64.
    "paper": Recipe(network="resnet18"),
    # The probe of facts/colorization.md: skip connections, Huber, a gentle encoder.
    "default": Recipe(
        network="unet18",
        loss="huber",
        optimizer="adamw",
        weight_decay=1e-2,
        learning_rate=1e-3,
        final_learning_rate=1e-6,
        encoder_lr_factor=0.3,
        schedule="cosine",
        epochs=10,
        batch=16,
        crop=192,
        horizontal_flip=0.5,
    ),
}
RECIPES["starter"] = replace(RECIPES["default"], network="unet18-layer3")


def build_recipe(name: str, overrides: dict[str, Any] | None = None) -> Recipe:
    """A named recipe with some fields replaced. Raises ConfigError naming the allowed values."""
    if name not in RECIPES:
        raise ConfigError(f"Expected a recipe of {', '.join(RECIPES)}; got {name!r}.")
    allowed = [field.name for field in fields(Recipe)]
    for key in overrides or {}:
        if key not in allowed:
            raise ConfigError(f"Expected a recipe key of {', '.join(allowed)}; got {key!r}.")
    return replace(RECIPES[name], **(overrides or {}))
