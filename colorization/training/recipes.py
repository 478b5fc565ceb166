"""The recipes that have a name. Importing this imports no torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from colorization.errors import ConfigError
from colorization.training.recipe_fields import (
    Objective,
    Optimization,
    Recipe,
    build_recipe_from,
)

RECIPES = {
    # Section 2.2: Adam, weight decay 0.001, 1e-2 → 1e-5 in steps after about 50 epochs, batch 64.
    "paper": Recipe(network="resnet18", publish="last"),
    # What their code does (facts/colorization.md); give [preprocess] saturation = 1.5 with it.
    "authors": Recipe(
        network="resnet18-trunk",
        objective=Objective(loss="l2", loss_scale=1 / 255**2),
        optimization=Optimization(
            weight_decay=1e-5,
            learning_rate=1e-4,
            final_learning_rate=1e-4,
            schedule="constant",
            fresh_each_epoch=True,
        ),
        epochs=25,
        crop=224,
        horizontal_flip=0.5,
        publish="last",
    ),
    # The probe of facts/colorization.md: skip connections, Huber, a gentle encoder.
    "default": Recipe(
        network="unet18",
        objective=Objective(loss="huber"),
        optimization=Optimization(
            optimizer="adamw",
            weight_decay=1e-2,
            learning_rate=1e-3,
            final_learning_rate=1e-6,
            encoder_lr_factor=0.3,
            schedule="cosine",
        ),
        epochs=10,
        batch=16,
        crop=192,
        horizontal_flip=0.5,
    ),
}
# All heads of a scene network at once, or one of them alone (docs/decisions/028).
RECIPES["scene"] = replace(
    RECIPES["default"],
    network="unet-scene",
    optimization=replace(RECIPES["default"].optimization, clip_norm=50.0, ema=0.998),
    epochs=32,
    smallest_crop=0.6,
    wear=0.35,
    publish="last",
    validate_every=4,
)
# An expert fine-tuned on the frozen encoder, which colorize runs once for all four (docs/decisions/011);
# palettes stay too, so that it takes one with the others.
RECIPES["starter"] = replace(
    RECIPES["scene"],
    optimization=replace(
        RECIPES["scene"].optimization, learning_rate=5e-4, encoder_lr_factor=0.0, ema=0.99
    ),
    epochs=4,
    wear=0.0,
    lightness_jitter=0.2,
    validate_every=1,
)


def build_recipe(name: str, overrides: Mapping[str, Any] | None = None) -> Recipe:
    """A named recipe with some fields replaced. Raises ConfigError naming the allowed values."""
    if name not in RECIPES:
        raise ConfigError(f"Expected a recipe of {', '.join(RECIPES)}; got {name!r}.")
    return build_recipe_from(RECIPES[name], overrides or {})
