"""The loop learns, resumes bit for bit and stops at a diverged loss."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from colorization.errors import DivergedError
from colorization.networks import build_network
from colorization.recipes import build_recipe
from colorization.training import Trainer

SMALL = {"crop": 0, "batch": 4, "precision": "fp32", "epochs": 2, "schedule": "constant"}


def coloured_batch(seed: int = 0) -> np.ndarray:
    """Four photos whose colour follows from their lightness."""
    L = np.random.default_rng(seed).integers(0, 256, (4, 1, 8, 8)).repeat(8, 2).repeat(8, 3)
    return np.concatenate([L, 128 + L // 8, 158 - L // 8], axis=1).astype(np.uint8)


def trainer(network: str, seed: int = 0, **overrides) -> Trainer:
    torch.manual_seed(seed)
    recipe = build_recipe("starter", SMALL | {"network": network} | overrides)
    return Trainer(build_network(network), recipe, steps_per_epoch=3)


@pytest.mark.parametrize("network", ["resnet18", "unet18-layer3"])
def test_the_loss_falls_over_twenty_steps(network):
    losses: list[float] = []
    trainer(network).train_epoch(
        [coloured_batch()] * 20, np.random.default_rng(0), lambda _, loss: losses.append(loss)
    )
    assert len(losses) == 20
    assert np.mean(losses[-3:]) < 0.5 * np.mean(losses[:3])


def test_resuming_gives_the_weights_of_an_uninterrupted_run_bit_for_bit():
    changes = {"schedule": "cosine", "crop": 32}
    epochs = [[coloured_batch(3 * e + i) for i in range(3)] for e in range(2)]
    whole = trainer("unet18-layer3", **changes)
    whole.train_epoch(epochs[0], np.random.default_rng((5, 0)))
    saved = {
        k: ({n: t.clone() for n, t in v.items()} if k == "network" else v)
        for k, v in whole.state_dict().items()
    }
    saved["optimizer"] = torch.load(_dump(saved["optimizer"]), weights_only=True)
    whole.train_epoch(epochs[1], np.random.default_rng((5, 1)))
    resumed = trainer("unet18-layer3", seed=99, **changes)
    resumed.load_state_dict(saved)
    resumed.train_epoch(epochs[1], np.random.default_rng((5, 1)))
    assert resumed.step == whole.step == 6
    for name, tensor in whole.network.state_dict().items():
        assert torch.equal(tensor, resumed.network.state_dict()[name]), name


def test_a_diverged_loss_stops_training_and_names_the_learning_rate():
    broken = trainer("unet18-layer3")
    torch.nn.init.constant_(broken.network.head.weight, float("nan"))
    with pytest.raises(DivergedError, match="Lower learning_rate"):
        broken.train_epoch([coloured_batch()], np.random.default_rng(0))


def test_crops_are_cut_at_random_and_mirrored_with_their_recipe():
    sizes: list[tuple[int, ...]] = []
    cropped = trainer("unet18-layer3", crop=32, horizontal_flip=1.0)
    cropped.network.register_forward_pre_hook(lambda _, args: sizes.append(args[0].shape))
    result = cropped.train_epoch([coloured_batch()], np.random.default_rng(0))
    assert sizes == [(4, 1, 32, 32)]
    assert result.num_photos == 4


def _dump(value):
    import io

    buffer = io.BytesIO()
    torch.save(value, buffer)
    buffer.seek(0)
    return buffer
