"""ICC profiles and gamma, against their formulas and against Pillow's LittleCMS."""

from __future__ import annotations

import io

import imagecodecs
import numpy as np
import pytest
from PIL import Image, ImageCms

from colorization.colour.lab import linear_to_srgb
from storage.photos.profiles import to_srgb

D50 = [0.3457, 0.3585, 1.0]


def gray_profile(gamma: float) -> bytes:
    return bytes(imagecodecs.cms_profile("gray", gamma=gamma, whitepoint=D50))


def ramp(dtype: type) -> np.ndarray:
    return np.arange(np.iinfo(dtype).max + 1, dtype=dtype)[None]


def by_formula(pixels: np.ndarray, gamma: float) -> np.ndarray:
    linear = (pixels / np.iinfo(pixels.dtype).max) ** gamma
    return linear_to_srgb(linear) * 65535


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("gamma", [1.0, 1.8, 2.2, 2.6])
def test_a_gray_profile_follows_its_formula(gamma, dtype):
    pixels = ramp(dtype)
    srgb = to_srgb(pixels, gray_profile(gamma), None)
    assert srgb.dtype == np.uint16
    assert np.abs(srgb - np.rint(by_formula(pixels, gamma))).max() <= 1
    assert (srgb[0, 0], srgb[0, -1]) == (0, 65535)


@pytest.mark.parametrize("gamma", [1.0, 1 / 1.8, 1 / 2.6])
@pytest.mark.parametrize("channels", [1, 3])
def test_gamma_of_a_png_is_a_power_curve(channels, gamma):
    pixels = ramp(np.uint16) if channels == 1 else np.dstack([ramp(np.uint16)] * 3)
    srgb = to_srgb(pixels, b"", gamma)
    assert srgb.shape == pixels.shape
    assert np.abs(srgb - np.rint(by_formula(pixels, 1 / gamma))).max() <= 1


@pytest.mark.parametrize("gamma", [None, 0.45455, 0.0, -1.0, 1e9, float("nan")])
def test_gamma_of_srgb_or_without_sense_changes_nothing(gamma):
    pixels = ramp(np.uint8)
    assert to_srgb(pixels, b"", gamma) is pixels


def test_a_profile_counts_before_gamma():
    pixels = ramp(np.uint8)
    srgb = to_srgb(pixels, gray_profile(1.8), 1.0)
    np.testing.assert_array_equal(srgb, to_srgb(pixels, gray_profile(1.8), None))


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_srgb_is_left_untouched(dtype):
    pixels = np.random.default_rng(0).integers(0, 256, (9, 7, 3)).astype(dtype)
    for profile in (
        bytes(imagecodecs.cms_profile("srgb")),
        ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes(),
    ):
        assert to_srgb(pixels, profile, None) is pixels


def test_adobe_rgb_is_as_pillow_converts_it():
    pixels = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
    profile = bytes(imagecodecs.cms_profile("adobergb"))
    expected = ImageCms.profileToProfile(
        Image.fromarray(pixels),
        io.BytesIO(profile),
        ImageCms.createProfile("sRGB"),
        renderingIntent=ImageCms.Intent.RELATIVE_COLORIMETRIC,
    )
    srgb = to_srgb(pixels, profile, None)
    assert srgb.dtype == np.uint16
    # Pillow's way has 8 bits, and a coarse table for the matrix
    assert np.abs(srgb / 257 - np.asarray(expected)).max() <= 2


def test_gray_of_adobe_rgb_stays_neutral():
    pixels = np.dstack([ramp(np.uint8)] * 3)
    srgb = to_srgb(pixels, bytes(imagecodecs.cms_profile("adobergb")), None)
    assert np.ptp(srgb.astype(int), axis=2).max() <= 40  # of 65,535: the profile's own rounding
    assert np.abs(srgb[..., 1] - by_formula(ramp(np.uint8), 2.2)).max() <= 65


@pytest.mark.parametrize("damage", ["cut", "zeroed", "noise", "short"])
def test_a_damaged_profile_is_ignored(damage):
    whole = gray_profile(1.8)
    noise = np.random.default_rng(0).integers(0, 256, len(whole) - 40, np.uint8).tobytes()
    damaged = {
        "cut": whole[:140],
        "zeroed": whole[:40] + bytes(len(whole) - 40),
        "noise": whole[:40] + noise,
        "short": b"ICC",
    }[damage]
    pixels = ramp(np.uint8)
    assert to_srgb(pixels, damaged, None) is pixels


def test_a_profile_for_other_channels_is_ignored():
    light = ramp(np.uint8)
    assert to_srgb(light, bytes(imagecodecs.cms_profile("srgb")), None) is light
    rgb = np.dstack([light] * 3)
    assert to_srgb(rgb, gray_profile(1.8), None) is rgb


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_cmyk_without_a_profile_is_the_complement_of_its_inks(dtype):
    top = np.iinfo(dtype).max
    inks = np.random.default_rng(0).integers(0, top + 1, (16, 16, 4)).astype(dtype)
    rgb = to_srgb(inks, b"", None)
    assert rgb.dtype == dtype
    shares = inks / top
    expected = (1 - shares[..., :3]) * (1 - shares[..., 3:]) * top
    assert np.abs(rgb - expected).max() <= 0.51
    black = np.zeros((1, top + 1, 4), dtype)
    black[..., 3] = ramp(dtype)
    np.testing.assert_array_equal(to_srgb(black, b"", None), np.dstack([top - ramp(dtype)] * 3))


def test_strips_make_no_difference():
    rows = np.random.default_rng(0).integers(0, 256, (1100, 1000, 3), np.uint8)
    profile = bytes(imagecodecs.cms_profile("adobergb"))
    whole = to_srgb(rows, profile, None)
    np.testing.assert_array_equal(whole[1050:], to_srgb(rows[1050:], profile, None))
