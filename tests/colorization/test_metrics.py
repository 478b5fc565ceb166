"""Metrics against scikit-image, Sharma's published pairs and hand-computed cases."""

from __future__ import annotations

import math

import cv2
import numpy as np
import pytest
from skimage import data
from skimage.color import deltaE_ciede2000, lab2rgb, rgb2lab
from skimage.metrics import peak_signal_noise_ratio

from colorization.colour.lab import lab_to_rgb
from colorization.metrics.distances import (
    ab_rmse,
    colourfulness,
    colourfulness_absolute,
    delta_e_2000,
    psnr,
)
from colorization.metrics.scores import SCORE_NAMES, mean_scores, photo_scores

SHARMA = np.fromstring(
    """
    50 2.6772 -79.7751 50 0 -82.7485 2.0425
    50 3.1571 -77.2803 50 0 -82.7485 2.8615
    50 2.8361 -74.0200 50 0 -82.7485 3.4412
    50 -1.3802 -84.2814 50 0 -82.7485 1.0000
    50 -1.1848 -84.8006 50 0 -82.7485 1.0000
    50 -0.9009 -85.5211 50 0 -82.7485 1.0000
    50 0 0 50 -1 2 2.3669
    50 -1 2 50 0 0 2.3669
    50 2.49 -0.001 50 -2.49 0.0009 7.1792
    50 2.49 -0.001 50 -2.49 0.0010 7.1792
    50 2.49 -0.001 50 -2.49 0.0011 7.2195
    50 2.49 -0.001 50 -2.49 0.0012 7.2195
    50 -0.001 2.49 50 0.0009 -2.49 4.8045
    50 -0.001 2.49 50 0.0010 -2.49 4.8045
    50 -0.001 2.49 50 0.0011 -2.49 4.7461
    50 2.5 0 50 0 -2.5 4.3065
    50 2.5 0 73 25 -18 27.1492
    50 2.5 0 61 -5 29 22.8977
    50 2.5 0 56 -27 -3 31.9030
    50 2.5 0 58 24 15 19.4535
    50 2.5 0 50 3.1736 0.5854 1.0000
    50 2.5 0 50 3.2972 0 1.0000
    50 2.5 0 50 1.8634 0.5757 1.0000
    50 2.5 0 50 3.2592 0.3350 1.0000
    60.2574 -34.0099 36.2677 60.4626 -34.1751 39.4387 1.2644
    63.0109 -31.0961 -5.8663 62.8187 -29.7946 -4.0864 1.2630
    61.2901 3.7196 -5.3901 61.4292 2.2480 -4.9620 1.8731
    35.0831 -44.1164 3.7933 35.0232 -40.0716 1.5901 1.8645
    22.7233 20.0904 -46.6940 23.0331 14.9730 -42.5619 2.0373
    36.4612 47.8580 18.3852 36.2715 50.5065 21.2231 1.4146
    90.8027 -2.0831 1.4410 91.1528 -1.6435 0.0447 1.4441
    90.9257 -0.5406 -0.9208 88.6381 -0.8985 -0.7239 1.5381
    6.7747 -0.2908 -2.4247 5.8714 -0.0985 -2.2286 0.6377
    2.0776 0.0795 -1.1350 0.9033 -0.0636 -0.5514 0.9082
    """,
    sep=" ",
).reshape(-1, 7)
"""Pairs of Lab colours and their CIEDE2000: Sharma, Wu, Dalal 2005, table 1."""


def test_delta_e_equals_scikit_image_on_random_colours_and_grays():
    rng = np.random.default_rng(0)
    lab, truth = rng.uniform([0, -128, -128], [100, 127, 127], (2, 20000, 3))
    lab[:100, 1:] = 0
    truth[50:150, 1:] = 0
    np.testing.assert_allclose(delta_e_2000(lab, truth), deltaE_ciede2000(lab, truth), atol=5e-3)


def test_delta_e_equals_sharmas_table():
    assert len(SHARMA) == 34
    one, other, expected = np.hsplit(SHARMA, [3, 6])
    np.testing.assert_allclose(deltaE_ciede2000(one, other), expected[:, 0], atol=1e-4)
    # pair 14 has opposite hues, where the formula jumps: float32 falls on the side of pair 15
    ours, on_the_jump = delta_e_2000(one, other), np.arange(34) == 13
    np.testing.assert_allclose(ours[~on_the_jump], expected[~on_the_jump, 0], atol=1e-4)
    assert ours[13] in (pytest.approx(4.8045, abs=1e-4), pytest.approx(4.7461, abs=1e-4))


def test_psnr_equals_scikit_image():
    a, b = np.random.default_rng(0).integers(0, 256, (2, 20, 30, 3), np.uint8)
    assert psnr(a, b) == pytest.approx(peak_signal_noise_ratio(b, a), rel=1e-9)
    assert psnr(a, a) == math.inf


def test_colourfulness_of_a_red_and_a_blue_pixel_by_hand():
    # R−G: 255, 0 → mean 127.5, spread 127.5. (R+G)/2−B: 127.5, −255 → −63.75, 191.25.
    rgb = np.array([[[255, 0, 0], [0, 0, 255]]], np.uint8)
    expected = math.sqrt(127.5**2 + 191.25**2) + 0.3 * math.sqrt(127.5**2 + 63.75**2)
    assert colourfulness(rgb) == pytest.approx(expected)


@pytest.mark.parametrize("name", ["astronaut", "coffee", "chelsea"])
def test_both_colourfulness_equal_published_code_on_photos(name):
    rgb = getattr(data, name)()
    for change, ours in ((np.asarray, colourfulness), (np.abs, colourfulness_absolute)):
        # as Rosebrock's "Computing image colorfulness with OpenCV" and DDColor's metric have it
        R, G, B = cv2.split(rgb.astype("float"))
        (rg_mean, rg_spread), (yb_mean, yb_spread) = (
            np.ravel(cv2.meanStdDev(change(opponent))) for opponent in (R - G, 0.5 * (R + G) - B)
        )
        expected = math.hypot(rg_spread, yb_spread) + 0.3 * math.hypot(rg_mean, yb_mean)
        assert ours(rgb) == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("name", ["astronaut", "coffee", "chelsea"])
def test_scores_of_a_faded_photo_equal_scikit_image(name):
    rgb = getattr(data, name)()
    lab = np.moveaxis(rgb2lab(rgb), -1, 0).astype(np.float32)
    L, ab = lab[:1], lab[1:]
    scores = photo_scores(L, 0.6 * ab, ab)
    faded = np.moveaxis(np.concatenate([L, 0.6 * ab]), 0, -1)
    truth = np.moveaxis(lab, 0, -1)
    assert scores["delta_e"] == pytest.approx(deltaE_ciede2000(truth, faded).mean(), abs=1e-3)
    assert scores["ab_rmse"] == pytest.approx(np.sqrt(((0.4 * ab) ** 2).mean()), rel=1e-4)
    pictures = [np.round(lab2rgb(x) * 255).astype(np.uint8) for x in (truth, faded)]
    assert scores["psnr"] == pytest.approx(peak_signal_noise_ratio(*pictures), abs=0.02)


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
