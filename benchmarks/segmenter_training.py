"""How starter_segmenter.py trains: from a network that sees colour, on soft targets; and its IoU."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

import numpy as np
import torch
import torch.nn.functional as F
from segmenter_photos import IGNORE_INDEX, Voc
from torch import Tensor, nn

from colorization.categories import CATEGORIES
from colorization.colour.lab import L_MAX, normalize_L
from colorization.compute import autocast, place, resolve_precision
from colorization.merging.deeplab import GrayDeepLab

CROP, BATCH, OF_VOC = 224, 12, 4
"""Pixels; pairs a step, and how many of them are VOC masks."""
SMALLEST_CROP, ASPECT_JITTER, LIGHTNESS_JITTER = 0.45, 0.2, 0.4
WORN_SHARE, MOST_NOISE = 0.3, 5.0
"""How many photos are blurred, and how many noisy; standard deviation of the noise at most, of L."""
WARM_UP, FROZEN = 50, 6
"""Steps; blocks, those before stride 8 has all its channels."""


def load_colour_weights(network: nn.Module, state: Mapping[str, Tensor]) -> None:
    """Start from a network of the same layers that sees RGB.

    Its first layer is summed over R, G and B, which equals feeding gray. Raises RuntimeError for
    weights of other layers.
    """
    loaded = dict(state)
    loaded["stem.weight"] = state["stem.weight"].sum(dim=1, keepdim=True)
    network.load_state_dict(loaded)


def train_segmenter(
    network: GrayDeepLab,
    batches: Iterable[tuple[Tensor, Tensor]],
    *,
    num_steps: int,
    learning_rate: float = 1e-4,
    weight_decay: float = 1e-2,
    precision: str = "auto",
) -> Iterator[float]:
    """Train a GrayDeepLab with cross-entropy against soft targets; yields the loss of each step.

    batches: pairs of L (N, 1, H, W), 0..100, and target weights (N, K, H, W) that sum to 1, or to
    0 where a pixel is to be ignored. The first FROZEN blocks stay as they are; half a cosine to 0.
    precision: of the forward pass, as in recipes.
    """
    for frozen in (network.stem, *network.blocks[:FROZEN]):
        frozen.requires_grad_(False)
    learned = [parameter for parameter in network.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(learned, lr=learning_rate, weight_decay=weight_decay)

    def rate(step: int) -> float:
        return min(1.0, (step + 1) / WARM_UP) * 0.5 * (1 + float(np.cos(np.pi * step / num_steps)))

    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, rate)
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


def batches(
    lightness: Tensor, taught: Tensor, voc: Voc, num_steps: int, seed: int
) -> Iterator[tuple[Tensor, Tensor]]:
    """Batches of VOC masks and taught photos, augmented: L (N, 1, H, W), 0..100, and targets.

    lightness: uint8 (N, S, S), 0..255. taught: uint8 (N, K, s, s), 0..255.
    """
    rng = np.random.default_rng(seed)
    masks = [(L, one_hot(label, L.shape[-2:])) for L, label in voc]
    for _ in range(num_steps):
        pairs = []
        for i in rng.integers(0, len(lightness), BATCH - OF_VOC):
            target = F.interpolate(taught[i][None] / 255, lightness.shape[-2:], mode="bilinear")[0]
            pairs.append((lightness[i][None] * (L_MAX / 255), target))
        pairs += [masks[i] for i in rng.integers(0, len(masks), OF_VOC)]
        both = torch.stack([augmented(torch.cat(pair), rng) for pair in pairs])
        yield both[:, :1], both[:, 1:]


def one_hot(label: Tensor, size: torch.Size) -> Tensor:
    """float32 (K, *size) of category indices; zeros where they are IGNORE_INDEX."""
    classes = torch.stack([label == k for k in range(len(CATEGORIES))]).float()
    return F.interpolate(classes[None], size, mode="area")[0]


def augmented(both: Tensor, rng: np.random.Generator) -> Tensor:
    """A random crop of L and targets (1 + K, H, W), resized, mirrored, L of another tone and worn."""
    side = min(both.shape[-2:]) * rng.uniform(SMALLEST_CROP, 1)
    jitter = np.exp(rng.uniform(-ASPECT_JITTER, ASPECT_JITTER) / 2)
    sides = (side * jitter, side / jitter)
    height, width = (min(round(a), b) for a, b in zip(sides, both.shape[-2:], strict=True))
    top, left = (
        rng.integers(0, b - a + 1) for a, b in zip((height, width), both.shape[-2:], strict=True)
    )
    crop = both[:, top : top + height, left : left + width]
    if rng.random() < 0.5:
        crop = crop.flip(-1)
    crop = F.interpolate(crop[None], (CROP, CROP), mode="bilinear", antialias=True)[0]
    gamma = float(np.exp(rng.uniform(-LIGHTNESS_JITTER, LIGHTNESS_JITTER)))
    L = (crop[:1] / L_MAX).clamp(0, 1) ** gamma * L_MAX
    if rng.random() < WORN_SHARE:
        small = F.avg_pool2d(L[None], int(rng.integers(2, 4)), ceil_mode=True)
        L = F.interpolate(small, (CROP, CROP), mode="bilinear")[0]
    if rng.random() < WORN_SHARE:
        noise = rng.standard_normal(L.shape, dtype=np.float32) * rng.uniform(0, MOST_NOISE)
        L = (L + torch.from_numpy(noise.astype(np.float32))).clamp(0, L_MAX)
    return torch.cat([L, crop[1:]])


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
