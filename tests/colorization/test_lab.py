"""Lab against scikit-image, which shares its white point, and the chroma fit's promises."""

from __future__ import annotations

import numpy as np
import pytest
from skimage.color import rgb2lab

from colorization.colour.lab import (
    decode_lab,
    encode_lab,
    fit_chroma,
    gray_to_L,
    lab_to_rgb,
    rgb_to_L,
    rgb_to_lab,
)


def every_fifth_level() -> np.ndarray:
    levels = np.arange(0, 256, 5, dtype=np.uint8)
    return np.stack(np.meshgrid(levels, levels, levels), -1).reshape(len(levels), -1, 3)


def wild_colours() -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(3)
    L = rng.uniform(0, 100, (120, 150)).astype(np.float32)
    return L, rng.uniform(-128, 127, (2, 120, 150)).astype(np.float32)


def test_lab_is_within_six_hundredths_of_scikit_image():
    rgb = every_fifth_level()
    assert np.abs(rgb_to_lab(rgb) - rgb2lab(rgb).transpose(2, 0, 1)).max() < 0.06


def test_stored_lab_is_within_a_quarter_in_L_and_six_tenths_in_ab_of_scikit_image():
    rgb = every_fifth_level()
    L, ab = decode_lab(encode_lab(rgb_to_lab(rgb)))
    reference = rgb2lab(rgb).transpose(2, 0, 1)
    assert np.abs(L - reference[:1]).max() <= 0.25
    assert np.abs(ab - reference[1:]).max() <= 0.6


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_lightness_of_colour_is_that_of_scikit_image(dtype):
    rgb = every_fifth_level().astype(dtype) * (257 if dtype == np.uint16 else 1)
    assert np.abs(rgb_to_L(rgb) - rgb2lab(every_fifth_level())[..., 0]).max() < 2e-3


def test_eight_bit_colours_survive_the_round_trip():
    rgb = every_fifth_level()
    lab = rgb_to_lab(rgb)
    back = lab_to_rgb(lab[0], lab[1:])
    assert np.abs(back.astype(int) - rgb).max() <= 1


def test_sixteen_bit_grays_survive_the_round_trip():
    gray = np.arange(65536, dtype=np.uint16).reshape(256, 256)
    L = gray_to_L(gray)
    back = lab_to_rgb(L, np.zeros((2, *L.shape), np.float32), np.uint16)
    assert np.abs(back.astype(int) - gray[..., None]).max() <= 24  # sRGB's matrix is rounded
    assert len(np.unique(back[..., 1])) > 60000


@pytest.mark.parametrize(("dtype", "peak"), [(np.uint8, 255), (np.uint16, 65535)])
def test_gray_lightness_is_the_cie_formula_for_every_code_value(dtype, peak):
    gray = np.arange(peak + 1, dtype=dtype)[None]
    code = np.arange(peak + 1) / peak
    Y = np.where(code <= 0.04045, code / 12.92, ((code + 0.055) / 1.055) ** 2.4)
    L = np.where(Y > 0.008856, 116 * np.cbrt(Y) - 16, 116 * 7.787 * Y)
    np.testing.assert_allclose(gray_to_L(gray)[0], L, atol=2e-5)


def test_a_float_photo_is_refused():
    with pytest.raises(ValueError, match="uint8 or uint16"):
        rgb_to_lab(np.zeros((2, 2, 3), np.float32))


def test_fitted_colours_keep_each_gray_within_one_code_value():
    gray = np.tile(np.arange(256, dtype=np.uint8), (100, 1))
    ab = np.random.default_rng(1).uniform(-128, 127, (2, 100, 256)).astype(np.float32)
    L = gray_to_L(gray)
    rgb = lab_to_rgb(L, ab, fit=True)
    np.testing.assert_array_equal(rgb, lab_to_rgb(L, fit_chroma(L, ab)))
    nearest = np.abs(rgb_to_L(rgb)[..., None] - gray_to_L(gray)[0]).argmin(-1)
    assert np.abs(nearest - gray.astype(int)).max() <= 1


def test_fit_shrinks_chroma_along_the_hue_and_lands_at_the_gamut_edge():
    L, ab = wild_colours()
    fitted = fit_chroma(L, ab)
    factor = (fitted * ab).sum(0) / (ab * ab).sum(0)
    np.testing.assert_allclose(fitted, ab * factor, atol=1e-3)
    assert factor.min() >= 0 and factor.max() <= 1 + 1e-6
    shrunk = factor < 0.99
    rgb = lab_to_rgb(L, np.float32(1.02) * fitted, np.uint16)[shrunk & (factor > 0.1)]
    at_an_edge = (rgb.min(-1) < 900) | (rgb.max(-1) > 64600)
    assert at_an_edge.mean() > 0.95


def test_fit_leaves_colours_inside_the_gamut_alone():
    lab = rgb_to_lab(np.full((4, 4, 3), (90, 120, 150), np.uint8))
    np.testing.assert_array_equal(fit_chroma(lab[0], lab[1:]), lab[1:])


def test_stored_lab_is_within_half_a_step():
    L, ab = wild_colours()
    L_back, ab_back = decode_lab(encode_lab(np.concatenate([L[None], ab])))
    assert np.abs(L_back[0] - L).max() <= 50 / 255 + 1e-4
    assert np.abs(ab_back - ab).max() <= 0.5 + 1e-4
