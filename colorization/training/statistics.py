"""What the colours of a training split are like: how often each occurs, and for which label."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from colorization.colour.bins import bin_centres, soft_codes
from colorization.colour.lab import AB_OFFSET
from colorization.training.losses import PRIOR_RANGE, lab_colourfulness

NUM_L, NUM_AB = 8, 23
"""Cells of the semantic prior: 8 of L over 0..100, 23 of a and of b over −110..110."""
_STRIDE = 4
"""Every fourth pixel of every fourth line is counted."""


@dataclass(frozen=True, slots=True)
class ColourStatistics:
    """Counted over the photos of a training split."""

    ab_counts: NDArray[np.float64]
    """float64 (65536,): pixels of each stored (a, b), row 256·a + b."""
    label_counts: NDArray[np.float64]
    """float64 (C, NUM_L, NUM_AB, NUM_AB): pixels by label, L, a and b."""
    colourfulness: float
    """Mean of the photos', in Lab (`losses.lab_colourfulness`)."""

    def bin_prior(self, bins: str) -> NDArray[np.float64]:
        """How often each bin is the nearest. Returns float64 (Q,), sum 1."""
        index, share = soft_codes(bins)
        prior = np.zeros(len(bin_centres(bins)))
        for neighbour in range(index.shape[1]):  # soft counts: the smoothing of Zhang et al. 2016
            np.add.at(prior, index[:, neighbour], self.ab_counts * share[:, neighbour])
        normalized: NDArray[np.float64] = prior / max(prior.sum(), 1.0)
        return normalized

    def negative_log_prior(self) -> NDArray[np.float32]:
        """−log p(a, b | label, L), smoothed over neighbouring cells. Returns float32 (C, D, A, B)."""
        counts = self.label_counts
        for axis in (2, 3):
            counts = 0.5 * counts + 0.25 * (np.roll(counts, 1, axis) + np.roll(counts, -1, axis))
        pooled = counts + 0.1 * counts.sum(axis=(0, 1), keepdims=True) / counts.size + 1e-3
        p = pooled / pooled.sum(axis=(2, 3), keepdims=True)
        return np.asarray(-np.log(p), np.float32)


def colour_statistics(
    batches: Iterable[tuple[NDArray[np.uint8], NDArray[np.int64]]], num_labels: int
) -> ColourStatistics:
    """Count the colours of stored Lab.

    batches: pairs of uint8 (N, 3, H, W) and labels int64 (N,), 0..num_labels − 1.
    """
    ab_counts = np.zeros(256 * 256)
    label_counts = np.zeros((max(num_labels, 1), NUM_L, NUM_AB, NUM_AB))
    colourful: list[float] = []
    for stored, labels in batches:
        sample = stored[:, :, ::_STRIDE, ::_STRIDE].astype(np.int64)
        flat = sample[:, 1] * 256 + sample[:, 2]
        ab_counts += np.bincount(flat.reshape(-1), minlength=256 * 256)
        L = np.rint(sample[:, 0] / 255 * (NUM_L - 1)).astype(np.int64)
        a, b = (_cell(sample[:, channel]) for channel in (1, 2))
        cell = (L * NUM_AB + a) * NUM_AB + b
        for label, photo in zip(labels, cell, strict=True):
            counted = np.bincount(photo.reshape(-1), minlength=NUM_L * NUM_AB * NUM_AB)
            label_counts[label] += counted.reshape(NUM_L, NUM_AB, NUM_AB)
        ab = torch.from_numpy(sample[:, 1:]).float() - AB_OFFSET
        colourful += lab_colourfulness(ab).tolist()
    mean = float(np.mean(colourful)) if colourful else 0.0
    return ColourStatistics(ab_counts, label_counts, mean)


def _cell(stored: NDArray[np.int64]) -> NDArray[np.int64]:
    ab = np.clip(stored - AB_OFFSET, -PRIOR_RANGE, PRIOR_RANGE)
    cell: NDArray[np.int64] = np.rint((ab / PRIOR_RANGE + 1) / 2 * (NUM_AB - 1)).astype(np.int64)
    return cell
