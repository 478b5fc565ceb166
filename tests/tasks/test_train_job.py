"""One category's training: killed, diverged, stopped early, started from files, refused."""

from __future__ import annotations

import json
import os
import random
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image
from training_items import sha256, train_and_die, training_item, write_split

from chromaflow.library.networks import load_colorizer
from colorization.errors import DivergedError, WeightsMismatchError
from colorization.networks import build_network
from colorization.training.loop import Trainer
from storage.errors import DamagedError, LockedError, UsageError
from storage.records.checkpoints import load_checkpoint
from storage.records.ledger import exclusive
from tasks.jobs.stage_items import TrainItem
from tasks.jobs.training.state import TrainingState
from tasks.jobs.training.train import train_network

SEED = int(os.environ.get("CHROMAFLOW_FAULT_SEED", "20261124"))


@pytest.fixture(scope="module")
def shards(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_split(tmp_path_factory.mktemp("shards"), 40)


@pytest.mark.parametrize("num_kills", [1, pytest.param(20, marks=pytest.mark.slow)])
@pytest.mark.timeout(900)
def test_weights_of_a_training_killed_at_random_steps_are_those_of_a_whole_one(
    tmp_path: Path, shards: Path, num_kills: int
) -> None:
    rng = random.Random(SEED + num_kills)
    extra = {"horizontal_flip": 0.5, "clip_norm": 5.0, "epochs": 2 * num_kills}
    item = training_item(tmp_path / "whole", shards, **extra)
    train_network(item)
    killed = training_item(tmp_path / "killed", shards, checkpoint_seconds=0.15, **extra)
    kills = 0
    while kills < num_kills:
        # 20 steps a kill on average; some of them fall between two checkpoints and are done again
        assert train_and_die(killed, rng.randint(0, 24)), "it ended before the last kill"
        kills += 1
    assert not (tmp_path / "killed/weights.safetensors").exists()
    train_network(killed)
    assert len(load_history(tmp_path / "killed")) == 2 * num_kills
    for name in ("weights.safetensors", "last.safetensors"):
        assert sha256(tmp_path / "killed" / name) == sha256(tmp_path / "whole" / name), SEED
    for column in ("loss", "delta_e", "colourfulness_absolute"):
        assert (
            load_history(tmp_path / "killed")[column] == load_history(tmp_path / "whole")[column]
        ).all()
    assert not list((tmp_path / "killed").rglob("*.pt")) + list(tmp_path.rglob("*.partial"))
    print(f"{kills} kills, the same weights; seed {SEED}")


def test_a_training_killed_before_its_record_leaves_the_same_files(
    tmp_path: Path, shards: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Resumed when its last epoch is done: nothing is trained, the sheet is drawn once more."""
    import tasks.jobs.training.train

    def die(item: TrainItem, **facts: object) -> None:
        raise SystemExit(item.name)

    extra = {"ema": 0.0, "publish": "last", "network": "resnet18-trunk"}
    train_network(training_item(tmp_path / "whole", shards, **extra))
    killed = training_item(tmp_path / "killed", shards, **extra)
    with monkeypatch.context() as patch:
        patch.setattr(tasks.jobs.training.train, "commit_item", die)
        with pytest.raises(SystemExit):
            train_network(killed)
    train_network(killed)
    times = ["seconds", "wait_share"]
    files = {path.relative_to(tmp_path / "whole") for path in (tmp_path / "whole").rglob("*.*")}
    left_out = {Path("metrics.parquet"), Path("done/weights.json"), Path(".training.lock")}
    for name in sorted(path for path in files - left_out if (tmp_path / "whole" / path).is_file()):
        if "tensorboard" not in name.parts and name.name != "progress.json":
            assert sha256(tmp_path / "killed" / name) == sha256(tmp_path / "whole" / name), name
    columns = [load_history(tmp_path / part).drop(columns=times) for part in ("whole", "killed")]
    pd.testing.assert_frame_equal(*columns)


def load_history(folder: Path) -> pd.DataFrame:
    return pd.read_parquet(folder / "metrics.parquet")


def test_what_a_training_leaves_behind(tmp_path: Path, shards: Path) -> None:
    result = train_network(training_item(tmp_path, shards))
    assert result.num_photos == 40
    record = json.loads((tmp_path / "done/weights.json").read_text())
    kept = {file["path"] for file in record["files"] + record["extras"]}
    assert kept == {
        "weights.safetensors",
        "last.safetensors",
        "metrics.parquet",
        "card.md",
        "curves.png",
        "samples/epoch-0002.png",
        "samples/epoch-0004.png",
    }
    history = load_history(tmp_path)
    best = history.loc[history["delta_e"].idxmin()]
    metadata = load_checkpoint(tmp_path / "weights.safetensors").metadata
    assert metadata["metrics"]["epoch"] == best["epoch"]
    assert metadata["metrics"]["delta_e"] == best["delta_e"] < best["gray_delta_e"]
    assert (metadata["license"], metadata["num_train"]) == ("CC0-1.0", 40)
    card = (tmp_path / "card.md").read_text()
    assert "| license | CC0-1.0 |" in card and f"| published epoch | {int(best['epoch'])} |" in card
    with Image.open(tmp_path / "samples/epoch-0004.png") as image:
        pixels = np.asarray(image.convert("RGB")).astype(int)[40:200]
    assert np.ptp(pixels[:, 8:232], axis=2).max() <= 3, "the first column is gray"
    assert np.ptp(pixels[:, 480:], axis=2).max() > 20, "the last one is the truth"
    with Image.open(tmp_path / "curves.png") as image:
        assert image.width > 1000
    events = list((tmp_path / "tensorboard").glob("events.out.tfevents.*"))
    assert len(events) == 1 and b"epoch/delta_e" in events[0].read_bytes()


def test_a_recipe_may_publish_the_last_epoch(tmp_path: Path, shards: Path) -> None:
    train_network(training_item(tmp_path, shards, publish="last", epochs=3))
    published = load_checkpoint(tmp_path / "weights.safetensors").metadata["metrics"]
    best = load_checkpoint(tmp_path / "best.safetensors").metadata["metrics"]
    assert published["epoch"] == 3 and best["delta_e"] <= published["delta_e"]


def test_training_stops_when_nothing_gets_better(tmp_path: Path, shards: Path) -> None:
    rates = {"learning_rate": 1e-12, "final_learning_rate": 1e-12, "ema": 0.0}
    train_network(training_item(tmp_path, shards, epochs=50, patience=2, **rates))
    history = load_history(tmp_path)
    best = history["delta_e"].idxmin()
    assert len(history) == best + 3 < 50


def test_epochs_between_validations_have_no_scores(tmp_path: Path, shards: Path) -> None:
    train_network(training_item(tmp_path, shards, epochs=5, validate_every=3))
    history = load_history(tmp_path)
    assert history["epoch"][history["delta_e"].notna()].tolist() == [3, 5]
    assert load_checkpoint(tmp_path / "weights.safetensors").metadata["metrics"]["epoch"] in (3, 5)


def poison(monkeypatch: pytest.MonkeyPatch, at: dict[int, int]) -> None:
    """Make the loss NaN when step s is tried for the first at[s] times."""
    train_step = Trainer._train_step

    def poisoned(self: Trainer, *args: object) -> float:
        if at.get(self.position.step, 0) > 0:
            at[self.position.step] -= 1
            with torch.no_grad():
                next(self.network.parameters()).fill_(float("nan"))
        return train_step(self, *args)  # type: ignore[arg-type]

    monkeypatch.setattr(Trainer, "_train_step", poisoned)


def test_a_nan_goes_back_to_the_last_good_state_with_a_lower_rate_twice(
    tmp_path: Path, shards: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    poison(monkeypatch, {3: 1, 25: 1})
    train_network(training_item(tmp_path, shards))
    metadata = load_checkpoint(tmp_path / "weights.safetensors").metadata
    assert [row["step"] for row in metadata["rollbacks"]] == [3, 25]
    assert [row["to"] for row in metadata["rollbacks"]] == [0, 20]
    assert metadata["rollbacks"][1]["rate_factor"] == pytest.approx(0.09)
    assert len(load_history(tmp_path)) == 4
    assert "| returns to an earlier state | 2 |" in (tmp_path / "card.md").read_text()


def test_a_third_nan_fails_clearly_and_keeps_the_checkpoint(
    tmp_path: Path, shards: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    poison(monkeypatch, {25: 9})
    with pytest.raises(DivergedError, match="tried with 2 lower rates, down to 0.09"):
        train_network(training_item(tmp_path, shards))
    assert not (tmp_path / "weights.safetensors").exists()
    assert sorted((tmp_path / "checkpoints").glob("*.json"))


@pytest.mark.slow
def test_a_damaged_checkpoint_is_passed_over_for_the_one_before(
    tmp_path: Path, shards: Path
) -> None:
    item = training_item(tmp_path / "a", shards)
    train_network(training_item(tmp_path / "whole", shards))
    assert train_and_die(training_item(tmp_path / "a", shards, checkpoint_seconds=0.0), 33)
    newest = max((tmp_path / "a/checkpoints").glob("0*.pt"))
    newest.write_bytes(newest.read_bytes()[:-1000])
    train_network(item)
    name = "weights.safetensors"
    assert sha256(tmp_path / "a" / name) == sha256(tmp_path / "whole" / name)


def test_colours_that_are_none_at_the_end_of_an_epoch_are_a_divergence_too(
    tmp_path: Path, shards: Path
) -> None:
    """One step an epoch: no later step of it would find the loss not finite."""
    rates = {"learning_rate": 1e12, "final_learning_rate": 1e12, "batch": 64, "ema": 0.0}
    with pytest.raises(DivergedError, match="tried with 2 lower rates"):
        train_network(training_item(tmp_path, shards, **rates))


@pytest.mark.slow
def test_a_damaged_best_epoch_is_passed_over_and_later_states_are_kept(
    tmp_path: Path, shards: Path
) -> None:
    train_network(training_item(tmp_path / "whole", shards))
    item = training_item(tmp_path / "a", shards, checkpoint_seconds=0.0)
    assert train_and_die(item, 33)
    folder = tmp_path / "a/checkpoints"
    for best in folder.glob("best-*.pt"):
        best.write_bytes(best.read_bytes()[:-100])
    assert train_and_die(item, 15), "it began again, and is killed again"
    assert max(int(path.name.split("-")[0]) for path in folder.glob("0*.json")) == 15
    train_network(item)
    for name in ("weights.safetensors", "last.safetensors"):
        assert sha256(tmp_path / "a" / name) == sha256(tmp_path / "whole" / name)


def test_a_training_that_is_under_way_has_no_rival(
    tmp_path: Path, shards: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tasks.jobs.training.train._PATIENCE", 0.0)
    with (
        exclusive(tmp_path / ".training.lock", "it"),
        pytest.raises(LockedError, match="alone in the training of birds"),
    ):
        train_network(training_item(tmp_path, shards))
    assert not list(tmp_path.glob("*.safetensors"))


@pytest.mark.parametrize("network", ["unet18", "resnet18"])
def test_a_photo_that_would_be_alone_in_the_last_step_is_not(tmp_path: Path, network: str) -> None:
    odd = write_split(tmp_path / "odd", 9, 2)
    item = training_item(tmp_path / "out", odd, network=network, batch=8, epochs=1)
    train_network(item)
    assert load_history(tmp_path / "out")["loss"].notna().all()


@pytest.mark.slow
def test_a_state_is_taken_up_with_the_threads_that_it_was_saved_with(
    tmp_path: Path, shards: Path
) -> None:
    item = training_item(tmp_path, shards, checkpoint_seconds=0.0)
    assert train_and_die(item, 5)
    record = json.loads(max((tmp_path / "checkpoints").glob("*.json")).read_text())
    assert (record["num_threads"], record["precision"]) == (1, "fp32")
    train_network(replace(item, num_threads=2))
    assert torch.get_num_threads() == 1


@pytest.mark.parametrize("num_photos", [0, 3])
def test_too_few_photos_are_refused_with_what_to_do(tmp_path: Path, num_photos: int) -> None:
    few = write_split(tmp_path / "few", num_photos, 1)
    with pytest.raises(UsageError, match=rf"8 or more .* birds, got {num_photos}.*min_photos"):
        train_network(training_item(tmp_path / "out", few))
    assert not (tmp_path / "out").exists()


def test_a_category_without_validation_photos_is_trained_to_its_last_epoch(tmp_path: Path) -> None:
    alone = write_split(tmp_path / "alone", 12, 0)
    train_network(training_item(tmp_path / "out", alone, epochs=2))
    metadata = load_checkpoint(tmp_path / "out/weights.safetensors").metadata
    assert metadata["metrics"]["epoch"] == 2 and "delta_e" not in metadata["metrics"]


def test_labels_are_learned_where_the_network_can_and_there_are_two(tmp_path: Path) -> None:
    few = write_split(tmp_path / "few", 8, 1)
    item = training_item(tmp_path / "out", few, network="iizuka16", scene=0.1, epochs=1, ema=0.0)
    train_network(item)
    network, metadata = load_colorizer(tmp_path / "out/weights.safetensors")
    assert metadata["num_classes"] == 2 and network.classifier[-1].out_features == 2
    one = write_split(tmp_path / "one", 1, 0)
    with pytest.raises(UsageError, match="two or more labels"):
        train_network(
            training_item(tmp_path / "x", one, network="iizuka16", scene=0.1, min_photos=1)
        )


def test_a_published_release_is_recognised_by_its_keys(tmp_path: Path) -> None:
    torch.manual_seed(1)
    for name in ("eccv16", "siggraph17", "resnet18-trunk"):
        network = build_network(name)
        torch.save(network.state_dict(), tmp_path / f"{name}.pth")
        loaded, metadata = load_colorizer(tmp_path / f"{name}.pth")
        assert metadata["network"] == name
        for key, value in network.state_dict().items():
            assert torch.equal(loaded.state_dict()[key], value)


def test_foreign_truncated_and_unsafe_weights_are_refused(tmp_path: Path, shards: Path) -> None:
    torch.save(torch.nn.Linear(2, 2).state_dict(), tmp_path / "foreign.pth")
    with pytest.raises(WeightsMismatchError, match="of none of them"):
        load_colorizer(tmp_path / "foreign.pth")
    torch.save(build_network("resnet18-trunk").state_dict(), tmp_path / "trunk.pth")
    start = {"init": "file", "init_weights": str(tmp_path / "trunk.pth")}
    with pytest.raises(WeightsMismatchError, match="unet18-layer3 in .*trunk.pth"):
        train_network(training_item(tmp_path / "out", shards, **start))
    whole = (tmp_path / "trunk.pth").read_bytes()
    (tmp_path / "cut.pth").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DamagedError, match="Copy the file again"):
        load_colorizer(tmp_path / "cut.pth")
    torch.save({"x": os.system}, tmp_path / "unsafe.pth")
    with pytest.raises(DamagedError):
        load_colorizer(tmp_path / "unsafe.pth")


def test_training_goes_on_from_a_file_of_the_same_network(tmp_path: Path, shards: Path) -> None:
    train_network(training_item(tmp_path / "first", shards))
    start = {"init": "file", "init_weights": str(tmp_path / "first/weights.safetensors")}
    still = {"learning_rate": 1e-12, "final_learning_rate": 1e-12, "epochs": 1, "ema": 0.0}
    train_network(training_item(tmp_path / "second", shards, **start, **still))
    first, second = (
        load_checkpoint(tmp_path / name / "weights.safetensors").tensors
        for name in ("first", "second")
    )
    gaps = [np.abs(first[k] - second[k]).max() for k in first if k.endswith("conv1.weight")]
    assert max(gaps) < 1e-6


@pytest.mark.parametrize("ema", [0.0, 0.9])
def test_no_epochs_leave_the_weights_that_it_starts_from(
    tmp_path: Path, shards: Path, ema: float
) -> None:
    train_network(training_item(tmp_path / "first", shards, epochs=1))
    start = {"init": "file", "init_weights": str(tmp_path / "first/weights.safetensors")}
    result = train_network(training_item(tmp_path / "same", shards, epochs=0, ema=ema, **start))
    first, same = (load_checkpoint(tmp_path / n / "weights.safetensors") for n in ("first", "same"))
    for key, value in first.tensors.items():
        assert np.array_equal(value, same.tensors[key]), key
    scores = [checkpoint.metadata["metrics"]["delta_e"] for checkpoint in (first, same)]
    assert scores[0] == scores[1] and same.metadata["metrics"]["epoch"] == 0
    assert result.num_photos == 40 and load_history(tmp_path / "same")["epoch"].tolist() == [0]


def test_a_state_that_is_not_finite_is_not_kept(tmp_path: Path, shards: Path) -> None:
    from tasks.jobs.training.loading import open_split
    from tasks.jobs.training.start import build_trainer

    trainer = build_trainer(training_item(tmp_path, shards), open_split(shards, "train"))
    with torch.no_grad():
        next(trainer.network.parameters()).fill_(float("inf"))
    with pytest.raises(DivergedError, match="finite weights"):
        TrainingState(tmp_path).save(trainer)
    assert not list(tmp_path.rglob("*.pt"))
