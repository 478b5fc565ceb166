"""What the run report measures of a photo, beside plain NumPy."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from conftest import draw_photo

from colorization.colour.full_size import Kept, colour_strips, strips
from colorization.colour.lab import rgb_to_L, rgb_to_lab
from colorization.merging.prediction import Prediction
from colorization.metrics.appearance import LightnessWatch, appearance_of
from colorization.metrics.distances import colourfulness


def prediction(uncertain: bool = True) -> Prediction:
    generator = torch.Generator().manual_seed(3)
    weight = torch.rand(1, 4, 8, 10, generator=generator)
    return Prediction(
        ab=torch.randn(1, 2, 8, 10, generator=generator) * 15,
        weight=weight / weight.sum(dim=1, keepdim=True),
        single=torch.zeros(1, 2, 8, 10),
        shares={"people": 0.4, "birds": 0.1, "animals": 0.2, "places": 0.3},
        uncertainty=torch.full((1, 1, 8, 10), 16.0) if uncertain else None,
    )


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_the_small_pictures_are_before_and_after(dtype: type) -> None:
    gray = draw_photo(1)[..., 0]
    small = (gray.astype(np.uint16) * 257).astype(dtype) if dtype is np.uint16 else gray
    found = appearance_of(small, prediction())
    np.testing.assert_array_equal(found.before, gray)
    expected = np.concatenate(list(colour_strips(small, prediction().ab, np.uint8)))
    np.testing.assert_array_equal(found.after, expected)
    assert found.colourfulness == colourfulness(found.after)
    assert found.weight.shape == (4, 8, 10) and found.shares["people"] == 0.4
    assert found.mean_uncertainty == 16.0
    assert found.uncertainty is not None and set(found.uncertainty.flat) == {64}, (
        "64 Lab units: 255"
    )


def test_uncertainty_that_was_not_asked_for_is_none() -> None:
    found = appearance_of(draw_photo(1)[..., 0], prediction(uncertain=False))
    assert found.uncertainty is None and found.mean_uncertainty is None


def test_a_toning_that_is_kept_is_on_the_small_picture() -> None:
    sepia = draw_photo(2)[..., :1] * np.array([1.0, 0.85, 0.65])
    sepia = sepia.astype(np.uint8)
    kept, replaced = (
        appearance_of(sepia, prediction(), Kept(toning=keep)).after for keep in (True, False)
    )
    assert rgb_to_lab(kept)[2].mean() > rgb_to_lab(replaced)[2].mean() + 5
    assert kept.shape == sepia.shape


@pytest.mark.parametrize(("height", "width"), [(80, 96), (700, 900)])
def test_the_largest_change_of_lightness_is_found(height: int, width: int) -> None:
    before = draw_photo(4, width, height)[..., 0]
    after = np.repeat(before[..., None], 3, axis=2)
    row = height // 2
    every = max(1, height * width // (1 << 18))
    after[row - row % every, 7] = 255 - after[row - row % every, 7]
    watch = LightnessWatch()
    passed = list(watch.passing(before, (after[rows] for rows in strips(height, width))))
    np.testing.assert_array_equal(np.concatenate(passed), after)
    before_rgb = np.repeat(before[..., None], 3, axis=2)
    most = float(np.abs(rgb_to_L(after) - rgb_to_L(before_rgb)).max())
    assert watch.most == pytest.approx(most, abs=0.03) and most > 1


def test_lightness_that_is_kept_changes_by_rounding_only() -> None:
    before = draw_photo(5)[..., 0].astype(np.uint16) * 257
    watch = LightnessWatch()
    list(watch.passing(before, colour_strips(before, prediction().ab, np.uint16)))
    assert 0 < watch.most < 0.03
