"""The segmented merge: which expert's colours each pixel takes (paper section 3.1, figures 5–8).

The paper cuts hard along the masks, which leaves seams (ab jump over mask edges 8.5 against the
truth's 2.7). `soft` blends ab by class probability, with the weights, never ab, guided to the
edges of L: guiding ab itself lost 1.4 dB (facts/colorization.md).

Legend: N photos, K categories, H, W pixels.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from colorization.categories import CATEGORIES
from colorization.errors import ConfigError
from colorization.lab import L_MAX

MERGE_MODES = ("soft", "hard")
_GUIDE_EPSILON = 1e-3
_GUIDE_SHARE = 1 / 32
"""Radius of the guided filter as a share of the short side: 8 pixels at 256."""


def refine_weights(weight_NKHW: Tensor, L_N1HW: Tensor, mode: str) -> Tensor:
    """Weights as the merge uses them.

    weight: float32, sum 1 over K. L: float32, 0..100. hard: one-hot of the largest (the paper).
    soft: guided by L. Returns the same shape, sum 1 over K. Raises ConfigError for another mode.
    """
    if mode == "hard":
        winner = weight_NKHW.argmax(dim=1)
        return F.one_hot(winner, weight_NKHW.shape[1]).movedim(-1, 1).to(weight_NKHW.dtype)
    if mode != "soft":
        raise ConfigError(f"Expected merge of {', '.join(MERGE_MODES)}; got {mode!r}.")
    radius = max(1, round(min(L_N1HW.shape[-2:]) * _GUIDE_SHARE))
    guided = guided_filter(L_N1HW / L_MAX, weight_NKHW, radius, _GUIDE_EPSILON).clamp(min=0)
    return guided / guided.sum(dim=1, keepdim=True).clamp(min=1e-6)


def guided_filter(guide_N1HW: Tensor, x_NKHW: Tensor, radius: int, epsilon: float) -> Tensor:
    """Smooth x inside regions of the guide, not across its edges (He, Sun, Tang 2013).

    The local line from guide to x is fitted at half the size and used at the whole (He and Sun 2015).
    radius: of the windows, pixels of the whole. Returns the shape of x.
    """
    guide, x = (F.avg_pool2d(t, 2, ceil_mode=True) for t in (guide_N1HW, x_NKHW))
    radius = max(1, radius // 2)
    guide_mean, x_mean = box_mean(guide, radius), box_mean(x, radius)
    variance = box_mean(guide * guide, radius) - guide_mean * guide_mean
    covariance = box_mean(guide * x, radius) - guide_mean * x_mean
    slope = covariance / (variance + epsilon)
    line = torch.cat([slope, x_mean - slope * guide_mean], dim=1)
    line = F.interpolate(
        box_mean(line, radius), guide_N1HW.shape[-2:], mode="bilinear", align_corners=False
    )
    slope, offset = line.chunk(2, dim=1)
    return slope * guide_N1HW + offset


def box_mean(x_NKHW: Tensor, radius: int) -> Tensor:
    """Mean over the (2 radius + 1)² pixels around each, or those of them that the photo has.

    Rows first, then columns: 2 n sums a pixel instead of n².
    """
    side = 2 * radius + 1
    rows = F.avg_pool2d(x_NKHW, (side, 1), 1, (radius, 0), count_include_pad=False)
    return F.avg_pool2d(rows, (1, side), 1, (0, radius), count_include_pad=False)


def drop_absent(weight_NKHW: Tensor, available: set[str], threshold: float) -> Tensor:
    """Move weight away from categories that have no expert or matter nowhere.

    A category without an expert gives its weight to the last available one (places, where there
    is one). One whose weight never exceeds `threshold` in a photo is not worth running; the
    others share its weight. Returns the same shape, sum 1 over K.
    """
    kept = weight_NKHW.clone()
    have = [k for k, category in enumerate(CATEGORIES) if category.name in available]
    if not have:
        raise ConfigError("Expected at least one expert to merge, got none. Train a category.")
    for k in set(range(weight_NKHW.shape[1])) - set(have):
        kept[:, have[-1]] += kept[:, k]
        kept[:, k] = 0
    strongest = kept.amax(dim=(2, 3), keepdim=True)
    matters = (strongest > threshold) | (strongest == strongest.amax(dim=1, keepdim=True))
    kept = kept * matters
    total = kept.sum(dim=1, keepdim=True)
    winner = strongest == strongest.amax(dim=1, keepdim=True)
    return torch.where(total > 1e-6, kept / total.clamp(min=1e-6), winner.to(kept.dtype))


def merge(ab_KN2HW: dict[int, Tensor], weight_NKHW: Tensor) -> Tensor:
    """Weighted sum of the experts' ab.

    ab: category index → float32 (N, 2, H, W), Lab units; a missing one must have weight 0.
    Returns float32 (N, 2, H, W).
    """
    parts = [weight_NKHW[:, k : k + 1] * ab for k, ab in ab_KN2HW.items()]
    return torch.stack(parts).sum(dim=0)
