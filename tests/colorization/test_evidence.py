"""Where nothing is to be seen no colour is invented, and photographs lose nothing."""

from __future__ import annotations

import numpy as np
import pytest
from conftest import draw_photo
from PIL import Image

from colorization.colour.evidence import evidence
from colorization.colour.lab import gray_to_L

RNG = np.random.default_rng(5)


def frame(kind: str, height: int, width: int) -> np.ndarray:
    """L of a picture that shows nothing."""
    y, x = np.mgrid[-1 : 1 : height * 1j, -1 : 1 : width * 1j]
    grain = RNG.normal(0, 1, (height, width))
    found = {
        "card": 52 + 0 * x,
        "paper": 93 - 3 * x + 0.5 * grain,
        "vignette": 70 - 15 * (x * x + y * y) + grain,
        "fog": 75 + 8 * y + 4 * grain,
        "black": np.abs(2 + 3 * grain),
        "noise": 50 + 12 * grain,
    }[kind]
    return np.clip(found, 0, 100).astype(np.float32)


@pytest.mark.parametrize("size", [(64, 80), (256, 384), (300, 256), (512, 700)])
@pytest.mark.parametrize("kind", ["card", "paper", "vignette", "fog", "black", "noise"])
def test_a_frame_without_structure_has_none(kind, size):
    assert not evidence(frame(kind, *size)).any()


@pytest.mark.parametrize("size", [(80, 96), (256, 384), (600, 512)])
@pytest.mark.parametrize("seed", range(4))
def test_a_picture_has_enough_everywhere(seed, size):
    gray = np.asarray(Image.fromarray(draw_photo(seed, size[1], size[0])).convert("L"))
    assert evidence(gray_to_L(gray)).min() > 0.9, (
        "of drawings; photographs: benchmarks/own_colour.py"
    )


def test_a_sky_shares_the_evidence_of_what_is_below():
    L = frame("fog", 256, 384)
    L[128:] += 25 * np.sign(np.sin(np.arange(384) / 9)).astype(np.float32)
    assert evidence(L).min() == 1


def test_it_fades_with_the_contrast():
    bars = np.sign(np.sin(np.arange(384) / 9)).astype(np.float32) * np.ones((256, 1), np.float32)
    shares = [float(evidence(50 + contrast * bars).mean()) for contrast in (0.2, 0.8, 1.2, 3.0)]
    assert shares == sorted(shares) and shares[0] == 0 and shares[-1] == 1
    assert 0 < shares[1] < 1 or 0 < shares[2] < 1
