"""Gray, toned or coloured: what the chroma test says of pictures whose answer is known."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from skimage import data
from tonings import TONINGS, toned

from colorization.colour.lab import rgb_to_lab
from colorization.colour.toning import COLOUR, GRAY, TONED, tone_of, trimmed_spread


def scene() -> np.ndarray:
    """float, (128, 128), 0..1."""
    return cv2.resize(data.camera(), (128, 128), interpolation=cv2.INTER_AREA) / 255


def tinted(dark: tuple[int, int, int], light: tuple[int, int, int]) -> np.ndarray:
    """A print whose shades run from one colour to another. uint8 (128, 128, 3)."""
    return toned(scene(), dark, light)


def jpeg(rgb: np.ndarray, quality: int) -> np.ndarray:
    return cv2.imdecode(cv2.imencode(".jpg", rgb, [cv2.IMWRITE_JPEG_QUALITY, quality])[1], 1)


def test_equal_channels_are_gray():
    assert tone_of(rgb_to_lab(tinted((0, 0, 0), (255, 255, 255)))) == GRAY


@pytest.mark.parametrize("quality", [30, 60, 90])
def test_what_jpeg_leaves_of_neutral_is_gray(quality):
    assert tone_of(rgb_to_lab(jpeg(tinted((0, 0, 0), (255, 255, 255)), quality))) == GRAY


@pytest.mark.parametrize("name", TONINGS)
@pytest.mark.parametrize("quality", [0, 60])
def test_even_toning_is_toned(name, quality):
    rgb = tinted(*TONINGS[name])
    assert tone_of(rgb_to_lab(jpeg(rgb, quality) if quality else rgb)) == TONED


@pytest.mark.parametrize("name", ["astronaut", "coffee", "chelsea", "rocket"])
def test_colour_photos_are_coloured(name):
    rgb = cv2.resize(getattr(data, name)(), (128, 128), interpolation=cv2.INTER_AREA)
    assert tone_of(rgb_to_lab(rgb)) == COLOUR


def test_a_stain_and_a_coloured_frame_do_not_make_a_print_coloured():
    rgb = tinted(*TONINGS["sepia"])
    rgb[:, :8] = rgb[:, -8:] = (30, 60, 160)
    rgb[20:44, 60:90] = (150, 40, 30)
    assert tone_of(rgb_to_lab(rgb)) == TONED


def test_a_red_stamp_on_gray_stays_gray_or_toned():
    rgb = tinted((0, 0, 0), (255, 255, 255))
    rgb[100:124, 100:124] = (200, 30, 30)
    assert tone_of(rgb_to_lab(rgb)) != COLOUR


@pytest.mark.parametrize("level", [0, 128, 255])
def test_a_flat_picture_is_gray(level):
    assert tone_of(rgb_to_lab(np.full((64, 64, 3), level, np.uint8))) == GRAY


def test_a_flat_colour_is_toned_and_spreads_nothing():
    lab = rgb_to_lab(np.full((64, 64, 3), (180, 120, 60), np.uint8))
    assert tone_of(lab) == TONED
    assert trimmed_spread(lab) == pytest.approx(0, abs=1e-3)


@pytest.mark.parametrize("shape", [(1, 1), (1, 7), (2, 2)])
def test_tiny_pictures_have_a_tone(shape):
    rgb = np.full((*shape, 3), 90, np.uint8)
    assert tone_of(rgb_to_lab(rgb)) == GRAY


def test_colour_in_a_hand_coloured_quarter_is_found_where_it_is_more():
    rgb = tinted((0, 0, 0), (255, 255, 255)).astype(np.float64)
    rgb[:, :64] *= (1.0, 0.55, 0.5)
    rgb[64:, 64:] *= (0.5, 0.7, 1.0)
    assert tone_of(rgb_to_lab(rgb.astype(np.uint8))) == COLOUR
