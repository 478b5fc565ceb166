"""Augmentation is a function of (seed, photo hash, variant) and never leaves the photo."""

from __future__ import annotations

import numpy as np
import pytest

from colorization.colour.lab import encode_lab
from colorization.training.augmentation import (
    centre_crop,
    crop_and_flip,
    draw_augmentation,
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


def test_saturation_in_lab_scales_a_and_b_on_the_way_to_the_stored_form_and_leaves_L():
    lab = np.stack([np.full((2, 2), v, np.float32) for v in (60.0, 20.0, -30.0)])
    stored = encode_lab(lab, 1.5)
    assert stored[:, 0, 0].tolist() == [153, 128 + 30, 128 - 45]
    assert encode_lab(lab, 9.0)[:, 0, 0].tolist() == [153, 255, 0]
    np.testing.assert_array_equal(encode_lab(lab, 1.0), encode_lab(lab))
