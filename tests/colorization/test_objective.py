"""Terms of the objective against plain loops, torchvision and hand-made cases."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torchvision.models import vgg16

from colorization.colour.bins import bin_centres, soft_codes
from colorization.colour.lab import lab_to_rgb as lab_to_rgb_numpy
from colorization.errors import WeightsMismatchError
from colorization.training.feeding import to_tensors
from colorization.training.hints import draw_hints
from colorization.training.losses import (
    bin_cross_entropy,
    colourfulness_hinge,
    discriminator_loss,
    generator_loss,
    lab_colourfulness,
    semantic_prior,
)
from colorization.training.perceptual import PerceptualDistance, lab_to_rgb
from colorization.training.statistics import colour_statistics


def flat_photo(L: int, a: int, b: int) -> np.ndarray:
    return np.broadcast_to(np.array([L, a, b], np.uint8)[:, None, None], (3, 16, 16)).copy()


def two_labels() -> np.ndarray:
    """Label 0 is green grass, label 1 a blue sky, at the same lightness."""
    return np.stack([flat_photo(128, 128 - 40, 128 + 30), flat_photo(128, 128 - 5, 128 - 30)])


def test_statistics_count_every_fourth_pixel_by_colour_and_label():
    counted = colour_statistics([(two_labels(), np.array([0, 1]))], 2)
    assert counted.ab_counts.sum() == 2 * 4 * 4
    assert counted.ab_counts[256 * (128 - 40) + 128 + 30] == 16
    assert counted.label_counts.sum(axis=(1, 2, 3)).tolist() == [16, 16]
    expected = 0.37 * (math.hypot(40, 30) + math.hypot(5, 30)) / 2
    assert counted.colourfulness == pytest.approx(expected, abs=0.01)
    prior = counted.bin_prior("gamut313")
    assert prior.sum() == pytest.approx(1)
    assert bin_centres("gamut313")[prior.argmax()].tolist() in ([-40, 30], [-10, -30], [0, -30])


def test_the_semantic_prior_prefers_the_labels_usual_colour():
    stored, labels = two_labels(), np.array([0, 1])
    table = torch.from_numpy(colour_statistics([(stored, labels)], 2).negative_log_prior())
    torch.testing.assert_close((-table).exp().sum(dim=(2, 3)), torch.ones(2, 8))
    L_norm, ab = to_tensors(torch.from_numpy(stored))
    labels = torch.from_numpy(labels)
    usual = semantic_prior(ab, L_norm, labels, table)
    swapped = semantic_prior(ab.flip(0), L_norm, labels, table)
    gray = semantic_prior(0 * ab, L_norm, labels, table)
    assert usual < gray - 1 and usual < swapped - 1
    wrong = ab.clone().requires_grad_(True)
    semantic_prior(wrong + 15, L_norm, labels, table).backward()
    assert wrong.grad.abs().sum() > 0


def test_bin_cross_entropy_equals_a_loop():
    torch.manual_seed(0)
    logits, ab = torch.randn(2, 313, 2, 2), torch.randint(-60, 60, (2, 2, 8, 8)).float()
    index, share = soft_codes("gamut313")
    weight = torch.rand(313)
    codes = torch.from_numpy(index), torch.from_numpy(share)
    found = bin_cross_entropy(logits, ab, codes, weight, 0.38)
    total = 0.0
    for n in range(2):
        for y in range(2):
            for x in range(2):
                mean = ab[n, :, 4 * y : 4 * y + 4, 4 * x : 4 * x + 4].double().mean(dim=(1, 2))
                a, b = (int(v) for v in (mean + 128).round())
                log_p = (0.38 * logits[n, :, y, x].double()).log_softmax(0)
                bins, shares = index[256 * a + b], share[256 * a + b]
                entropy = -sum(
                    float(s) * float(log_p[q]) for q, s in zip(bins, shares, strict=True)
                )
                total += float(weight[bins[0]]) * entropy
    assert found.item() == pytest.approx(total / 8, rel=1e-4)


def test_colourfulness_in_lab_and_its_hinge():
    ab = torch.zeros(2, 2, 4, 4)
    ab[1, 0, :2], ab[1, 0, 2:] = 30.0, -10.0  # mean 10, spread 20
    torch.testing.assert_close(lab_colourfulness(ab), torch.tensor([0.0, 23.7]), atol=0.01, rtol=0)
    assert colourfulness_hinge(ab[1:], 23.0).item() == 0
    assert colourfulness_hinge(ab[1:], 30.0).item() == pytest.approx(6.3, abs=0.01)


def test_the_discriminators_lesson_and_the_generators():
    real, fake = torch.full((1, 1, 2, 2), 0.9), torch.full((1, 1, 2, 2), 0.4)
    assert discriminator_loss(real, fake).item() == pytest.approx(0.5 * (0.01 + 0.16))
    assert generator_loss(fake).item() == pytest.approx(0.5 * 0.36)


def test_lab_to_rgb_with_a_gradient_equals_the_one_without():
    rng = np.random.default_rng(0)
    L = rng.uniform(5, 95, (8, 8)).astype(np.float32)
    ab = rng.uniform(-15, 15, (2, 8, 8)).astype(np.float32)
    expected = lab_to_rgb_numpy(L, ab, np.uint16) / 65535
    L_norm = torch.from_numpy((L - 50) / 100)[None, None]
    found = lab_to_rgb(L_norm, torch.from_numpy(ab)[None])
    np.testing.assert_allclose(found[0].permute(1, 2, 0).numpy(), expected, atol=2e-4)


def test_the_perceptual_distance_is_that_of_torchvisions_features():
    torch.manual_seed(0)
    backbone = vgg16(weights=None).features.eval()
    distance = PerceptualDistance({f"features.{k}": v for k, v in backbone.state_dict().items()})
    L_norm = torch.rand(1, 1, 32, 32) - 0.5
    ab, truth = 10 * torch.randn(2, 1, 2, 32, 32)
    assert distance(L_norm, ab, ab).item() == 0
    total, (ours, real) = 0.0, (lab_to_rgb(L_norm, x) for x in (ab, truth))
    mean, std = torch.tensor([[0.485, 0.456, 0.406], [0.229, 0.224, 0.225]])[:, :, None, None]
    x, y = (ours - mean) / std, (real - mean) / std
    for number, layer in enumerate(backbone[:23]):
        x, y = layer(x), layer(y)
        if number in (3, 8, 15, 22):  # relu1_2, relu2_2, relu3_3, relu4_3
            total += (x - y).abs().mean().item()
    assert distance(L_norm, ab, truth).item() == pytest.approx(total, rel=1e-4)
    with pytest.raises(WeightsMismatchError, match="vgg16"):
        PerceptualDistance({"0.weight": torch.zeros(3)})


def test_hints_show_the_truths_mean_where_the_mask_is_set():
    ab = 50 * torch.rand(64, 2, 48, 40) - 20
    hints = draw_hints(ab, 4.0, np.random.default_rng(1))
    mask = hints[:, 2]
    assert set(mask.unique().tolist()) == {0.0, 1.0}
    assert (hints[:, :2][(mask == 0)[:, None].expand(-1, 2, -1, -1)] == 0).all()
    empty = (mask.sum(dim=(1, 2)) == 0).float().mean().item()
    assert 0.05 < empty < 0.45, "a fifth of the photos get none on average"
    single = draw_hints(torch.full((200, 2, 9, 9), 7.0), 0.3, np.random.default_rng(2))
    assert single[:, 0][single[:, 2] == 1].unique().tolist() == [7.0]
