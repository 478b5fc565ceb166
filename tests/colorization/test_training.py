"""The loop learns with every network and loss, resumes bit for bit at any step, and names a NaN."""

from __future__ import annotations

import copy
import io
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest
import torch

from colorization.errors import ConfigError, DivergedError
from colorization.networks import LABELS, NETWORK_NAMES, build_network, networks_that
from colorization.networks.iizuka16 import Iizuka16Colorizer
from colorization.training.feeding import (
    PhotoBatch,
    augment,
    num_steps,
    prefetch,
    step_rows,
    to_tensors,
)
from colorization.training.loop import Trainer
from colorization.training.objective import needs_statistics
from colorization.training.optimization import keeps_palettes
from colorization.training.recipes import build_recipe
from colorization.training.statistics import colour_statistics

SMALL = {"crop": 0, "batch": 4, "precision": "fp32", "epochs": 2, "schedule": "constant"}


def coloured_batch(seed: int = 0, side: int = 64) -> PhotoBatch:
    """Four photos whose colour follows from their lightness; labels 0, 1, 0, 1."""
    cells = np.random.default_rng(seed).integers(0, 256, (4, 1, side // 8, side // 8))
    L = cells.repeat(8, 2).repeat(8, 3)
    stored = np.concatenate([L, 128 + L // 8, 158 - L // 8], axis=1).astype(np.uint8)
    return PhotoBatch(torch.from_numpy(stored), torch.tensor([0, 1, 0, 1]))


def trainer(network: str, seed: int = 0, **overrides) -> Trainer:
    torch.manual_seed(seed)
    recipe = build_recipe("default", SMALL | {"network": network} | overrides)
    batch = coloured_batch()
    statistics = colour_statistics([(batch.stored.numpy(), batch.labels.numpy())], 2)
    return Trainer(
        build_network(network, num_classes=2 if recipe.objective.scene else 0),
        recipe,
        num_photos=12,
        statistics=statistics if needs_statistics(recipe.objective) else None,
    )


def losses_of(trained: Trainer, num_steps: int = 20, side: int = 64) -> list[float]:
    losses: list[float] = []
    batch = coloured_batch(side=side)
    if isinstance(trained.network, Iizuka16Colorizer):  # it sees each photo at 224², too
        batch = PhotoBatch(batch.stored[:2], batch.labels[:2])
    trained.train_epoch([batch] * num_steps, losses.append)
    assert len(losses) == num_steps
    return losses


GENTLE = {"learning_rate": 3e-4, "final_learning_rate": 3e-4}
OWN = {
    "resnet18": {"learning_rate": 1e-2, "final_learning_rate": 1e-2},  # the paper's
    "eccv16": GENTLE | {"loss": "classification"},
    "siggraph17": GENTLE,
    "iizuka16": {},
}
"""What some networks are trained with; the others take the starter's rate and loss."""


LARGE = {"eccv16", "iizuka16", "siggraph17"}
"""20 to 60 s each."""


@pytest.mark.parametrize(
    "network", [pytest.param(n, marks=[pytest.mark.slow] * (n in LARGE)) for n in NETWORK_NAMES]
)
def test_every_network_learns_in_twenty_steps(network):
    losses = losses_of(
        trainer(network, **OWN.get(network, {})),
        side=32 if network in ("eccv16", "siggraph17", "iizuka16") else 64,
    )
    assert np.mean(losses[-3:]) < 0.8 * np.mean(losses[:3])


@pytest.mark.parametrize(
    ("network", "overrides"),
    [
        ("hypercolumn", {"loss": "classification"}),
        ("unet18-layer3", {"loss": "l2"}),
        ("unet18-layer3", {"loss": "l1", "ema": 0.9, "clip_norm": 1.0}),
        ("unet18-layer3", {"semantic_prior": 5.0}),
        ("unet18-layer3", {"colourfulness": 0.5}),
        ("unet18-layer3", {"adversarial": 1.0}),
    ],
)
def test_every_loss_falls(network, overrides):
    losses = losses_of(trainer(network, **overrides))
    assert np.mean(losses[-3:]) < 0.9 * np.mean(losses[:3])


def test_the_scene_head_learns_the_labels():
    trained = trainer("iizuka16", scene=5.0)
    losses = losses_of(trained, 4, side=32)
    assert losses[-1] < losses[0]
    assert trained.network.classifier[-1].weight.grad.abs().sum() > 0


def test_siggraph_classifies_its_529_bins_and_learns_its_colours_beside_them():
    trained = trainer("siggraph17", loss="classification", **GENTLE)
    losses = losses_of(trained, 6, side=32)
    assert losses[-1] < losses[0]
    assert all(p.grad is not None for p in trained.network.parameters()), "no part is left out"


@pytest.mark.parametrize("network", ["unet18", "resnet18-trunk"])
def test_pretrained_encoders_learn_more_slowly(network):
    groups = trainer(network, encoder_lr_factor=0.3).optimizer.param_groups
    assert [group["lr_factor"] for group in groups] == [1.0, 0.3]
    assert sum(len(group["params"]) for group in groups) == len(
        list(build_network(network).parameters())
    )


def test_steps_of_an_epoch_take_each_photo_once_and_none_alone():
    for num_photos in range(1, 40):
        steps = num_steps(num_photos, 8)
        taken = [list(range(num_photos))[step_rows(num_photos, 8, step)] for step in range(steps)]
        assert sum(taken, []) == list(range(num_photos))
        assert num_photos == 1 or min(len(part) for part in taken) > 1


EVERYTHING = {
    "crop": 32,
    "horizontal_flip": 0.5,
    "schedule": "cosine",
    "ema": 0.9,
    "clip_norm": 1.0,
    "adversarial": 0.5,
    "colourfulness": 0.1,
    "semantic_prior": 0.1,
}


def epoch_of(epoch: int, start: int = 0) -> Iterator[PhotoBatch]:
    for step in range(start, 3):
        yield coloured_batch(3 * epoch + step, side=48)


def saved(state: dict) -> dict:
    buffer = io.BytesIO()
    torch.save(state, buffer)
    buffer.seek(0)
    return torch.load(buffer, weights_only=True)


@pytest.mark.parametrize(
    ("network", "overrides"),
    [
        ("unet18-layer3", EVERYTHING),
        ("resnet18-trunk", {"fresh_each_epoch": True}),
        ("siggraph17", {"hints": 3.0, "loss": "classification"}),
        ("unet-scene", {"crop": 32, "wear": 0.5, "ema": 0.9, "clip_norm": 1.0}),
    ],
)
def test_resuming_at_any_step_gives_the_state_of_an_uninterrupted_run(network, overrides):
    num_epochs = 1 if network == "siggraph17" else 2
    whole = trainer(network, **overrides)
    states = []
    for epoch in range(num_epochs):
        whole.train_epoch(epoch_of(epoch), lambda _: states.append(saved(whole.state_dict())))
    for state in states[1::2]:
        resumed = trainer(network, seed=99, **overrides)
        resumed.load_state_dict(copy.deepcopy(state))
        while resumed.position.epoch < num_epochs:
            position = resumed.position
            resumed.train_epoch(epoch_of(position.epoch, position.epoch_step))
        assert resumed.position == whole.position
        mine, theirs = resumed.published.state_dict(), whole.published.state_dict()
        assert all(torch.equal(tensor, theirs[name]) for name, tensor in mine.items())


def test_the_mean_loss_of_a_resumed_epoch_is_that_of_the_whole_one():
    whole = trainer("unet18-layer3")
    states = []
    result = whole.train_epoch(epoch_of(0), lambda _: states.append(saved(whole.state_dict())))
    resumed = trainer("unet18-layer3", seed=99)
    resumed.load_state_dict(states[1])
    rest = resumed.train_epoch(epoch_of(0, 2))
    assert (rest.loss, rest.num_photos) == (result.loss, result.num_photos) != (0, 0)


def test_a_diverged_loss_stops_training_and_names_the_learning_rate():
    broken = trainer("unet18-layer3")
    torch.nn.init.constant_(broken.network.head.weight, float("nan"))
    assert not broken.is_finite()
    with pytest.raises(DivergedError, match="Lower learning_rate"):
        broken.train_epoch([coloured_batch()])


def test_crops_are_cut_at_random_and_mirrored_with_their_recipe():
    recipe = build_recipe("default", {"crop": 32, "horizontal_flip": 1.0})
    batch = coloured_batch()
    batch.labels[:] = torch.arange(4)
    cropped = augment(batch, recipe, np.random.default_rng(0))
    assert cropped.stored.shape == (4, 3, 32, 32) and cropped.labels.tolist() == [0, 1, 2, 3]
    for photo, crop in zip(batch.stored, cropped.stored, strict=True):
        windows = photo.flip(-1).unfold(1, 32, 1).unfold(2, 32, 1)
        found = (windows == crop[:, None, None]).all(dim=0).all(dim=-1).all(dim=-1)
        assert found.sum() >= 1


def test_crops_of_drawn_sides_are_resized():
    ramp = torch.arange(64, dtype=torch.uint8) * 4  # the width of a crop shows in its span
    batch = PhotoBatch(ramp.expand(2, 3, 64, 64).contiguous(), torch.tensor([0, 1]))
    recipe = build_recipe("default", {"crop": 32, "smallest_crop": 0.5, "horizontal_flip": 0.0})
    spans = []
    for seed in range(40):
        stored = augment(batch, recipe, np.random.default_rng(seed)).stored
        assert stored.shape == (2, 3, 32, 32) and stored.dtype == torch.uint8
        spans += (stored.amax(dim=(1, 2, 3)).float() - stored.amin(dim=(1, 2, 3))).tolist()
    assert 110 <= min(spans) < 150 and 220 < max(spans) <= 252


def test_lightness_is_jittered_and_colours_are_not():
    batch = coloured_batch()
    recipe = build_recipe("default", {"crop": 0, "lightness_jitter": 0.3, "horizontal_flip": 0.0})
    jittered = augment(batch, recipe, np.random.default_rng(0)).stored
    assert torch.equal(jittered[:, 1:], batch.stored[:, 1:])
    curves = []
    for before, after in zip(batch.stored[:, 0], jittered[:, 0], strict=True):
        order = before.flatten().argsort()
        assert (after.flatten()[order].int().diff() >= 0).all()  # still a curve
        curves.append((after.float() - before).mean().item())
    assert len(set(curves)) == 4 and max(map(abs, curves)) < 60


def test_wear_of_a_share_of_the_photos_spares_the_colours_and_no_share_changes_nothing():
    batch = coloured_batch()
    worn = augment(batch, build_recipe("paper", {"wear": 1.0}), np.random.default_rng(0)).stored
    assert worn.dtype == torch.uint8 and torch.equal(worn[:, 1:], batch.stored[:, 1:])
    assert 2 <= sum(not torch.equal(a, b) for a, b in zip(worn, batch.stored, strict=True)) <= 4
    still = augment(batch, build_recipe("paper"), np.random.default_rng(0)).stored
    assert torch.equal(still, batch.stored)


def test_each_photo_is_learnt_and_predicted_by_its_own_head():
    torch.manual_seed(0)
    network = build_network("unet-scene", num_heads=3)
    joint = Trainer(network, build_recipe("scene", SMALL | {"ema": 0.0}), num_photos=4)
    batch = coloured_batch()
    heads = torch.tensor([0, 2, 0, 2])
    joint.train_epoch([replace(batch, heads=heads)])
    last = network.head.weight.grad.unflatten(0, (3, 2)).abs().amax(dim=(1, 2, 3, 4))
    assert last[0] > 0 and last[1] == 0 and last[2] > 0
    together = joint.predict(batch.stored.numpy(), heads.numpy())
    alone = joint.predict(batch.stored[1:2].numpy(), heads[1:2].numpy())
    np.testing.assert_allclose(together[1:2], alone, atol=1e-3)
    assert np.abs(together[1] - joint.predict(batch.stored.numpy())[1]).max() > 0.01


def test_the_moving_average_follows_the_weights_and_is_what_predicts():
    averaged = trainer("unet18-layer3", ema=0.5)
    averaged.train_epoch([coloured_batch()] * 30)
    still = trainer("unet18-layer3", ema=0.5)
    still.network.load_state_dict(averaged.network.state_dict())
    gap = [
        (a - b).abs().max().item()
        for a, b in zip(averaged.published.parameters(), averaged.network.parameters(), strict=True)
    ]
    assert 0 < max(gap) < 0.1
    assert averaged.published is not averaged.network
    buffers = zip(averaged.published.buffers(), averaged.network.buffers(), strict=True)
    for average, current in buffers:  # BatchNorm's statistics follow too
        assert torch.allclose(average, current, rtol=0.2, atol=0.1)
        assert not average.is_floating_point() or not torch.equal(average, current)


def test_a_frozen_encoder_stays_as_it_was_while_the_decoder_learns():
    frozen = trainer("unet18-stride4", encoder_lr_factor=0.0, ema=0.5)
    before = {key: value.clone() for key, value in frozen.network.state_dict().items()}
    first = frozen.train_epoch([coloured_batch()] * 5).loss
    assert frozen.train_epoch([coloured_batch()] * 30).loss < first
    for network in (frozen.network, frozen.published):
        changed = {
            key for key, value in network.state_dict().items() if not value.equal(before[key])
        }
        assert changed
        assert not [key for key in changed if key.startswith("encoder.")]


def test_only_an_encoder_that_is_there_can_be_frozen():
    with pytest.raises(ConfigError, match="encoder_lr_factor = 0, got 'eccv16'"):
        build_recipe("default", {"network": "eccv16", "encoder_lr_factor": 0.0})


def test_stored_lab_becomes_l_norm_and_ab():
    stored = torch.tensor([0, 255, 51], dtype=torch.uint8)[:, None, None].expand(3, 4, 4)[None]
    L_norm, ab = to_tensors(stored)
    assert L_norm.unique().item() == -0.5
    assert ab[0, :, 0, 0].tolist() == [127.0, -77.0]


def test_prefetch_keeps_order_passes_errors_on_and_ends_its_thread():
    assert list(prefetch(range(50), depth=3)) == list(range(50))

    def broken() -> Iterator[int]:
        yield 1
        raise OSError("disk")

    seen = prefetch(broken())
    assert next(seen) == 1
    with pytest.raises(OSError, match="disk"):
        next(seen)
    import threading

    endless = prefetch(iter(int, 1))
    next(endless)
    endless.close()
    assert not [t for t in threading.enumerate() if t.name == "prefetch"]


def test_an_objective_without_what_it_needs_is_refused():
    recipe = build_recipe("default", {"perceptual": 1.0})
    with pytest.raises(ConfigError, match="perceptual_weights"):
        Trainer(build_network("unet18-layer3"), recipe, num_photos=4)
    recipe = build_recipe("default", {"semantic_prior": 1.0})
    with pytest.raises(ValueError, match="statistics"):
        Trainer(build_network("unet18-layer3"), recipe, num_photos=4)


def test_only_networks_that_learn_labels_take_them():
    assert networks_that(LABELS) == ("iizuka16",)
    assert "classifier.2.weight" in build_network("iizuka16", num_classes=3).state_dict()
    assert not any("classifier" in key for key in build_network("iizuka16").state_dict())


def test_a_frozen_encoder_keeps_the_palettes_that_are_known() -> None:
    torch.manual_seed(0)
    network = build_network("unet-scene")
    recipe = build_recipe("starter", SMALL | {"ema": 0.0})
    assert not keeps_palettes(network, recipe.optimization)  # none is known yet
    network.palettes.codebook.normal_()
    learner = Trainer(network, recipe, num_photos=8)
    before = {k: v.clone() for k, v in network.palettes.state_dict().items()}
    decoder = network.ups[0].first.conv.weight.detach().clone()
    learner.train_epoch([coloured_batch()] * 2)
    after = network.palettes.state_dict()
    assert all(torch.equal(before[key], after[key]) for key in before)
    assert not torch.equal(decoder, network.ups[0].first.conv.weight)
