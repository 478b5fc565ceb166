"""Augmentation is a function of (seed, photo hash, variant) and never leaves the photo."""

from __future__ import annotations

import numpy as np
import pytest
from skimage.color import hsv2rgb, rgb2hsv

from colorization.augmentation import (
    centre_crop,
    crop_and_flip,
    draw_augmentation,
    saturate_hsv,
    saturate_lab,
)


def draw(**changes):
    wanted = {"seed": 7, "photo_hash": "ab12", "variant": 0, "height": 90, "width": 130}
    chances = {"size": 64, "horizontal_flip": 0.5, "vertical_flip": 0.5, "saturation": 1.2}
    return draw_augmentation(**(wanted | chances | changes))


def test_the_same_seed_hash_and_variant_give_the_same_draw():
    assert draw() == draw()


@pytest.mark.parametrize("change", [{"seed": 8}, {"photo_hash": "ab13"}, {"variant": 1}])
def test_another_seed_hash_or_variant_gives_another_draw(change):
    assert draw(**change) != draw()


def test_every_crop_lies_inside_and_reaches_all_borders():
    drawn = [draw(photo_hash=str(i), height=67, width=66) for i in range(300)]
    assert {a.top for a in drawn} == {0, 1, 2, 3}
    assert {a.left for a in drawn} == {0, 1, 2}


def test_flips_follow_their_probabilities():
    drawn = [draw(photo_hash=str(i), vertical_flip=0.1) for i in range(1000)]
    assert 440 < sum(a.horizontal_flip for a in drawn) < 560
    assert 60 < sum(a.vertical_flip for a in drawn) < 140


def test_crop_and_flip_cuts_the_drawn_box():
    pixels = np.arange(90 * 130 * 3).reshape(90, 130, 3)
    a = draw(horizontal_flip=1.0, vertical_flip=1.0)
    expected = np.rot90(pixels[a.top : a.top + 64, a.left : a.left + 64], 2)
    np.testing.assert_array_equal(crop_and_flip(pixels, a), expected)


def test_centre_crop_leaves_equal_borders():
    a = centre_crop(100, 164, 64)
    assert (a.top, a.left, a.horizontal_flip, a.saturation) == (18, 50, False, 1.0)


def test_a_photo_smaller_than_the_crop_is_refused():
    with pytest.raises(ValueError, match="at least 64×64"):
        draw(height=63)


def test_saturating_scales_chroma_clips_it_and_keeps_lightness():
    lab = np.array([[[50, 20]], [[10, 100]], [[-20, -120]]], np.float32)
    expected = np.array([[[50, 20]], [[15, 127]], [[-30, -128]]], np.float32)
    np.testing.assert_array_equal(saturate_lab(lab, 1.5), expected)
    np.testing.assert_array_equal(saturate_lab(lab, 1.0), lab)


@pytest.mark.parametrize("factor", [0.0, 0.5, 1.0, 1.3, 4.0])
def test_saturating_in_hsv_is_that_of_scikit_image(factor):
    rgb = np.random.default_rng(0).integers(0, 256, (40, 50, 3), np.uint8)
    rgb[0, :5] = 0
    rgb[1, :5] = 77
    hsv = rgb2hsv(rgb)
    hsv[..., 1] = np.minimum(hsv[..., 1] * factor, 1)
    expected = hsv2rgb(hsv) * 255
    assert np.abs(saturate_hsv(rgb, factor) - expected).max() <= 0.51
