"""The loss that a recipe describes, from its terms."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from colorization.colour.bins import rebalancing, soft_codes
from colorization.errors import ConfigError
from colorization.networks.contract import Colorizer, Outputs
from colorization.training.losses import (
    bin_cross_entropy,
    colourfulness_hinge,
    huber,
    l1,
    l2,
    semantic_prior,
)
from colorization.training.perceptual import PerceptualDistance
from colorization.training.recipe_fields import Objective
from colorization.training.statistics import ColourStatistics


def needs_statistics(objective: Objective) -> bool:
    """Whether the training split's colours must be counted first."""
    return (
        objective.loss == "classification"
        or objective.semantic_prior > 0
        or objective.colourfulness > 0
    )


class TrainingLoss(nn.Module):
    """A recipe's objective for one network. What it needs of the training split is kept as buffers.

    statistics: where `needs_statistics` says so. perceptual: where the objective weighs it. Raises
    ConfigError when one of them is wanting.
    """

    def __init__(
        self,
        objective: Objective,
        network: Colorizer,
        statistics: ColourStatistics | None = None,
        perceptual: PerceptualDistance | None = None,
    ) -> None:
        super().__init__()
        self.objective = objective
        self.perceptual = perceptual
        self.ab_from_bins = network.ab_from_bins
        self.target = statistics.colourfulness if statistics else 0.0
        if objective.perceptual and perceptual is None:
            raise ConfigError(
                "Expected train.perceptual_weights, a vgg16 file, with perceptual over 0; got none."
            )
        if needs_statistics(objective):
            if statistics is None:
                raise ValueError("Expected the colour statistics of the training split, got none.")
            self._keep(statistics, network)

    def _keep(self, statistics: ColourStatistics, network: Colorizer) -> None:
        if self.objective.loss == "classification":
            assert network.bins is not None, "recipes refuse it for networks without bins"
            index, share = soft_codes(network.bins)
            weight = rebalancing(statistics.bin_prior(network.bins), self.objective.rebalance)
            self._constant("code_index", torch.from_numpy(index))
            self._constant("code_share", torch.from_numpy(share))
            self._constant("bin_weight", torch.from_numpy(weight))
        if self.objective.semantic_prior:
            self._constant("prior", torch.from_numpy(statistics.negative_log_prior()))

    def _constant(self, name: str, value: Tensor) -> None:
        self.register_buffer(name, value, persistent=False)

    def forward(self, outputs: Outputs, L_norm: Tensor, truth: Tensor, labels: Tensor) -> Tensor:
        """The weighted sum. L_norm: (N, 1, H, W). truth: ab, (N, 2, H, W). labels: int64 (N,)."""
        o, ab = self.objective, outputs.ab.float()
        total = self._colour_loss(outputs, ab, truth)
        if o.semantic_prior:
            prior = semantic_prior(ab, L_norm, labels, self.get_buffer("prior"))
            total = total + o.semantic_prior * prior
        if o.scene and outputs.scene_logits is not None:
            total = total + o.scene * F.cross_entropy(outputs.scene_logits, labels)
        if o.perceptual and self.perceptual is not None:
            total = total + o.perceptual * self.perceptual(L_norm, ab, truth)
        if o.colourfulness:
            total = total + o.colourfulness * colourfulness_hinge(ab, self.target)
        return total * o.loss_scale

    def _colour_loss(self, outputs: Outputs, ab: Tensor, truth: Tensor) -> Tensor:
        o = self.objective
        if o.loss == "classification":
            assert outputs.bin_logits is not None
            codes = self.get_buffer("code_index"), self.get_buffer("code_share")
            weight = self.get_buffer("bin_weight")
            entropy = bin_cross_entropy(outputs.bin_logits, truth, codes, weight, o.temperature)
            if self.ab_from_bins:
                return entropy
            return entropy + huber(ab, truth, o.huber_beta)  # ab has a head of its own to teach
        if o.loss == "huber":
            return huber(ab, truth, o.huber_beta)
        return {"l2": l2, "l1": l1}[o.loss](ab, truth)
