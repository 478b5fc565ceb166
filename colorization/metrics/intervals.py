"""Bootstrap confidence intervals of means over photos (Efron and Tibshirani 1993, chapter 13).

Photos are drawn with replacement, the same draws for all columns of a table, so that systems which
were scored on the same photos are compared photo by photo. NumPy only.

Legend: N photos, C columns.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

NUM_DRAWS = 2000
CONFIDENCE = 0.95


class Interval(NamedTuple):
    """A mean and where it lies with CONFIDENCE: percentiles of the means of the draws."""

    mean: float
    low: float
    high: float


def mean_intervals(
    values_NC: NDArray[Any], *, seed: int = 0, num_draws: int = NUM_DRAWS
) -> list[Interval]:
    """The mean of every column and its interval.

    values: float (N, C), one row a photo. Raises ValueError for another shape or no photo. One photo
    gives intervals of no width; infinite values an infinite mean.
    """
    values = np.asarray(values_NC, np.float64)
    if values.ndim != 2 or not len(values):
        raise ValueError(f"Expected scores (N, C) of one photo or more, got {values.shape}.")
    rng = np.random.default_rng(seed)
    draws = np.empty((num_draws, values.shape[1]))
    for draw in draws:
        values[rng.integers(0, len(values), len(values))].mean(axis=0, out=draw)
    tail = 100 * (1 - CONFIDENCE) / 2
    # order statistics, not between them: ∞ − ∞ has no value
    low, high = np.percentile(draws, [tail, 100 - tail], axis=0, method="inverted_cdf")
    means = values.mean(axis=0)
    return [Interval(*map(float, column)) for column in zip(means, low, high, strict=True)]


def difference_intervals(
    values_NC: NDArray[Any],
    others_NC: NDArray[Any],
    *,
    seed: int = 0,
    num_draws: int = NUM_DRAWS,
) -> list[Interval]:
    """The mean difference of two systems, photo by photo, and its interval: paired.

    values, others: float (N, C), row by row of the same photo. Raises ValueError for unequal shapes.
    """
    if np.shape(values_NC) != np.shape(others_NC):
        raise ValueError(
            f"Expected scores of the same photos, got {np.shape(values_NC)} and "
            f"{np.shape(others_NC)}. Evaluate both on one list."
        )
    values, others = np.asarray(values_NC, np.float64), np.asarray(others_NC, np.float64)
    same = values == others  # ∞ on both sides is no difference
    with np.errstate(invalid="ignore"):
        difference = np.where(same, 0.0, values - others)
    return mean_intervals(difference, seed=seed, num_draws=num_draws)
