"""The training loop: batches of stored Lab in, a trained colorizer out.

It knows arrays only. Which shard a batch comes from, where checkpoints go and who watches is the
caller's business, so the same loop runs in a Dask worker, in a test and in a benchmark.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from colorization.compute import autocast, place, resolve_precision
from colorization.errors import DivergedError
from colorization.networks.contract import Colorizer, PaletteColorizer
from colorization.networks.patchgan import PatchGAN
from colorization.training.feeding import PhotoBatch, augment, num_steps, prefetch, to_tensors
from colorization.training.hints import draw_hints
from colorization.training.losses import discriminator_loss, generator_loss
from colorization.training.objective import TrainingLoss
from colorization.training.optimization import (
    MovingAverage,
    build_optimizer,
    scheduled_rate,
    train_mode,
)
from colorization.training.perceptual import PerceptualDistance
from colorization.training.prediction import predict_ab
from colorization.training.recipe_fields import Recipe
from colorization.training.scene_objective import scene_losses
from colorization.training.statistics import ColourStatistics

_DISCRIMINATOR_RATE = 2e-4
_DISCRIMINATOR_BETAS = (0.5, 0.999)
"""Isola et al. 2017, section 3.3."""


@dataclass(slots=True)
class Position:
    """How far training is. Steps and photos are of the current epoch, but for `step`."""

    step: int = 0
    """Steps done in all."""
    epoch: int = 0
    """The epoch that is under way, from 0."""
    epoch_step: int = 0
    """Its steps that are done."""
    loss_sum: float = 0.0
    """Loss times photos over them."""
    num_photos: int = 0
    rate_factor: float = 1.0
    """On the scheduled learning rate; lowered after a divergence."""


@dataclass(frozen=True, slots=True)
class EpochResult:
    """What one epoch of training gave."""

    loss: float
    """Mean loss over the epoch's photos."""
    num_photos: int
    wait_share: float
    """Of the time since the epoch began, or was resumed, what was spent waiting for data, 0..1."""


class Trainer:
    """One network under one recipe.

    num_photos: in the training split. seed: of crops, flips and hints, which depend on it, the epoch
    and the step alone. statistics, perceptual: where the recipe's objective needs them. `state_dict`
    taken between two steps and `load_state_dict` resume exactly.
    """

    def __init__(
        self,
        network: Colorizer,
        recipe: Recipe,
        *,
        num_photos: int,
        seed: int = 0,
        device: str = "cpu",
        statistics: ColourStatistics | None = None,
        perceptual: PerceptualDistance | None = None,
    ) -> None:
        self.network = place(network, device)
        self.recipe, self.seed, self.device = recipe, seed, device
        self.precision = resolve_precision(recipe.precision, device)
        self.num_steps = num_steps(num_photos, recipe.batch) * recipe.epochs
        self.position = Position()
        self.loss = TrainingLoss(recipe.objective, network, statistics, perceptual).to(device)
        train_mode(self.network, recipe.optimization)
        self.optimizer = build_optimizer(self.network, recipe.optimization)
        ema = recipe.optimization.ema
        self.average = MovingAverage(self.network, ema) if ema else None
        self.discriminator: nn.Module | None = None
        if recipe.objective.adversarial:
            self.discriminator = place(PatchGAN(), device)
            self._discriminator_optimizer = torch.optim.Adam(
                self.discriminator.parameters(), lr=_DISCRIMINATOR_RATE, betas=_DISCRIMINATOR_BETAS
            )
        self._scaler = torch.amp.GradScaler(device.split(":")[0], enabled=self.precision == "fp16")
        outputs = self.network.outputs
        self._outputs = torch.compile(outputs) if recipe.compile else outputs

    @property
    def published(self) -> nn.Module:
        """The network to validate and publish: the moving average, where there is one."""
        return self.average.network if self.average else self.network

    def train_epoch(
        self,
        batches: Iterable[PhotoBatch],
        on_step: Callable[[float], None] = lambda loss: None,
    ) -> EpochResult:
        """Train on the batches that are left of the current epoch, then move on to the next.

        batches: from step `position.epoch_step` on. on_step: called after each step with its loss;
        the state may be saved in it. Raises DivergedError when the loss is not finite; the network
        is then of no use, and the caller goes back to an earlier state.
        """
        if self.position.epoch_step == 0 and self.recipe.optimization.fresh_each_epoch:
            self.optimizer = build_optimizer(self.network, self.recipe.optimization)
        train_mode(self.network, self.recipe.optimization)
        waited, started = 0.0, time.perf_counter()
        prepared = self.fed(batches)
        while True:
            asked = time.perf_counter()
            batch, rng = next(prepared, (None, None))
            waited += time.perf_counter() - asked
            if batch is None or rng is None:
                break
            on_step(self._train_step(batch, rng))
        self.network.eval()
        return self._close_epoch(waited / max(time.perf_counter() - started, 1e-9))

    def fed(
        self, batches: Iterable[PhotoBatch]
    ) -> Iterator[tuple[PhotoBatch, np.random.Generator]]:
        """The batches of the current epoch, ready for `_train_step`, each with its generator.

        For a GPU a thread makes them ready. On a CPU it would only take a core from the network, and
        every other core waits for the slowest: reading in between costs 1% and the thread cost 5%.
        """
        prepared = self._prepared(batches)
        return prepared if self.device == "cpu" else prefetch(prepared)

    def _prepared(
        self, batches: Iterable[PhotoBatch]
    ) -> Iterator[tuple[PhotoBatch, np.random.Generator]]:
        """Batches cropped and mirrored, each with the generator of its step."""
        epoch, first = self.position.epoch, self.position.epoch_step
        for step, batch in enumerate(batches, start=first):
            rng = np.random.default_rng([self.seed, epoch, step])
            yield augment(batch, self.recipe, rng), rng

    def _train_step(self, batch: PhotoBatch, rng: np.random.Generator) -> float:
        optimization, position = self.recipe.optimization, self.position
        rate = scheduled_rate(optimization, position.step, self.num_steps) * position.rate_factor
        for group in self.optimizer.param_groups:
            group["lr"] = rate * group["lr_factor"]
        L_norm, ab = to_tensors(batch.stored.to(self.device, non_blocking=True))
        if isinstance(self.network, PaletteColorizer):
            total = self._both_ways(self.network, L_norm, ab, batch.heads, rng)
        else:
            total = self._one_way(L_norm, ab, batch.labels, rng)
        loss = float(total.detach())
        if not math.isfinite(loss):
            raise DivergedError(
                f"Expected a finite loss, got {loss} at step {position.step + 1}. Lower "
                f"learning_rate (now {optimization.learning_rate}) and train again."
            )
        self._move(total)
        position.step += 1
        position.epoch_step += 1
        position.loss_sum += loss * len(batch)
        position.num_photos += len(batch)
        if self.average:
            self.average.update(self.network, position.step)
        return loss

    def _one_way(
        self, L_norm: Tensor, ab: Tensor, labels: Tensor, rng: np.random.Generator
    ) -> Tensor:
        """The recipe's loss of a network that gives a photo one colouring."""
        hints = draw_hints(ab, self.recipe.hints, rng) if self.recipe.hints else None
        with autocast(self.precision, self.device):
            outputs = self._outputs(L_norm, hints)
        total: Tensor = self.loss(outputs, L_norm, ab, labels.to(self.device, non_blocking=True))
        if self.discriminator is not None:
            total = total + self._adversarial(L_norm, outputs.ab.float(), ab)
        return total

    def _both_ways(
        self,
        network: PaletteColorizer,
        L_norm: Tensor,
        ab: Tensor,
        heads: Tensor | None,
        rng: np.random.Generator,
    ) -> Tensor:
        """The loss with and without the palette, of a network that follows one."""
        objective = self.recipe.objective
        if heads is None:
            heads = torch.zeros(len(ab), dtype=torch.long)
        generator = torch.Generator().manual_seed(int(rng.integers(2**62)))
        with autocast(self.precision, self.device):
            losses = scene_losses(network, L_norm, ab, heads.to(self.device), objective, generator)
        return losses.total * objective.loss_scale

    def _move(self, loss: Tensor) -> None:
        """One step of the optimizer against the gradient of the loss."""
        self.optimizer.zero_grad(set_to_none=True)
        self._scaler.scale(loss).backward()
        if self.recipe.optimization.clip_norm:
            self._scaler.unscale_(self.optimizer)
            nn.utils.clip_grad_norm_(self.network.parameters(), self.recipe.optimization.clip_norm)
        self._scaler.step(self.optimizer)
        self._scaler.update()

    def _adversarial(self, L_norm: Tensor, predicted: Tensor, truth: Tensor) -> Tensor:
        """Teach the discriminator with this batch; return what it then says of the colours."""
        assert self.discriminator is not None
        real = self.discriminator(L_norm, truth)
        lesson = discriminator_loss(real, self.discriminator(L_norm, predicted.detach()))
        self._discriminator_optimizer.zero_grad(set_to_none=True)
        lesson.backward()
        self._discriminator_optimizer.step()
        verdict = generator_loss(self.discriminator(L_norm, predicted))
        return self.recipe.objective.adversarial * verdict

    def _close_epoch(self, wait_share: float) -> EpochResult:
        p = self.position
        result = EpochResult(p.loss_sum / max(p.num_photos, 1), p.num_photos, wait_share)
        p.epoch, p.epoch_step, p.loss_sum, p.num_photos = p.epoch + 1, 0, 0.0, 0
        return result

    def predict(
        self, stored: NDArray[np.uint8], heads: NDArray[np.int64] | None = None
    ) -> NDArray[np.float32]:
        """ab of stored Lab's L. stored, heads: see `predict_ab`. Returns float32 (N, 2, H, W)."""
        return predict_ab(self.published, stored, self.precision, self.device, heads)

    def resume_precision(self, precision: str) -> None:
        """Go on in the precision of a saved state. Raises ConfigError for fp16 off a GPU."""
        self.precision = resolve_precision(precision, self.device)

    def is_finite(self) -> bool:
        """Whether no weight is NaN or infinite; a state of which one is must not be kept."""
        with torch.no_grad():
            return all(bool(p.isfinite().all()) for p in self.network.parameters())

    def state_dict(self) -> dict[str, Any]:
        """Everything that an exact resume needs, as tensors and plain values."""
        state: dict[str, Any] = {
            "network": self.network.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "position": asdict(self.position),
            "scaler": self._scaler.state_dict(),
            "rng": torch.get_rng_state(),
        }
        if self.average:
            state["average"] = self.average.network.state_dict()
        if self.discriminator is not None:
            state["discriminator"] = self.discriminator.state_dict()
            state["discriminator_optimizer"] = self._discriminator_optimizer.state_dict()
        return state

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take over what `state_dict` gave."""
        self.network.load_state_dict(state["network"])
        self.optimizer = build_optimizer(self.network, self.recipe.optimization)
        self.optimizer.load_state_dict(state["optimizer"])
        self.position = Position(**state["position"])
        self._scaler.load_state_dict(state["scaler"])
        torch.set_rng_state(state["rng"].cpu())
        if self.average:
            self.average.network.load_state_dict(state["average"])
        if self.discriminator is not None:
            self.discriminator.load_state_dict(state["discriminator"])
            self._discriminator_optimizer.load_state_dict(state["discriminator_optimizer"])
        self.network.eval()  # as after an epoch; what is predicted must not move BatchNorm's means
