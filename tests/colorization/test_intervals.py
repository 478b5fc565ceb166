"""Bootstrap intervals against scipy, the normal approximation and hand-computed cases."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.stats import bootstrap

from colorization.metrics.intervals import difference_intervals, mean_intervals


def test_equal_scipys_percentile_bootstrap() -> None:
    values = np.random.default_rng(0).gamma(2.0, 3.0, 80)
    [ours] = mean_intervals(values[:, None], num_draws=20000)
    theirs = bootstrap(
        (values,), np.mean, method="percentile", n_resamples=20000, rng=1
    ).confidence_interval
    assert ours.mean == pytest.approx(values.mean())
    width = theirs.high - theirs.low
    assert (ours.low, ours.high) == pytest.approx((theirs.low, theirs.high), abs=0.02 * width)


def test_agree_with_the_normal_approximation_of_many_photos() -> None:
    values = np.random.default_rng(1).normal(10, 2, (4000, 1))
    [interval] = mean_intervals(values)
    half = 1.96 * values.std() / math.sqrt(len(values))
    assert interval.high - interval.low == pytest.approx(2 * half, rel=0.08)


def test_are_the_same_for_the_same_seed_and_alike_for_equal_columns() -> None:
    column = np.random.default_rng(2).random((30, 1))
    twice = mean_intervals(np.hstack([column, column]), seed=5)
    [alone] = mean_intervals(column, seed=5)
    assert twice == [pytest.approx(alone), pytest.approx(alone)]
    assert alone == mean_intervals(column, seed=5)[0] != mean_intervals(column, seed=6)[0]


def test_two_photos_by_hand() -> None:
    # the means of two draws are 0, 1/2 and 1 with 1/4, 1/2 and 1/4
    assert mean_intervals(np.array([[0.0], [1.0]])) == [(0.5, 0.0, 1.0)]
    assert mean_intervals(np.array([[7.0]])) == [(7.0, 7.0, 7.0)]


def test_paired_differences_are_narrower_than_the_systems() -> None:
    rng = np.random.default_rng(3)
    hard = rng.normal(10, 5, (100, 1))
    better = hard - 1 + rng.normal(0, 0.1, hard.shape)
    [paired] = difference_intervals(better, hard)
    [alone] = mean_intervals(better)
    assert paired.low < -1 < paired.high < -0.9
    assert paired.high - paired.low < 0.1 * (alone.high - alone.low)


def test_infinite_scores_stay_infinite_and_differ_by_nothing() -> None:
    perfect = np.array([[math.inf], [math.inf]])
    assert mean_intervals(perfect) == [(math.inf, math.inf, math.inf)]
    assert difference_intervals(perfect, perfect) == [(0, 0, 0)]


@pytest.mark.parametrize("shape", [(0, 2), (5,)])
def test_other_shapes_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="one photo or more"):
        mean_intervals(np.zeros(shape))
    with pytest.raises(ValueError, match="same photos"):
        difference_intervals(np.zeros((3, 1)), np.zeros((4, 1)))
