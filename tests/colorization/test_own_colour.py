"""Colour that is no toning: found in gray and in toned photos, kept, and nothing else with it."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from conftest import draw_photo
from PIL import Image
from tonings import TONINGS, toned

from colorization.colour.full_size import Kept, colour_strips
from colorization.colour.lab import rgb_to_lab
from colorization.colour.own_colour import own_colour

STAMP = np.s_[60:90, 100:160]
BLUE = (30, 60, 190)


def gray_photo(seed: int = 1, width: int = 240, height: int = 180) -> np.ndarray:
    levels = np.asarray(Image.fromarray(draw_photo(seed, width, height)).convert("L"))
    return np.repeat(levels[..., None], 3, axis=2)


def tinted(dark: tuple[int, int, int], light: tuple[int, int, int]) -> np.ndarray:
    """A print whose shades run from one colour to another."""
    return toned(gray_photo()[..., 0] / 255, dark, light)


def coloured(rgb: np.ndarray, **kept: bool) -> np.ndarray:
    """ab of a photo to which networks gave a green all over."""
    found = own_colour(rgb_to_lab(rgb))
    ab = torch.full((1, 2, 16, 24), 20.0) * torch.tensor([-1.0, 1.0])[None, :, None, None]
    strips = colour_strips(rgb, ab, np.uint8, Kept(own=found, **kept))
    return rgb_to_lab(np.concatenate(list(strips)))[1:]


@pytest.mark.parametrize("seed", range(4))
def test_a_gray_photo_has_none(seed):
    assert own_colour(rgb_to_lab(gray_photo(seed))) is None


@pytest.mark.parametrize("name", TONINGS)
def test_a_toned_photo_has_none(name):
    assert own_colour(rgb_to_lab(tinted(*TONINGS[name]))) is None


def test_noise_of_a_scanner_is_none():
    noise = np.random.default_rng(0).normal(0, 9, (180, 240, 3))
    rgb = np.clip(gray_photo() + noise, 0, 255).astype(np.uint8)
    assert own_colour(rgb_to_lab(rgb)) is None


@pytest.mark.parametrize("toned", [False, True])
def test_a_stamp_keeps_its_colour_and_the_rest_gets_the_networks(toned):
    rgb = tinted(*TONINGS["sepia"]).copy() if toned else gray_photo()
    height, width = rgb.shape[:2]
    place = np.s_[height // 3 : height // 2, width // 3 : width // 2]
    rgb[place] = BLUE
    found = own_colour(rgb_to_lab(rgb))
    assert found is not None and found.share == pytest.approx(1 / 36, abs=0.012)
    ab = coloured(rgb)
    assert np.abs(ab[(slice(None), *place)] - rgb_to_lab(rgb)[1:][(slice(None), *place)]).max() < 3
    outside = np.ones((height, width), bool)
    outside[height // 3 - 8 : height // 2 + 8, width // 3 - 8 : width // 2 + 8] = False
    plain = rgb.copy()
    plain[place] = plain[0, 0]
    without = coloured(plain)
    assert np.abs(ab - without)[:, outside].max() < 0.1


def test_a_brown_page_round_a_gray_photo_stays_brown():
    photo = (gray_photo() * 0.6).astype(np.uint8)
    page = np.full((300, 400, 3), (178, 140, 96), np.uint8)
    page[60:240, 80:320] = photo
    ab = coloured(page)
    brown = rgb_to_lab(page)[1:, 0, 0]
    assert np.abs(ab[:, 20:40, 20:380] - brown[:, None, None]).max() < 3
    inside = ab[:, 80:220, 100:300]
    assert np.median(inside[0]) < -10, "the photo gets the networks' green"


def test_keeping_the_toning_keeps_the_colour_as_it_is():
    rgb = gray_photo()
    rgb[STAMP] = BLUE
    ab = coloured(rgb, toning=True)
    assert np.abs(ab[:, 62:88, 102:158] - rgb_to_lab(rgb)[1:, 62:88, 102:158]).max() < 3
