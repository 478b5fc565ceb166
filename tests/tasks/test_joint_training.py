"""One network that learns a head for each of several categories, and what starts from its heads."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from training_items import sha256, train_and_die, training_item, write_split

from chromaflow.library.networks import load_colorizer, tensors
from colorization.categories import CATEGORY_NAMES
from colorization.errors import WeightsMismatchError
from colorization.networks.unet_scene import SceneColorizer
from colorization.training.loop import Trainer
from storage.errors import UsageError
from storage.records.checkpoints import Checkpoint, load_checkpoint, save_checkpoints
from tasks.jobs.stage_items import TrainItem
from tasks.jobs.training.train import train_network
from tasks.weights.models import describe_model

SCENE = {
    "network": "unet-scene",
    "loss": "huber",
    "wear": 0.35,
    "clip_norm": 50.0,
    "horizontal_flip": 0.5,
    "batch": 8,
    "publish": "last",
    "learning_rate": 2e-3,
}
TINTS = {"people": 40, "places": -40}
Shards = dict[str, Path]


@pytest.fixture(scope="module")
def shards(tmp_path_factory: pytest.TempPathFactory) -> Shards:
    """The same gray photos in two categories, of other colours; one has fewer."""
    folder = tmp_path_factory.mktemp("shards")
    counts = {"people": 40, "places": 16}
    return {
        name: write_split(folder / name, counts[name], 4, tint=tint) for name, tint in TINTS.items()
    }


def joint_item(folder: Path, shards: Shards, **changes: Any) -> TrainItem:
    several = {"category": "shared", "categories": tuple(shards)}
    return training_item(folder, *shards.values(), **(SCENE | several | changes))


def own_item(folder: Path, shards: Shards, category: str, joint: Path, **changes: Any) -> TrainItem:
    start = {"init": "pretrained", "init_weights": str(joint), "category": category}
    return training_item(folder, shards[category], **(SCENE | start | changes))


@pytest.fixture(scope="module")
def joint(tmp_path_factory: pytest.TempPathFactory, shards: Shards) -> Path:
    folder = tmp_path_factory.mktemp("joint")
    train_network(joint_item(folder, shards, epochs=8))
    return folder


def colours(weights: Path, category: str) -> np.ndarray:
    """Mean ab that a category's head gives a mid-gray photo."""
    network, _ = load_colorizer(weights, joint=True)
    head = torch.tensor([CATEGORY_NAMES.index(category)])
    with torch.inference_mode():
        return network(torch.zeros(1, 1, 32, 32), head).mean(dim=(0, 2, 3)).numpy()


def test_each_category_gets_its_own_colours_of_the_same_gray_photos(joint: Path) -> None:
    weights = joint / "weights.safetensors"
    people, places = (colours(weights, name) for name in TINTS)
    assert people[0] > 20 and places[0] < 0
    history = pd.read_parquet(joint / "metrics.parquet")
    last = history.iloc[-1]
    assert last["num_photos"] == 8
    for score in ("delta_e", "gray_delta_e", "colourfulness", "truth_colourfulness"):
        parts = [last[f"{score}_{name}"] for name in TINTS]
        assert last[score] == pytest.approx(np.mean(parts)), "as many photos of each"
    assert last["delta_e"] < last["gray_delta_e"]
    assert history["loss"].iloc[-1] < 0.5 * history["loss"].iloc[0]


def test_the_file_says_which_heads_have_learnt_and_what_the_prior_knows(joint: Path) -> None:
    checkpoint = load_checkpoint(joint / "weights.safetensors")
    metadata = checkpoint.metadata
    assert (metadata["category"], metadata["num_heads"], metadata["num_train"]) == ("shared", 4, 56)
    assert metadata["heads"] == list(CATEGORY_NAMES)
    assert metadata["heads_without_photos"] == ["birds", "animals"]
    assert len(checkpoint.tensors["palettes.prior.by_head"]) == 4
    assert checkpoint.tensors["palettes.codebook"].any()
    assert "cross-entropy" in metadata["palettes"]
    card = (joint / "card.md").read_text()
    assert "| heads that have learnt nothing | birds, animals |" in card
    assert "seen only photos of people, places" in card and "cross-entropy" in card
    assert (joint / "curves.png").exists() and (joint / "samples/epoch-0008.png").exists()


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_joint_training_killed_at_some_steps_ends_with_the_bytes_of_a_whole_one(
    tmp_path: Path, shards: Shards
) -> None:
    train_network(joint_item(tmp_path / "whole", shards, epochs=3))
    killed = joint_item(tmp_path / "killed", shards, epochs=3, checkpoint_seconds=0.0)
    assert train_and_die(killed, 4) and train_and_die(killed, 5)
    train_network(killed)
    for name in ("weights.safetensors", "best.safetensors", "card.md"):
        assert sha256(tmp_path / "killed" / name) == sha256(tmp_path / "whole" / name), name


def test_a_joint_training_goes_back_from_a_loss_that_is_none(
    tmp_path: Path, shards: Shards, monkeypatch: pytest.MonkeyPatch
) -> None:
    train_step, tried = Trainer._train_step, []

    def poisoned(self: Trainer, *args: Any) -> float:
        tried.append(self.position.step)
        if tried == [0, 1, 2]:
            with torch.no_grad():
                next(self.network.parameters()).fill_(float("nan"))
        return train_step(self, *args)

    monkeypatch.setattr(Trainer, "_train_step", poisoned)
    train_network(joint_item(tmp_path, shards, epochs=1))
    metadata = load_checkpoint(tmp_path / "weights.safetensors").metadata
    assert tried == [0, 1, 2, *range(7)]
    assert [row["rate_factor"] for row in metadata["rollbacks"]] == [0.3]


def test_experts_that_learn_nothing_of_their_own_are_the_heads_and_share_one_file(
    tmp_path: Path, shards: Shards, joint: Path
) -> None:
    weights = joint / "weights.safetensors"
    whole = tensors(load_checkpoint(weights).tensors)
    checkpoints: dict[str, Checkpoint] = {}
    for number, name in enumerate(CATEGORY_NAMES):
        if name not in TINTS:
            continue
        own = tmp_path / name
        train_network(own_item(own, shards, name, weights, epochs=0))
        checkpoints[f"{name}.safetensors"] = load_checkpoint(own / "weights.safetensors")
        found = tensors(checkpoints[f"{name}.safetensors"].tensors)
        expected = SceneColorizer.head_of(whole, number)
        assert found.keys() == expected.keys()
        assert all(torch.equal(found[key], value) for key, value in expected.items())
        metrics = pd.read_parquet(own / "metrics.parquet")
        assert metrics["epoch"].tolist() == [0] and "loss" not in metrics
        together = pd.read_parquet(joint / "metrics.parquet").iloc[-1]
        assert metrics["delta_e"][0] == pytest.approx(together[f"delta_e_{name}"], abs=1e-3)
        card = (own / "card.md").read_text()
        assert "| epochs trained | 0 |" in card and "those of the weights that it starts" in card
        assert (own / "samples/epoch-0000.png").exists() and not (own / "curves.png").exists()
        assert load_colorizer(own / "weights.safetensors")[0].num_heads == 1
    save_checkpoints(tmp_path / "packed", checkpoints, shared="shared.safetensors", half=True)
    sizes = {path.name: path.stat().st_size for path in (tmp_path / "packed").iterdir()}
    assert sizes.pop("shared.safetensors") > 20 * sum(sizes.values())


@pytest.mark.timeout(600)
def test_a_category_learns_on_from_its_head_with_palettes_of_its_own(
    tmp_path: Path, shards: Shards, joint: Path
) -> None:
    weights = joint / "weights.safetensors"
    still = {"learning_rate": 1e-9, "final_learning_rate": 1e-9, "weight_decay": 0.0, "epochs": 1}
    train_network(own_item(tmp_path / "still", shards, "places", weights, **still))
    checkpoint = load_checkpoint(tmp_path / "still/weights.safetensors")
    start = SceneColorizer.head_of(tensors(load_checkpoint(weights).tensors), 3)
    learnt = [key for key in start if ".film." in key or key.startswith("head.")]
    assert len(learnt) > 12
    for key in learnt:
        np.testing.assert_allclose(checkpoint.tensors[key], start[key], atol=1e-6)
    assert not checkpoint.tensors["palettes.codebook"].any(), "16 photos are too few for one"
    assert checkpoint.metadata["palettes"] == "none: 16 training photos are too few"
    assert "num_heads" not in checkpoint.metadata


def test_a_scene_network_learns_alone_both_ways(tmp_path: Path) -> None:
    alone = write_split(tmp_path / "alone", 56, 4)
    train_network(training_item(tmp_path / "out", alone, **(SCENE | {"epochs": 2})))
    checkpoint = load_checkpoint(tmp_path / "out/weights.safetensors")
    assert checkpoint.tensors["palettes.codebook"].any()
    film = checkpoint.tensors["ups.0.first.film.weight"]
    assert np.abs(film[..., :-1]).max() > 0 and np.abs(film[..., -1]).max() > 0
    history = pd.read_parquet(tmp_path / "out/metrics.parquet")
    assert history["loss"].iloc[-1] < history["loss"].iloc[0]


def test_heads_are_cut_out_of_a_file_that_says_nothing_of_itself(
    tmp_path: Path, shards: Shards, joint: Path
) -> None:
    whole = tensors(load_checkpoint(joint / "weights.safetensors").tensors)
    torch.save(whole, tmp_path / "joint.pth")
    start = {"init": "file", "epochs": 0}
    train_network(own_item(tmp_path / "own", shards, "places", tmp_path / "joint.pth", **start))
    found = load_checkpoint(tmp_path / "own/weights.safetensors").tensors
    assert np.array_equal(found["head.bias"], whole["head.bias"][6:8])


def test_weights_of_several_heads_are_no_expert(joint: Path) -> None:
    with pytest.raises(
        WeightsMismatchError, match="one category .* got a network of 4 .*epochs = 0"
    ):
        load_colorizer(joint / "weights.safetensors")
    shown = describe_model(joint / "weights.safetensors")
    assert shown.parameters > 13_703_130 and shown.provenance["num_heads"] == 4


def test_a_head_that_has_learnt_nothing_is_a_start_and_no_expert(
    tmp_path: Path, shards: Shards, joint: Path
) -> None:
    weights, birds = joint / "weights.safetensors", {"birds": shards["people"]}
    with pytest.raises(WeightsMismatchError, match="birds that has learnt .* people, places have"):
        train_network(own_item(tmp_path / "as it is", birds, "birds", weights, epochs=0))
    train_network(own_item(tmp_path / "learnt", birds, "birds", weights, epochs=1))
    assert (tmp_path / "learnt/weights.safetensors").exists()


def test_joint_weights_go_on_jointly_and_those_of_one_head_do_not(
    tmp_path: Path, shards: Shards, joint: Path
) -> None:
    start = {"init": "file", "init_weights": str(joint / "weights.safetensors"), "epochs": 1}
    train_network(joint_item(tmp_path / "on", shards, **start))
    single = tmp_path / "single.pth"
    torch.save(SceneColorizer().state_dict(), single)
    with pytest.raises(WeightsMismatchError, match="unet-scene in .*single.pth"):
        train_network(joint_item(tmp_path / "no", shards, **start | {"init_weights": str(single)}))


def test_each_category_needs_its_photos(tmp_path: Path, shards: Shards) -> None:
    few = {**shards, "birds": write_split(tmp_path / "few", 3, 1)}
    with pytest.raises(UsageError, match=r"8 or more .* of birds, got 3.*\[pretrain\]"):
        train_network(joint_item(tmp_path / "out", few))
