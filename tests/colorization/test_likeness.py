"""Likeness survives what a copy does to a photo, and tells real photos apart."""

from __future__ import annotations

import numpy as np
import pytest
from skimage import data
from skimage.transform import resize

from colorization.colour.lab import rgb_to_lab
from colorization.colour.likeness import LIKENESS_BITS, colour_spread, likeness

PHOTOS = {name: getattr(data, name)() for name in ("astronaut", "coffee", "chelsea", "rocket")}


def lightness(rgb: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(rgb_to_lab(np.ascontiguousarray(rgb))[0])


def distance(a: bytes, b: bytes) -> int:
    return int(np.bitwise_count(np.frombuffer(a, np.uint8) ^ np.frombuffer(b, np.uint8)).sum())


@pytest.mark.parametrize("name", PHOTOS)
def test_a_copy_of_another_size_brightness_or_quality_is_close(name):
    photo = PHOTOS[name]
    own, _ = likeness(lightness(photo))
    small = resize(photo, (photo.shape[0] // 3, photo.shape[1] // 3), anti_aliasing=True) * 255
    noisy = photo + np.random.default_rng(0).normal(0, 6, photo.shape)
    for copy in (small, photo * 0.85, noisy):
        changed, _ = likeness(lightness(np.clip(copy, 0, 255).astype(np.uint8)))
        assert distance(own, changed) <= 10


@pytest.mark.parametrize("name", PHOTOS)
def test_the_second_hash_is_that_of_the_mirror_image(name):
    _, mirrored = likeness(lightness(PHOTOS[name]))
    flipped, _ = likeness(lightness(PHOTOS[name][:, ::-1]))
    assert mirrored == flipped


def test_different_photos_are_far_apart():
    hashes = [likeness(lightness(photo))[0] for photo in PHOTOS.values()]
    pairs = [(a, b) for i, a in enumerate(hashes) for b in hashes[:i]]
    assert min(distance(a, b) for a, b in pairs) > LIKENESS_BITS * 0.3


def test_a_photo_under_seventeen_pixels_is_refused():
    with pytest.raises(ValueError, match="17×17"):
        likeness(np.zeros((16, 40), np.float32))


def test_gray_and_toned_photos_have_no_spread_and_colour_photos_have():
    gray = np.repeat(data.camera()[..., None], 3, axis=2)
    toned = np.clip(gray * np.array([1.0, 0.92, 0.78]), 0, 255).astype(np.uint8)
    assert colour_spread(rgb_to_lab(gray)) < 0.05
    assert colour_spread(rgb_to_lab(toned)) < 0.5
    assert all(colour_spread(rgb_to_lab(photo)) > 5 for photo in PHOTOS.values())


def test_spread_is_what_a_parabola_in_lightness_leaves():
    lab = np.zeros((3, 2, 101), np.float32)
    lab[0] = np.arange(101)
    lab[1] = 0.002 * lab[0] ** 2 - 3
    assert colour_spread(lab) == pytest.approx(0, abs=1e-4)
    lab[1, 0] += 3
    lab[1, 1] -= 3
    lab[2, 0] += 4
    lab[2, 1] -= 4
    assert colour_spread(lab) == pytest.approx(5, abs=1e-4)
