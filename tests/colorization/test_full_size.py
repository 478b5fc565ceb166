"""Colours at full size: lightness of every pixel, torch's bicubic, strips, and the networks' input."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from colorization.colour import full_size
from colorization.colour.full_size import (
    Kept,
    colour_strips,
    full_size_strips,
    pixels_to_L,
    reduced_L,
)
from colorization.colour.lab import gray_to_L, rgb_to_lab
from colorization.colour.lightness import compare_lightness, gray_codes

SIDES = st.integers(1, 60)
DTYPES = st.sampled_from([np.uint8, np.uint16])


def random_gray(height: int, width: int, dtype: type, seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    top = np.iinfo(dtype).max
    shares = rng.choice([0, 0.0005, 1], (height, width), p=[0.1, 0.2, 0.7]) * rng.random(
        (height, width)
    )
    return np.rint(shares * top).astype(dtype)


def random_ab(height: int, width: int, seed: int, spread: float = 60) -> torch.Tensor:
    return spread * torch.randn(1, 2, height, width, generator=torch.Generator().manual_seed(seed))


@settings(max_examples=25, deadline=None)
@given(SIDES, SIDES, DTYPES, st.integers(0, 9), st.sampled_from([5, 60, 200]))
def test_gray_stays_within_one_code_value(height, width, dtype, seed, spread):
    gray = random_gray(height, width, dtype, seed)
    ab = random_ab(32, 40, seed, spread)
    rgb = np.concatenate(list(colour_strips(gray, ab, dtype)))
    assert (rgb.shape, rgb.dtype) == ((height, width, 3), dtype)
    assert compare_lightness(gray, rgb, dtype=dtype).max_codes <= 1


@settings(max_examples=10, deadline=None)
@given(DTYPES, st.booleans(), st.integers(0, 9))
def test_lightness_of_toned_photos_stays_too(dtype, keep_toning, seed):
    rng = np.random.default_rng(seed)
    sepia = random_gray(30, 40, dtype, seed)[..., None] * np.array([1.0, 0.9, 0.7])
    sepia = (sepia * rng.uniform(0.5, 1)).astype(dtype)
    rgb = np.concatenate(
        list(colour_strips(sepia, random_ab(8, 8, seed), dtype, Kept(toning=keep_toning)))
    )
    assert compare_lightness(sepia, rgb, dtype=dtype).max_codes <= 1


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_every_code_value_keeps_its_lightness(dtype):
    levels = np.arange(np.iinfo(dtype).max + 1, dtype=dtype).reshape(256 // 16, -1)
    for seed in range(3):
        rgb = np.concatenate(list(colour_strips(levels, random_ab(9, 9, seed, 100), dtype)))
        assert compare_lightness(levels, rgb, dtype=dtype).max_codes <= 1


def test_toning_is_kept_or_replaced():
    sepia = np.full((20, 30, 3), (180, 150, 110), np.uint8)
    none = torch.zeros(1, 2, 8, 8)
    kept = np.concatenate(list(colour_strips(sepia, none, np.uint8, Kept(toning=True))))
    replaced = np.concatenate(list(colour_strips(sepia, none, np.uint8)))
    assert np.abs(kept.astype(int) - sepia).max() <= 1
    assert np.abs(rgb_to_lab(replaced)[1:]).max() < 0.5


@settings(max_examples=25, deadline=None)
@given(st.integers(1, 200), st.integers(1, 200), st.integers(1, 40), st.integers(1, 40))
def test_full_size_is_torchs_bicubic(height, width, small_height, small_width):
    ab = random_ab(small_height, small_width, 0)
    expected = F.interpolate(ab.double(), (height, width), mode="bicubic", align_corners=False)
    parts = list(full_size_strips(ab, (height, width)))
    assert [rows.start for rows, _ in parts] == [0, *(rows.stop for rows, _ in parts[:-1])]
    found = torch.from_numpy(np.concatenate([part for _, part in parts], axis=1))
    assert (found - expected[0]).abs().max() < 5e-3  # torch places columns in float32


def test_strips_have_no_seams(monkeypatch):
    gray, ab = random_gray(97, 64, np.uint16, 0), random_ab(12, 8, 0)
    whole = np.concatenate(list(colour_strips(gray, ab, np.uint16)))
    monkeypatch.setattr(full_size, "STRIP_PIXELS", 300)
    parts = list(colour_strips(gray, ab, np.uint16))
    assert len(parts) > 20
    np.testing.assert_array_equal(np.concatenate(parts), whole)


@pytest.mark.parametrize("shape", [(40, 60), (129, 130), (300, 200), (1000, 37), (1, 1), (7, 4000)])
def test_the_networks_see_means_of_whole_blocks(shape):
    gray = random_gray(*shape, np.uint16, 0)
    down, across = (max(1, side // 64) for side in shape)
    rows, columns = shape[0] // down, shape[1] // across
    blocks = gray_to_L(gray)[: rows * down, : columns * across]
    blocks = blocks.reshape(rows, down, columns, across)
    reduced = reduced_L(gray, None, (32, 32))
    np.testing.assert_allclose(reduced, blocks.mean(axis=(1, 3)), atol=1e-3)
    assert reduced.dtype == np.float32
    assert min(shape) < 64 or min(reduced.shape) >= 64


def test_what_is_transparent_is_white_paper_for_the_networks():
    gray = np.zeros((40, 40), np.uint8)
    alpha = np.zeros((40, 40), np.uint16)
    alpha[:20], alpha[20] = 65535, 32768
    L = reduced_L(gray, alpha, (32, 32))
    assert (L[:20].max(), L[21:].min()) == (0, 100)
    assert L[20] == pytest.approx(50, abs=0.01)


def test_lightness_is_compared_at_the_depth_asked_for():
    gray = np.full((4, 5), 1000, np.uint16)
    other = np.dstack([gray + 300] * 3).astype(np.uint16)
    assert compare_lightness(gray, other, dtype=np.uint16).max_codes == 300
    assert compare_lightness(gray, other, dtype=np.uint8).max_codes == 1
    assert compare_lightness(gray, np.dstack([gray] * 3), dtype=np.uint16).max_codes == 0


def test_a_label_is_left_out_of_the_comparison():
    gray = np.full((40, 50), 90, np.uint8)
    labelled = np.dstack([np.full((50, 50), 90, np.uint8)] * 3)
    labelled[30:, 20:] = 255
    box = (slice(30, 50), slice(20, 50))
    assert compare_lightness(gray, labelled, dtype=np.uint8).max_codes == 165
    change = compare_lightness(gray, labelled, dtype=np.uint8, ignored=box)
    assert (change.max_codes, change.mean_L) == (0, 0)


def test_gray_and_equal_channels_have_the_same_lightness():
    levels = np.arange(65536, dtype=np.uint16).reshape(256, 256)
    rgb = np.dstack([levels] * 3)
    assert np.abs(pixels_to_L(levels) - pixels_to_L(rgb)).max() < 1e-3
    np.testing.assert_array_equal(gray_codes(rgb, np.uint16), levels)
