"""One category's training in a process of its own: resume, epochs with checkpoints, weights, card."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from colorization.lab import decode_lab
from colorization.networks import build_network
from colorization.recipes import Recipe
from colorization.scores import mean_scores, photo_scores
from colorization.training import Trainer
from storage.checkpoints import CARD_NAME, WEIGHTS_NAME, load_checkpoint, save_checkpoint
from storage.errors import NoInputError
from storage.ledger import atomic_path, read_json, record_file, write_bytes, write_json
from storage.manifest import read_table, write_table
from storage.shard_reader import ShardReader
from tasks.jobs.items import ItemResult, WorkItem, commit_item
from tasks.jobs.models import load_state, tensors
from tasks.jobs.preprocess import STORE_NAME

PROGRESS_NAME = "progress.json"
METRICS_NAME = "metrics.parquet"
_EVAL_BATCH = 16
_KEPT_CHECKPOINTS = 2


@dataclass(frozen=True, kw_only=True)
class TrainItem(WorkItem):
    """One category."""

    category: str
    shards: str
    """The preprocess step's folder."""
    data_digest: str
    recipe: dict[str, Any]
    seed: int
    init: str
    """scratch, encoder or starter."""
    init_weights: str | None
    num_threads: int


def train_category(item: TrainItem) -> ItemResult:
    """Train to the recipe's last epoch, from the newest whole checkpoint if there is one."""
    torch.set_num_threads(item.num_threads)
    torch.manual_seed(item.seed)
    folder, recipe = Path(item.folder), Recipe(**item.recipe)
    train, val = open_split(Path(item.shards), "train"), open_split(Path(item.shards), "val")
    if not len(train):
        raise NoInputError(
            f"Expected training photos of {item.category}, got none usable. "
            "See its quarantine with `chromaflow status`."
        )
    trainer = Trainer(
        _initial_network(item, recipe), recipe, steps_per_epoch=-(-len(train) // recipe.batch)
    )
    first, history = _resume(folder, trainer)
    for epoch in range(first, recipe.epochs):
        started = time.monotonic()
        rng = np.random.default_rng([item.seed, epoch])
        watch = _progress_writer(folder, epoch, trainer.num_steps, history)
        batches = train.shuffled_batches(recipe.batch, (item.seed, epoch))
        result = trainer.train_epoch(batches, rng, watch)
        scores = validate(trainer, val)
        seconds = round(time.monotonic() - started, 2)
        history.append({"epoch": epoch + 1, "loss": result.loss, "seconds": seconds, **scores})
        _save_epoch(folder, epoch, trainer, history)
    return _finish(item, recipe, trainer, history, num_train=len(train))


def open_split(preprocessed: Path, split: str) -> ShardReader:
    """A reader over the photos of one split that rows.parquet lists."""
    rows = read_table(preprocessed / "rows.parquet")
    listed = rows.loc[rows["split"] == split, "row"].to_numpy(np.int64)
    return ShardReader(preprocessed / STORE_NAME, split, listed)


def validate(trainer: Trainer, val: ShardReader) -> dict[str, Any]:
    """Mean scores over the validation split."""
    scores = []
    for stored in val.batches(_EVAL_BATCH):
        L, ab_truth = decode_lab(stored)
        ab = trainer.predict(stored)
        scores += [photo_scores(*photo) for photo in zip(L, ab, ab_truth, strict=True)]
    return mean_scores(scores)


def _initial_network(item: TrainItem, recipe: Recipe) -> nn.Module:
    network = build_network(recipe.network)
    if item.init_weights is None:
        return network
    path = Path(item.init_weights)
    state = tensors(load_checkpoint(path).tensors)
    if item.init == "encoder":
        network.encoder.load_backbone(state)  # type: ignore[operator, union-attr]
    else:
        load_state(network, state, path, recipe.network)
    return network


def _progress_writer(
    folder: Path, epoch: int, num_steps: int, history: list[dict[str, Any]]
) -> Callable[[int, float], None]:
    """Tell the driver how far training is, at most once a second; not durable on purpose."""
    last = 0.0

    def write(step: int, loss: float) -> None:
        nonlocal last
        if time.monotonic() - last < 1.0 and step < num_steps:
            return
        last = time.monotonic()
        val = history[-1].get("delta_e") if history else None
        state = {"epoch": epoch + 1, "step": step, "steps": num_steps, "loss": loss, "val": val}
        temporary = folder / f".{PROGRESS_NAME}.partial"
        temporary.write_text(json.dumps(state))
        temporary.replace(folder / PROGRESS_NAME)

    return write


def _checkpoints(folder: Path) -> list[Path]:
    """Checkpoint records, newest first."""
    return sorted((folder / "checkpoints").glob("*.json"), reverse=True)


def _save_epoch(folder: Path, epoch: int, trainer: Trainer, history: list[dict[str, Any]]) -> None:
    path = folder / "checkpoints" / f"{epoch:04d}.pt"
    with atomic_path(path) as temporary, temporary.open("wb") as file:
        torch.save(trainer.state_dict() | {"epoch": epoch}, file)
    record = record_file(folder, path).to_dict() | {"history": history}
    write_json(path.with_suffix(".json"), record)
    for old in _checkpoints(folder)[_KEPT_CHECKPOINTS:]:
        old.unlink()
        old.with_suffix(".pt").unlink(missing_ok=True)


def _resume(folder: Path, trainer: Trainer) -> tuple[int, list[dict[str, Any]]]:
    """Load the newest checkpoint whose bytes are as recorded. Returns the next epoch and history."""
    for record_path in _checkpoints(folder):
        record, path = read_json(record_path), record_path.with_suffix(".pt")
        if record is None or not path.exists():
            continue
        if record_file(folder, path).sha256 != record["sha256"]:
            continue
        trainer.load_state_dict(torch.load(path, map_location="cpu", weights_only=True))
        return int(record_path.stem) + 1, record["history"]
    return 0, []


def _finish(
    item: TrainItem, recipe: Recipe, trainer: Trainer, history: list[dict[str, Any]], num_train: int
) -> ItemResult:
    folder = Path(item.folder)
    metadata = {
        "kind": "colorizer",
        "network": recipe.network,
        "category": item.category,
        "recipe": recipe.to_dict(),
        "init": item.init,
        "seed": item.seed,
        "precision": trainer.precision,
        "data_digest": item.data_digest,
        "num_train": num_train,
        "metrics": {k: v for k, v in history[-1].items() if k != "seconds"},
    }
    weights = {key: value.numpy() for key, value in trainer.network.state_dict().items()}
    save_checkpoint(folder / WEIGHTS_NAME, weights, metadata, half=False)
    write_table(folder / METRICS_NAME, history, history[-1].keys())
    write_bytes(folder / CARD_NAME, model_card(metadata).encode())
    weights_file, *extras = (
        record_file(folder, folder / name) for name in (WEIGHTS_NAME, METRICS_NAME, CARD_NAME)
    )
    result = commit_item(
        item,
        files=[weights_file],
        extras=extras,
        num_photos=num_train,
        quarantined=[],
        epochs=len(history),
    )
    for record in _checkpoints(folder):
        record.unlink()
        record.with_suffix(".pt").unlink(missing_ok=True)
    return result


def model_card(metadata: dict[str, Any]) -> str:
    """The card beside a weights file, from the same provenance that its header holds."""
    recipe = "\n".join(f"| {key} | {value} |" for key, value in metadata["recipe"].items())
    metrics = "\n".join(f"| {key} | {value} |" for key, value in metadata["metrics"].items())
    return f"""# Colorizer for {metadata["category"]}

| field | value |
|---|---|
| network | {metadata["network"]} |
| starts from | {metadata["init"]} |
| training photos | {metadata["num_train"]} |
| data digest | {metadata["data_digest"]} |
| seed | {metadata["seed"]} |
| precision | {metadata["precision"]} |
| license | as the training photos allow; not stated |

## Recipe

| key | value |
|---|---|
{recipe}

## Metrics of the last epoch on the validation split

| metric | value |
|---|---|
{metrics}

## Limits

Colours are conjecture: the network has seen only photos of this category, and a gray photo
does not hold the truth. Do not use its output as evidence of historical colour.
"""
