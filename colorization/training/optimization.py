"""Learning rate, optimizer and the moving average of weights, as a recipe names them."""

from __future__ import annotations

import copy
import math
from typing import Any

import torch
from torch import nn

from colorization.networks.contract import Colorizer, PaletteColorizer
from colorization.training.recipe_fields import Optimization


def scheduled_rate(optimization: Optimization, step: int, num_steps: int) -> float:
    """Learning rate at `step` of `num_steps`.

    step: plateaus a factor 10 apart (paper section 2.2: 1e-2 → 1e-5 makes four). cosine: half a
    cosine from the first to the final rate.
    """
    high, low = optimization.learning_rate, optimization.final_learning_rate
    progress = min(step / max(num_steps, 1), 1.0)
    if optimization.schedule == "constant":
        return high
    if optimization.schedule == "cosine":
        return low + (high - low) * 0.5 * (1 + math.cos(math.pi * progress))
    num_plateaus = round(math.log10(high / low)) + 1
    return float(high * 10.0 ** -min(int(progress * num_plateaus), num_plateaus - 1))


def build_optimizer(network: Colorizer, optimization: Optimization) -> torch.optim.Optimizer:
    """Adam or AdamW in two groups: encoder, and the rest."""
    encoder: list[nn.Parameter] = []
    rest: list[nn.Parameter] = []
    for name, parameter in network.named_parameters():
        if parameter.requires_grad:
            (encoder if name.startswith(network.encoder_prefix) else rest).append(parameter)
    groups: list[dict[str, Any]] = [{"params": rest, "lr_factor": 1.0}]
    if encoder:
        groups.append({"params": encoder, "lr_factor": optimization.encoder_lr_factor})
    build = torch.optim.AdamW if optimization.optimizer == "adamw" else torch.optim.Adam
    return build(groups, lr=optimization.learning_rate, weight_decay=optimization.weight_decay)


def train_mode(network: Colorizer, optimization: Optimization) -> None:
    """Make a network learn, but for an encoder that the recipe freezes, and with it its palettes."""
    network.train()
    if optimization.encoder_lr_factor == 0:
        encoder = network.get_submodule(network.encoder_prefix.rstrip("."))
        encoder.eval().requires_grad_(False)
        if keeps_palettes(network, optimization):
            network.get_submodule("palettes").eval().requires_grad_(False)


def keeps_palettes(network: nn.Module, optimization: Optimization) -> bool:
    """Whether a network's palettes stay as they are: they are known, and what they are told from stays.

    Experts that are fine-tuned so still take one palette with those that they were trained with.
    """
    frozen = optimization.encoder_lr_factor == 0
    return frozen and isinstance(network, PaletteColorizer) and network.palettes.fitted


class MovingAverage:
    """An exponential moving average of a network's weights (Polyak and Juditsky 1992).

    The decay grows to its value over the first steps, so that the average does not remember the
    random start. BatchNorm's statistics are averaged alike: those of the current weights do not fit
    averaged ones (validation ΔE00 went up and down by one from epoch to epoch).
    """

    def __init__(self, network: nn.Module, decay: float) -> None:
        self.network = copy.deepcopy(network).eval().requires_grad_(False)
        self.decay = decay

    @torch.no_grad()
    def update(self, network: nn.Module, step: int) -> None:
        """Take in the weights after step number `step` (from 1)."""
        decay = min(self.decay, (1 + step) / (10 + step))
        pairs = zip(self.network.parameters(), network.parameters(), strict=True)
        for average, current in pairs:
            average.lerp_(current.detach(), 1 - decay)
        for kept, now in zip(self.network.buffers(), network.buffers(), strict=True):
            if kept.is_floating_point():
                kept.lerp_(now, 1 - decay)
            else:
                kept.copy_(now)
