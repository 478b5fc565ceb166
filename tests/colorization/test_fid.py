"""The Fréchet distance against closed forms for Gaussians, and against scipy's matrix square root."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.linalg import sqrtm

from colorization.metrics.fid import frechet_distance


def sample(mean, root, num_photos=50, seed=0):
    """Features (N, D) whose mean is `mean` and whose covariance is `root` `root`ᵀ, both exactly."""
    noise = np.random.default_rng(seed).standard_normal((num_photos, len(mean)))
    orthonormal, _ = np.linalg.qr(noise - noise.mean(axis=0))
    return orthonormal * math.sqrt(num_photos - 1) @ np.transpose(root) + np.asarray(mean)


def test_one_feature_by_hand():
    # N(0, 2²) against N(3, 5²): (0 − 3)² + (2 − 5)²
    one, other = sample([0.0], [[2.0]]), sample([3.0], [[5.0]], seed=1)
    assert frechet_distance(one, other) == pytest.approx(18)


def test_independent_features_add_up():
    spread, spread_truth = np.array([1.0, 0.5, 4.0]), np.array([2.0, 0.5, 1.0])
    one = sample([1.0, 0.0, -2.0], np.diag(spread))
    other = sample([0.0, 0.0, 2.0], np.diag(spread_truth), num_photos=80, seed=1)
    expected = 1 + 0 + 16 + np.sum((spread - spread_truth) ** 2)
    assert frechet_distance(one, other) == pytest.approx(expected)


def test_two_features_whose_covariances_do_not_commute():
    root, root_truth = np.array([[2.0, 0.0], [1.5, 1.0]]), np.array([[1.0, 0.7], [0.0, 3.0]])
    cov, cov_truth = root @ root.T, root_truth @ root_truth.T
    assert not np.allclose(cov @ cov_truth, cov_truth @ cov)
    # of a 2 × 2 matrix A with eigenvalues over 0: tr A^½ = (tr A + 2 det(A)^½)^½
    product = cov @ cov_truth
    shared = math.sqrt(np.trace(product) + 2 * math.sqrt(np.linalg.det(product)))
    expected = 25 + np.trace(cov) + np.trace(cov_truth) - 2 * shared
    distance = frechet_distance(sample([3.0, 4.0], root), sample([0.0, 0.0], root_truth, seed=1))
    assert distance == pytest.approx(expected)


def test_equals_the_matrix_square_root_of_scipy():
    rng = np.random.default_rng(3)
    one = rng.standard_normal((400, 24)) @ rng.standard_normal((24, 24)) + rng.standard_normal(24)
    other = rng.standard_normal((300, 24)) @ rng.standard_normal((24, 24))
    cov, cov_truth = np.cov(one, rowvar=False), np.cov(other, rowvar=False)
    expected = np.sum((one.mean(0) - other.mean(0)) ** 2)
    expected += np.trace(cov + cov_truth - 2 * sqrtm(cov @ cov_truth).real)
    assert frechet_distance(one, other) == pytest.approx(expected, rel=1e-9)


def test_fewer_photos_than_features_equal_the_same_features_without_the_empty_directions():
    rng = np.random.default_rng(4)
    one, other = rng.standard_normal((2, 60, 5)) * [[[1.0]], [[2.0]]]
    turn, _ = np.linalg.qr(rng.standard_normal((300, 300)))
    wide, wide_other = one @ turn[:5], other @ turn[:5]
    assert frechet_distance(wide, wide_other) == pytest.approx(frechet_distance(one, other))


def test_is_symmetric_and_zero_for_equal_sets():
    rng = np.random.default_rng(5)
    one, other = rng.random((2, 12, 40), np.float32)
    assert frechet_distance(one, other) == pytest.approx(frechet_distance(other, one))
    assert frechet_distance(one, one[::-1]) == pytest.approx(0, abs=1e-9)


@pytest.mark.parametrize(
    ("shape", "shape_truth"), [((4, 3), (4, 2)), ((4,), (4, 3)), ((1, 3), (4, 3))]
)
def test_features_of_other_shapes_are_refused(shape, shape_truth):
    with pytest.raises(ValueError, match="Expected"):
        frechet_distance(np.zeros(shape), np.zeros(shape_truth))
