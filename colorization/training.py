"""The training loop: batches of stored Lab in, a trained colorizer out.

It knows arrays only. Which shard a batch comes from, where checkpoints go and who watches is the
caller's business, so the same loop runs in a Dask worker, in a test and in a benchmark.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from colorization.compute import autocast, place, resolve_precision
from colorization.errors import DivergedError
from colorization.lab import AB_OFFSET, L_CENTRE, L_MAX, L_SPREAD
from colorization.losses import recipe_loss
from colorization.recipes import Recipe

Batch = NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class EpochResult:
    """What one epoch of training gave."""

    loss: float
    """Mean loss over the epoch's photos."""
    num_photos: int


def scheduled_rate(recipe: Recipe, step: int, num_steps: int) -> float:
    """Learning rate at `step` of `num_steps`.

    step: plateaus a factor 10 apart (paper section 2.2: 1e-2 → 1e-5 makes four). cosine: half a
    cosine from the first to the final rate.
    """
    high, low = recipe.learning_rate, recipe.final_learning_rate
    progress = min(step / max(num_steps, 1), 1.0)
    if recipe.schedule == "constant":
        return high
    if recipe.schedule == "cosine":
        return low + (high - low) * 0.5 * (1 + math.cos(math.pi * progress))
    num_plateaus = round(math.log10(high / low)) + 1
    return float(high * 10.0 ** -min(int(progress * num_plateaus), num_plateaus - 1))


def to_tensors(stored: Batch, device: str = "cpu") -> tuple[Tensor, Tensor]:
    """Stored Lab to network tensors.

    stored: uint8 (N, 3, H, W). Returns L_norm float32 (N, 1, H, W) and ab float32 (N, 2, H, W).
    """
    lab = torch.from_numpy(stored).to(device, non_blocking=True).float()
    L_norm = (lab[:, :1] * (L_MAX / 255) - L_CENTRE) / L_SPREAD
    return L_norm, lab[:, 1:] - AB_OFFSET


class Trainer:
    """One network under one recipe. `state_dict` and `load_state_dict` resume at an epoch's end."""

    def __init__(
        self, network: nn.Module, recipe: Recipe, *, steps_per_epoch: int, device: str = "cpu"
    ) -> None:
        self.network = place(network, device)
        self.recipe, self.device = recipe, device
        self.precision = resolve_precision(recipe.precision, device)
        self.num_steps = steps_per_epoch * recipe.epochs
        self.step = 0
        self.optimizer = _build_optimizer(self.network, recipe)

    def train_epoch(
        self,
        batches: Iterable[Batch],
        rng: np.random.Generator,
        on_step: Callable[[int, float], None] = lambda step, loss: None,
    ) -> EpochResult:
        """Train on the batches of one epoch.

        batches: uint8 (N, 3, S, S) stored Lab. rng: draws crops and flips; seed it by (seed,
        epoch) and a resumed epoch sees the same. Raises DivergedError when the loss is not finite.
        """
        self.network.train()
        total, num_photos = 0.0, 0
        for stored in batches:
            loss = self._train_step(_crop_and_flip(stored, self.recipe, rng))
            if not math.isfinite(loss):
                raise DivergedError(
                    f"Expected a finite loss, got {loss} at step {self.step}. Lower learning_rate "
                    f"(now {self.recipe.learning_rate}) and train again."
                )
            total, num_photos = total + loss * len(stored), num_photos + len(stored)
            on_step(self.step, loss)
        self.network.eval()
        return EpochResult(loss=total / max(num_photos, 1), num_photos=num_photos)

    def _train_step(self, stored: Batch) -> float:
        rate = scheduled_rate(self.recipe, self.step, self.num_steps)
        for group in self.optimizer.param_groups:
            group["lr"] = rate * group["lr_factor"]
        L_norm, ab = to_tensors(stored, self.device)
        L_norm = L_norm.contiguous(memory_format=torch.channels_last)
        with autocast(self.precision, self.device):
            predicted = self.network(L_norm)
        loss = recipe_loss(self.recipe, predicted.float(), ab)
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        self.optimizer.step()
        self.step += 1
        return float(loss.detach())

    def predict(self, stored: Batch) -> NDArray[np.float32]:
        """ab of stored Lab's L. stored: uint8 (N, 3, H, W). Returns float32 (N, 2, H, W)."""
        return predict_ab(self.network, stored, self.precision, self.device)

    def state_dict(self) -> dict[str, Any]:
        """Everything that an exact resume needs, as tensors and plain values."""
        return {
            "network": self.network.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "step": self.step,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take over what `state_dict` gave."""
        self.network.load_state_dict(state["network"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.step = int(state["step"])


def predict_ab(
    network: nn.Module, stored: Batch, precision: str, device: str = "cpu"
) -> NDArray[np.float32]:
    """ab that a colorizer gives for stored Lab. stored: uint8 (N, 3, H, W). Returns (N, 2, H, W)."""
    L_norm, _ = to_tensors(stored, device)
    with torch.inference_mode(), autocast(precision, device):
        ab: Tensor = network(L_norm.contiguous(memory_format=torch.channels_last))
    return ab.float().cpu().numpy()


def _build_optimizer(network: nn.Module, recipe: Recipe) -> torch.optim.Optimizer:
    encoder: list[nn.Parameter] = []
    rest: list[nn.Parameter] = []
    for name, parameter in network.named_parameters():
        (encoder if name.startswith("encoder.") else rest).append(parameter)
    groups = [
        {"params": rest, "lr_factor": 1.0},
        {"params": encoder, "lr_factor": recipe.encoder_lr_factor},
    ]
    build = torch.optim.AdamW if recipe.optimizer == "adamw" else torch.optim.Adam
    return build(groups, lr=recipe.learning_rate, weight_decay=recipe.weight_decay)


def _crop_and_flip(stored: Batch, recipe: Recipe, rng: np.random.Generator) -> Batch:
    """The recipe's random crop and mirror of each photo. stored: uint8 (N, 3, S, S)."""
    side = stored.shape[-1]
    size = min(recipe.crop or side, side)
    out = np.empty((len(stored), 3, size, size), np.uint8)
    for i, photo in enumerate(stored):
        top, left = rng.integers(0, side - size + 1, 2)
        crop = photo[:, top : top + size, left : left + size]
        out[i] = crop[:, :, ::-1] if rng.random() < recipe.horizontal_flip else crop
    return out
