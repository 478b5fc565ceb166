"""How starter_segmenter.py trains: from a network that sees colour, on soft targets; and its IoU."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from colorization.categories import CATEGORIES
from colorization.colour.lab import normalize_L
from colorization.compute import autocast, place, resolve_precision

IGNORE_INDEX = 255
"""VOC's mark for pixels that no class owns."""


def load_colour_weights(
    network: nn.Module, state: Mapping[str, Tensor], owner: Sequence[int]
) -> None:
    """Start from a network of the same layers that sees RGB and tells finer classes apart.

    Its first layer is summed over R, G and B, which equals feeding gray. A category starts as the
    mean of its classes. owner: the category index of each class. Raises RuntimeError for weights
    of other layers.
    """
    loaded = dict(state)
    loaded["stem.weight"] = state["stem.weight"].sum(dim=1, keepdim=True)
    classes = torch.tensor(owner)
    for key in ("logits.weight", "logits.bias"):
        parts = [state[key][classes == k].mean(dim=0) for k in range(len(CATEGORIES))]
        loaded[key] = torch.stack(parts)
    network.load_state_dict(loaded)


def train_segmenter(
    network: nn.Module,
    batches: Iterable[tuple[Tensor, Tensor]],
    *,
    num_steps: int,
    learning_rate: float = 1e-3,
    weight_decay: float = 1e-2,
    precision: str = "auto",
) -> Iterable[float]:
    """Train with cross-entropy against soft targets; yields the loss of each step.

    batches: pairs of L (N, 1, H, W), 0..100, and target weights (N, K, H, W) that sum to 1, or to
    0 where a pixel is to be ignored. The last layer learns at the whole rate, the others, which
    come pretrained, at a tenth; half a cosine to 0. precision: of the forward pass, as in recipes.
    """
    last = [p for n, p in network.named_parameters() if n.startswith("logits.")]
    rest = [p for n, p in network.named_parameters() if not n.startswith("logits.")]
    groups: list[dict[str, Any]] = [
        {"params": last},
        {"params": rest, "lr": 0.1 * learning_rate},
    ]
    optimizer = torch.optim.AdamW(groups, lr=learning_rate, weight_decay=weight_decay)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, num_steps)
    precision = resolve_precision(precision)
    place(network, "cpu").train()
    for L, target in batches:
        with autocast(precision, "cpu"):
            logits = network(normalize_L(L).contiguous(memory_format=torch.channels_last))
        loss = -(target * logits.float().log_softmax(dim=1)).sum() / target.sum().clamp(min=1)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        schedule.step()
        yield float(loss.detach())
    network.eval()


def intersection_over_union(predicted: Tensor, truth: Tensor) -> list[float]:
    """IoU of each category over all pixels whose truth is not IGNORE_INDEX.

    predicted, truth: integer category index, equal shapes. NaN where a category never occurs.
    """
    known = truth != IGNORE_INDEX
    scores = []
    for k in range(len(CATEGORIES)):
        is_predicted, is_true = (predicted == k) & known, (truth == k) & known
        union = (is_predicted | is_true).sum().item()
        scores.append((is_predicted & is_true).sum().item() / union if union else float("nan"))
    return scores
