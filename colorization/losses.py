"""Losses on ab in Lab units. ab: float32 (N, 2, H, W); each returns a scalar."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from colorization.recipes import Recipe


def l2(predicted: Tensor, truth: Tensor) -> Tensor:
    """Half the squared Euclidean distance of each pixel's ab (paper section 2.1), averaged.

    The paper sums over pixels; the mean differs by the constant H·W and keeps the loss readable.
    """
    return 0.5 * (predicted - truth).pow(2).sum(dim=1).mean()


def l1(predicted: Tensor, truth: Tensor) -> Tensor:
    """Mean absolute difference of a and b (tried in paper section 2.1)."""
    return F.l1_loss(predicted, truth)


def huber(predicted: Tensor, truth: Tensor, beta: float) -> Tensor:
    """Square below `beta` Lab units, straight above (Huber 1964), averaged over a and b."""
    return F.huber_loss(predicted, truth, delta=beta)


def recipe_loss(recipe: Recipe, predicted: Tensor, truth: Tensor) -> Tensor:
    """The loss that a recipe names."""
    if recipe.loss == "huber":
        return huber(predicted, truth, recipe.huber_beta)
    return {"l2": l2, "l1": l1}[recipe.loss](predicted, truth)
