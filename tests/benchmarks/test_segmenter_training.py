"""What starter_segmenter.py teaches, how it starts and trains, and the IoU that it prints."""

from __future__ import annotations

import math

import numpy as np
import torch
from segmenter_photos import LEAST, correct, sharpen
from segmenter_training import (
    BATCH,
    CROP,
    batches,
    intersection_over_union,
    load_colour_weights,
    train_segmenter,
)
from torch import nn

from colorization.categories import CATEGORY_NAMES, PAPER
from colorization.merging.deeplab import GrayDeepLab

PEOPLE, BIRDS, ANIMALS, PLACES = range(4)


def colour_state(network: GrayDeepLab) -> dict[str, torch.Tensor]:
    """Weights of a network of the same layers that sees RGB."""
    state = dict(network.state_dict())
    state["stem.weight"] = state["stem.weight"].expand(-1, 3, -1, -1) / 3
    return state


def taught(*weights: float, num_photos: int = 1) -> torch.Tensor:
    """The same weights everywhere."""
    return torch.tensor(weights)[None, :, None, None].repeat(num_photos, 1, 8, 8)


def test_iou_of_hand_made_masks_ignores_unknown_pixels() -> None:
    truth = torch.tensor([[0, 0, 1, 1], [3, 3, 255, 255]])
    predicted = torch.tensor([[0, 1, 1, 1], [3, 0, 3, 2]])
    people, birds, animals, places = intersection_over_union(predicted, truth)
    assert (people, birds, places) == (1 / 3, 2 / 3, 1 / 2)
    assert math.isnan(animals)


def test_a_photo_of_birds_shows_no_cat_and_a_monkey_is_no_person() -> None:
    bird = correct(taught(0.1, 0.3, 0.4, 0.2), "birds")
    torch.testing.assert_close(bird, taught(0.1, 0.7, 0.0, 0.2))
    monkey = correct(taught(0.5, 0.1, 0.1, 0.3), "animals", people=False)
    torch.testing.assert_close(monkey, taught(0.0, 0.0, 0.7, 0.3))
    assert torch.equal(correct(taught(0.1, 0.3, 0.4, 0.2), "places"), taught(0.1, 0.3, 0.4, 0.2))


def test_a_category_that_the_teacher_nearly_missed_is_raised_where_it_was_seen_most() -> None:
    seen = taught(0.0, 0.01, 0.0, 0.99, num_photos=2)
    seen[:, BIRDS, 2:4, 2:4], seen[:, PLACES, 2:4, 2:4] = 0.2, 0.8
    seen[1] *= torch.tensor([0, 1e-6, 0, 1])[:, None, None]
    found = correct(seen, "birds")
    assert LEAST <= found[0, BIRDS].mean() < 2 * LEAST
    assert found[0, BIRDS, 2, 2] > 5 * found[0, BIRDS, 0, 0]
    torch.testing.assert_close(found[0].sum(dim=0), torch.ones(8, 8))
    assert found[1].abs().max() == 0, "nothing is known of a photo in which it was not seen at all"


def test_sharpened_weights_are_surer_sum_to_one_and_leave_the_unknown_unknown() -> None:
    weight = taught(0.3, 0.0, 0.0, 0.7, num_photos=2)
    weight[1] = 0
    sharp = sharpen(weight, torch.full((2, 1, 8, 8), 50.0))
    torch.testing.assert_close(sharp[0].sum(dim=0), torch.ones(8, 8))
    assert float(sharp[0, PLACES, 4, 4]) > 0.8
    assert sharp[1].abs().max() == 0


def test_gray_starts_with_the_probabilities_that_the_network_in_colour_gives() -> None:
    torch.manual_seed(0)
    network, source = GrayDeepLab(), GrayDeepLab()
    nn.init.normal_(source.logits.weight, std=0.3)
    load_colour_weights(network, colour_state(source))
    L_norm = torch.rand(2, 1, 64, 96) - 0.5
    seen: list[torch.Tensor] = []
    network.logits.register_forward_hook(lambda _module, _inputs, out: seen.append(out))
    with torch.inference_mode():
        weight = network.eval()(L_norm).softmax(dim=1)
    classes, owner = seen[0].softmax(dim=1), torch.tensor(PAPER.owners())
    for k in range(len(CATEGORY_NAMES)):
        expected = classes[:, owner == k].sum(dim=1)
        torch.testing.assert_close(weight[:, k, ::8, ::8], expected)


def test_the_network_says_the_same_in_training_as_after_it() -> None:
    torch.manual_seed(0)
    network = GrayDeepLab()
    L_norm = torch.rand(2, 1, 96, 64) - 0.5
    with torch.no_grad():
        trained, used = network.train()(L_norm), network.eval()(L_norm)
    torch.testing.assert_close(trained, used, rtol=0, atol=1e-5)


def test_training_lowers_the_loss_on_what_it_sees_and_leaves_the_first_layers() -> None:
    torch.manual_seed(0)
    lightness = torch.full((4, 64, 64), 60, dtype=torch.uint8)
    lightness[..., 32:] = 200
    weights = torch.zeros(4, 4, 32, 32, dtype=torch.uint8)
    weights[:, PEOPLE, :, :16], weights[:, PLACES, :, 16:] = 255, 255
    label = torch.full((64, 64), PLACES, dtype=torch.uint8)
    label[:, :32] = PEOPLE
    voc = [(lightness[:1] * (100 / 255), label)]
    network = GrayDeepLab()
    first = network.stem.weight.clone()
    data = list(batches(lightness, weights, voc, 1, seed=0))
    L, target = data[0]
    assert L.shape == (BATCH, 1, CROP, CROP) and L.min() >= 0 and L.max() <= 100
    torch.testing.assert_close(target.sum(dim=1), torch.ones(BATCH, CROP, CROP))
    part = [(L[:2, :, :64, :64], target[:2, :, :64, :64])] * 6
    losses = list(train_segmenter(network, part, num_steps=6, learning_rate=1e-3, precision="fp32"))
    assert losses[-1] < losses[0] and np.isfinite(losses).all()
    assert torch.equal(first, network.stem.weight)
