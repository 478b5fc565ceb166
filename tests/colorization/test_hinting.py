"""Hints hold at their points and are carried along flat lightness, not across its edges."""

from __future__ import annotations

import numpy as np
import torch

from colorization.merging.hinting import Hint, hint_channels, spread_hints
from colorization.merging.inference import MergedColorizer, single_expert_segmenter
from colorization.networks import build_network

GRAY = torch.zeros(1, 2, 48, 64)


def two_halves() -> torch.Tensor:
    """L: dark left, light right, noisy as photos are."""
    torch.manual_seed(0)
    L = torch.full((1, 1, 48, 64), 30.0) + torch.rand(1, 1, 48, 64)
    L[..., 32:] += 40
    return L


def test_a_hint_colours_its_region_and_leaves_the_other():
    hint = Hint(across=0.1, down=0.5, ab=(40.0, -20.0))
    ab = spread_hints(GRAY, two_halves(), [hint])
    row, column = hint.pixel(48, 64)
    torch.testing.assert_close(ab[0, :, row, column], torch.tensor([40.0, -20.0]), atol=0.1, rtol=0)
    assert ab[0, 0, :, :31].min() > 25
    assert ab[0, 0, :, 33:].max() < ab[0, 0, :, :31].min() / 2


def test_several_hints_each_hold_and_the_last_one_of_a_pixel():
    hints = [
        Hint(across=0.2, down=0.2, ab=(30.0, 0.0)),
        Hint(across=0.8, down=0.8, ab=(0.0, 30.0)),
        Hint(across=0.8, down=0.8, ab=(0.0, -30.0)),
        Hint(across=1.0, down=1.0, ab=(5.0, 5.0)),
    ]
    ab = spread_hints(GRAY + 3, two_halves(), hints)
    for hint in (hints[0], hints[2], hints[3]):
        found = ab[(0, slice(None), *hint.pixel(48, 64))]
        torch.testing.assert_close(found, torch.tensor(hint.ab), atol=0.2, rtol=0)
    assert spread_hints(GRAY, two_halves(), []) is GRAY


def test_networks_see_a_patch_around_each_hint():
    channels = hint_channels([Hint(across=0.5, down=0.0, ab=(7.0, -8.0))], 32, 32)
    assert channels.shape == (1, 3, 32, 32)
    assert channels[0, 2].sum() == 6  # two of three rows are in the photo
    assert channels[0, :, 1, 17].tolist() == [7, -8, 1]


def test_a_network_that_takes_hints_is_given_them():
    torch.manual_seed(0)
    network = build_network("siggraph17")
    colorizer = MergedColorizer(
        {"places": network}, single_expert_segmenter, short_side=32, precision="fp32"
    )
    seen = []
    network.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[1]))
    L = two_halves()[0, 0, :32, :32].numpy()
    hint = Hint(across=0.5, down=0.5, ab=(30.0, 30.0))
    prediction = colorizer.predict(L, [hint])
    assert seen[0][0, :, 16, 16].tolist() == [30, 30, 1]
    found = prediction.ab[(0, slice(None), *hint.pixel(32, 32))]
    assert np.abs(found.numpy() - 30).max() < 0.2
