"""Metrics against scikit-image, Sharma's published pairs and hand-computed cases."""

from __future__ import annotations

import math

import numpy as np
import pytest
from skimage.color import deltaE_ciede2000
from skimage.metrics import peak_signal_noise_ratio

from colorization.lab import lab_to_rgb
from colorization.metrics import (
    ab_rmse,
    colourfulness,
    colourfulness_absolute,
    delta_e_2000,
    psnr,
)
from colorization.scores import SCORE_NAMES, mean_scores, photo_scores


def test_delta_e_equals_scikit_image_on_random_colours_and_grays():
    rng = np.random.default_rng(0)
    lab, truth = rng.uniform([0, -128, -128], [100, 127, 127], (2, 20000, 3))
    lab[:100, 1:] = 0
    truth[50:150, 1:] = 0
    np.testing.assert_allclose(delta_e_2000(lab, truth), deltaE_ciede2000(lab, truth), atol=5e-3)


@pytest.mark.parametrize(
    ("one", "other", "expected"),
    [
        ((50, 2.6772, -79.7751), (50, 0, -82.7485), 2.0425),
        ((50, 2.49, -0.001), (50, -2.49, 0.0009), 7.1792),
        ((50, 2.5, 0), (73, 25, -18), 27.1492),
        ((2.0776, 0.0795, -1.135), (0.9033, -0.0636, -0.5514), 0.9082),
    ],
)
def test_delta_e_equals_sharmas_table(one, other, expected):
    assert delta_e_2000(np.array(one), np.array(other)) == pytest.approx(expected, abs=1e-4)


def test_psnr_equals_scikit_image():
    a, b = np.random.default_rng(0).integers(0, 256, (2, 20, 30, 3), np.uint8)
    assert psnr(a, b) == pytest.approx(peak_signal_noise_ratio(b, a), rel=1e-9)
    assert psnr(a, a) == math.inf


def test_colourfulness_of_a_red_and_a_blue_pixel_by_hand():
    # R−G: 255, 0 → mean 127.5, spread 127.5. (R+G)/2−B: 127.5, −255 → −63.75, 191.25.
    rgb = np.array([[[255, 0, 0], [0, 0, 255]]], np.uint8)
    expected = math.sqrt(127.5**2 + 191.25**2) + 0.3 * math.sqrt(127.5**2 + 63.75**2)
    assert colourfulness(rgb) == pytest.approx(expected)


def test_a_gray_photo_has_no_colourfulness():
    assert colourfulness(np.full((3, 3, 3), 77, np.uint8)) == 0


def test_ab_rmse_by_hand():
    assert ab_rmse(np.array([3.0, 0.0]), np.array([0.0, 4.0])) == pytest.approx(math.sqrt(12.5))


def test_scores_of_the_true_colours_are_perfect():
    L, ab = np.full((1, 4, 5), 60, np.float32), np.full((2, 4, 5), 12, np.float32)
    scores = photo_scores(L, ab, ab)
    assert (scores["delta_e"], scores["ab_rmse"], scores["psnr"]) == (0, 0, math.inf)
    assert scores["colourfulness"] > 5


def test_scores_of_gray_against_colour_are_those_of_the_metrics():
    L, truth = np.full((1, 4, 5), 60, np.float32), np.full((2, 4, 5), 12, np.float32)
    scores = photo_scores(L, 0 * truth, truth)
    assert scores["ab_rmse"] == pytest.approx(12)
    assert scores["delta_e"] == pytest.approx(deltaE_ciede2000((60, 0, 0), (60, 12, 12)), abs=1e-3)
    gray, colour = (lab_to_rgb(L[0], np.full((2, 4, 5), c, np.float32)) for c in (0, 12))
    assert scores["psnr"] == pytest.approx(peak_signal_noise_ratio(colour, gray))


def test_means_of_scores_count_photos_and_are_absent_without_any():
    one = {name: float(2 + i) for i, name in enumerate(SCORE_NAMES)}
    means = mean_scores([one, {name: 3 * value for name, value in one.items()}])
    assert means == {"num_photos": 2} | {name: 2 * value for name, value in one.items()}
    assert mean_scores([]) == {"num_photos": 0}


def test_the_two_definitions_of_colourfulness_differ_where_opponents_change_sign():
    rgb = np.zeros((4, 4, 3), np.uint8)
    rgb[:2, :, 0] = rgb[2:, :, 1] = 200  # red above, green below: R − G is ±200
    assert colourfulness(rgb) == pytest.approx(200 + 0.3 * 100)
    assert colourfulness_absolute(rgb) == pytest.approx(0.3 * math.hypot(200, 100))
    assert colourfulness_absolute(np.full((4, 4, 3), 90, np.uint8)) == 0
