"""The segmented merge: which expert's colours each pixel takes (paper section 3.1, figures 5–8).

The paper cuts hard along the masks, which leaves seams (ab jump over mask edges 8.5 against the
truth's 2.7). `soft` blends ab by class probability, with the weights, never ab, guided to the
edges of L: guiding ab itself lost 1.4 dB (facts/colorization.md).

Legend: N photos, K categories, H, W pixels.
"""

from __future__ import annotations

from collections.abc import Collection

import torch
import torch.nn.functional as F
from torch import Tensor

from colorization.colour.lab import L_MAX
from colorization.errors import ConfigError
from colorization.merging.options import MergeOptions

_GUIDE_EPSILON = 1e-3


def refine_weights(weight_NKHW: Tensor, L_N1HW: Tensor, options: MergeOptions) -> Tensor:
    """Weights as the merge uses them.

    weight: float32, sum 1 over K, of which the last is the rest. L: float32, 0..100. Returns the same shape, sum 1 over K.
    """
    if options.mode == "hard":
        winner = weight_NKHW.argmax(dim=1)
        return F.one_hot(winner, weight_NKHW.shape[1]).movedim(-1, 1).to(weight_NKHW.dtype)
    weight = weight_NKHW
    if options.temperature != 1:
        weight = _normalised(weight ** (1 / options.temperature))
    if options.floor:
        weight = weight.clone()
        weight[:, -1] = weight[:, -1].clamp(min=options.floor)
        weight = _normalised(weight)
    radius = round(min(L_N1HW.shape[-2:]) * options.feather)
    if radius:
        guided = guided_filter(L_N1HW / L_MAX, weight, radius, _GUIDE_EPSILON)
        weight = _normalised(guided.clamp(min=0))
    return weight


def _normalised(weight_NKHW: Tensor) -> Tensor:
    return weight_NKHW / weight_NKHW.sum(dim=1, keepdim=True).clamp(min=1e-6)


def guided_filter(guide_N1HW: Tensor, x_NKHW: Tensor, radius: int, epsilon: float) -> Tensor:
    """Smooth x inside regions of the guide, not across its edges (He, Sun, Tang 2013).

    radius: of the windows, pixels. Returns the shape of x.
    """
    guide, x = guide_N1HW, x_NKHW
    guide_mean, x_mean = box_mean(guide, radius), box_mean(x, radius)
    variance = box_mean(guide * guide, radius) - guide_mean * guide_mean
    covariance = box_mean(guide * x, radius) - guide_mean * x_mean
    slope = covariance / (variance + epsilon)
    line = box_mean(torch.cat([slope, x_mean - slope * guide_mean], dim=1), radius)
    slope, offset = line.chunk(2, dim=1)
    return slope * guide + offset


def box_mean(x_NKHW: Tensor, radius: int) -> Tensor:
    """Mean over the (2 radius + 1)² pixels around each, or those of them that the photo has.

    Rows first, then columns: 2 n sums a pixel instead of n².
    """
    side = 2 * radius + 1
    rows = F.avg_pool2d(x_NKHW, (side, 1), 1, (radius, 0), count_include_pad=False)
    return F.avg_pool2d(rows, (1, side), 1, (0, radius), count_include_pad=False)


def drop_absent(weight_NKHW: Tensor, available: Collection[int], threshold: float) -> Tensor:
    """Move weight away from categories that have no expert or matter nowhere.

    available: numbers of those that have one. A category without an expert gives its weight to the last available one (the rest, where
    there is one). One whose weight never exceeds `threshold` in a photo is not worth running; the
    others share its weight. Returns the same shape, sum 1 over K.
    """
    kept = weight_NKHW.clone()
    have = sorted(available)
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


def disagreement(ab_KN2HW: dict[int, Tensor], weight_NKHW: Tensor, merged: Tensor) -> Tensor:
    """How far the experts that a pixel mixes are from their mean, weighted as in the merge.

    Returns float32 (N, 1, H, W), Lab units: 0 where one expert has all the weight.
    """
    parts = [
        weight_NKHW[:, k : k + 1] * (ab - merged).square().sum(dim=1, keepdim=True)
        for k, ab in ab_KN2HW.items()
    ]
    return torch.stack(parts).sum(dim=0).sqrt()


def certain_share(uncertainty_N1HW: Tensor, limit: float) -> Tensor:
    """What is kept of colours: all up to 0.8 of the limit, nothing from it on, Lab units."""
    return ((limit - uncertainty_N1HW) / (0.2 * limit)).clamp(0, 1)
