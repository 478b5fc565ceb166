"""One category's training in a process of its own: resume, epochs, rollback, weights, card."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from colorization.errors import DivergedError
from colorization.lab import decode_lab
from colorization.networks import LABEL_NETWORKS, build_network
from colorization.networks.contract import Colorizer
from colorization.objective import needs_statistics
from colorization.perceptual import PerceptualDistance
from colorization.recipes import Recipe
from colorization.scores import colourfulness_of, mean_scores, photo_scores
from colorization.statistics import ColourStatistics, colour_statistics
from colorization.training import Trainer
from storage.checkpoints import CARD_NAME, WEIGHTS_NAME, save_checkpoint
from storage.errors import UsageError
from storage.ledger import record_file, write_bytes
from storage.manifest import write_table
from tasks.jobs.items import ItemResult, WorkItem, commit_item
from tasks.jobs.loading import Split, epoch_batches, open_split
from tasks.jobs.models import load_state, load_weights
from tasks.jobs.training_state import TrainingState
from tasks.jobs.training_watch import TrainingWatch, card_table, watched_files

METRICS_NAME = "metrics.parquet"
OTHER_WEIGHTS = {"best": "last.safetensors", "last": "best.safetensors"}
"""By what the recipe publishes as weights.safetensors: the file of the other epoch."""
_EVAL_BATCH = 16
_STATISTICS_PHOTOS = 2048
_MOST_ROLLBACKS = 2
_ROLLBACK_FACTOR = 0.3
_TIMES = ("seconds", "wait_share")
"""Columns of the history that differ from run to run."""


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
    init_weights: str | None
    perceptual_weights: str | None
    license: str
    min_photos: int
    num_threads: int
    """torch threads; 0 for all that the process may use."""
    device: str
    checkpoint_seconds: float
    sheet_every: int


def train_category(item: TrainItem) -> ItemResult:
    """Train to the recipe's last epoch, from the newest whole checkpoint if there is one.

    Raises UsageError for too few photos, DivergedError when lower rates did not help either.
    """
    if item.num_threads:
        torch.set_num_threads(item.num_threads)
    folder = Path(item.folder)
    train = open_split(Path(item.shards), "train")
    val = open_split(Path(item.shards), "val", train.label_names)
    if len(train) < item.min_photos:
        raise UsageError(
            f"Expected {item.min_photos} or more usable training photos of {item.category}, got "
            f"{len(train)}. Add photos, or lower [train] min_photos; `chromaflow status` lists "
            "what was refused."
        )
    folder.mkdir(parents=True, exist_ok=True)
    trainer = build_trainer(item, train)
    state = TrainingState(folder)
    state.restore(trainer)
    known = baselines(val)
    watch = TrainingWatch(folder, item.category, val)
    batches = epoch_batches(train, trainer.recipe.batch, item.seed, item.device)
    try:
        while not _is_finished(trainer, state):
            try:
                _one_epoch(item, trainer, state, watch, batches, val, known)
            except DivergedError as error:
                trainer = _go_back(item, train, trainer, state, error)
    finally:
        watch.close()
    return _finish(
        item, trainer, state, num_train=len(train), num_classes=_num_classes(item, train)
    )


def build_trainer(item: TrainItem, train: Split) -> Trainer:
    """A trainer at its first step; the same for the same item."""
    recipe = Recipe.from_dict(item.recipe)
    torch.manual_seed(item.seed)
    perceptual = None
    if item.perceptual_weights:
        perceptual = PerceptualDistance(load_weights(Path(item.perceptual_weights))[0])
    return Trainer(
        _initial_network(item, recipe, train),
        recipe,
        num_photos=len(train),
        seed=item.seed,
        device=item.device,
        statistics=_statistics(train) if needs_statistics(recipe.objective) else None,
        perceptual=perceptual,
    )


def validate(trainer: Trainer, val: Split) -> dict[str, Any]:
    """Mean scores over the validation split; empty without photos."""
    scores = []
    for stored in val.reader.batches(_EVAL_BATCH):
        L, ab_truth = decode_lab(stored)
        ab = trainer.predict(stored)
        scores += [photo_scores(*photo) for photo in zip(L, ab, ab_truth, strict=True)]
    return mean_scores(scores) if scores else {}


def baselines(val: Split) -> dict[str, float]:
    """What scores are read against: those of gray, and the truth's colourfulness."""
    gray, colourful = [], []
    for stored in val.reader.batches(_EVAL_BATCH):
        for L, truth in zip(*decode_lab(stored), strict=True):
            gray.append(photo_scores(L, np.zeros_like(truth), truth))
            colourful.append(colourfulness_of(L, truth))
    if not gray:
        return {}
    return {
        "gray_delta_e": float(np.mean([score["delta_e"] for score in gray])),
        "gray_ab_rmse": float(np.mean([score["ab_rmse"] for score in gray])),
        "truth_colourfulness": float(np.mean(colourful)),
    }


def _one_epoch(
    item: TrainItem,
    trainer: Trainer,
    state: TrainingState,
    watch: TrainingWatch,
    batches: Callable[[int, int], Any],
    val: Split,
    known: dict[str, float],
) -> None:
    """The rest of the epoch under way, its validation, and a checkpoint after it."""
    started = saved = time.monotonic()

    def on_step(loss: float) -> None:
        nonlocal saved
        watch.on_step(trainer, loss, state.history[-1].get("delta_e") if state.history else None)
        if time.monotonic() - saved >= item.checkpoint_seconds:
            state.save(trainer)
            saved = time.monotonic()

    position = trainer.position
    result = trainer.train_epoch(batches(position.epoch, position.epoch_step), on_step)
    scores = validate(trainer, val)
    row = {"epoch": position.epoch, "loss": result.loss, **scores, **known}
    times = {"seconds": round(time.monotonic() - started, 2), "wait_share": result.wait_share}
    state.history.append(row | times)
    if scores:
        state.keep_best(trainer, scores["delta_e"])
    state.save(trainer)
    watch.on_epoch(
        trainer,
        state.history,
        sheet=position.epoch % item.sheet_every == 0,
        last=_is_finished(trainer, state),
    )


def _is_finished(trainer: Trainer, state: TrainingState) -> bool:
    """Whether the last epoch is done, or no epoch has been better for the recipe's patience."""
    epoch, recipe = trainer.position.epoch, trainer.recipe
    if epoch >= recipe.epochs:
        return True
    best = state.best["epoch"] if state.best else epoch
    return bool(recipe.patience) and epoch - best >= recipe.patience


def _go_back(
    item: TrainItem, train: Split, trainer: Trainer, state: TrainingState, error: DivergedError
) -> Trainer:
    """To the last good checkpoint, or to the start, with a lower rate. Raises after two times."""
    rollbacks = state.rollbacks
    if len(rollbacks) >= _MOST_ROLLBACKS:
        rates = f"{len(rollbacks)} lower rates, down to {trainer.position.rate_factor:.2g} of it"
        raise DivergedError(f"{error} It was tried with {rates}.") from error
    step = trainer.position.step
    again = build_trainer(item, train)
    state.history, state.best = [], None
    state.restore(again)
    again.position.rate_factor *= _ROLLBACK_FACTOR
    state.rollbacks = [
        *state.rollbacks,
        {"step": step, "to": again.position.step, "rate_factor": again.position.rate_factor},
    ]
    state.save(again)
    return again


def _initial_network(item: TrainItem, recipe: Recipe, train: Split) -> Colorizer:
    network = build_network(recipe.network, num_classes=_num_classes(item, train))
    if item.init_weights is None:
        return network
    path = Path(item.init_weights)
    weights, _ = load_weights(path)
    if item.init in ("encoder", "imagenet"):
        network.load_encoder(weights)
    else:
        load_state(network, weights, path, recipe.network)
    return network


def _num_classes(item: TrainItem, train: Split) -> int:
    """Labels that the network learns: only some can, and one label is none."""
    learns = item.recipe["network"] in LABEL_NETWORKS and item.recipe["scene"] > 0
    if not learns:
        return 0
    if len(train.label_names) < 2:
        raise UsageError(
            f"Expected two or more labels of {item.category} for scene over 0, got "
            f"{len(train.label_names)}. Use a dataset with labels, or scene = 0."
        )
    return len(train.label_names)


def _statistics(train: Split) -> ColourStatistics:
    """Of at most some thousand photos, evenly spread."""
    rows = train.reader.rows
    picked = rows[np.unique(np.linspace(0, len(rows) - 1, _STATISTICS_PHOTOS).round().astype(int))]
    parts = np.array_split(picked, -(-len(picked) // 64))
    return colour_statistics((train.batch(part) for part in parts), len(train.label_names))


def _finish(
    item: TrainItem, trainer: Trainer, state: TrainingState, num_train: int, num_classes: int
) -> ItemResult:
    """Publish the weights that the recipe asks for, the others beside them, metrics and card."""
    folder, recipe, history = Path(item.folder), trainer.recipe, state.history
    last = trainer.published.state_dict()
    best = state.best_weights() or last
    best_epoch = state.best["epoch"] if state.best else history[-1]["epoch"]
    chosen, other = (best, last) if recipe.publish == "best" else (last, best)
    epoch, other_epoch = best_epoch, history[-1]["epoch"]
    if recipe.publish == "last":
        epoch, other_epoch = other_epoch, epoch
    metadata = {
        "kind": "colorizer",
        "network": recipe.network,
        "num_classes": num_classes,
        "category": item.category,
        "recipe": recipe.to_dict(),
        "init": item.init,
        "seed": item.seed,
        "device": torch.device(item.device).type,
        "precision": trainer.precision,
        "data_digest": item.data_digest,
        "num_train": num_train,
        "license": item.license,
        "rollbacks": state.rollbacks,
    }
    metrics = {row["epoch"]: _lasting(row) for row in history}
    _save_weights(folder / WEIGHTS_NAME, chosen, metadata | {"metrics": metrics[epoch]})
    other_path = folder / OTHER_WEIGHTS[recipe.publish]
    _save_weights(other_path, other, metadata | {"metrics": metrics[other_epoch]})
    columns = list(dict.fromkeys(key for row in history for key in row))
    write_table(folder / METRICS_NAME, history, columns)
    card = model_card(metadata | {"metrics": metrics[epoch], "epochs_trained": len(history)})
    write_bytes(folder / CARD_NAME, card.encode())
    extras = [folder / METRICS_NAME, folder / CARD_NAME, other_path, *watched_files(folder)]
    result = commit_item(
        item,
        files=[record_file(folder, folder / WEIGHTS_NAME)],
        extras=[record_file(folder, path) for path in extras],
        num_photos=num_train,
        quarantined=[],
        epochs=len(history),
        rollbacks=len(state.rollbacks),
    )
    state.clear()
    return result


def _lasting(row: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in row.items() if key not in _TIMES}


def _save_weights(path: Path, state: dict[str, Tensor], metadata: dict[str, Any]) -> None:
    weights = {key: value.cpu().numpy() for key, value in state.items()}
    save_checkpoint(path, weights, metadata, half=False)


def model_card(metadata: dict[str, Any]) -> str:
    """The card beside a weights file, from the same provenance that its header holds."""
    facts = {
        "network": metadata["network"],
        "starts from": metadata["init"],
        "training photos": metadata["num_train"],
        "data digest": metadata["data_digest"],
        "epochs trained": metadata["epochs_trained"],
        "published epoch": metadata["metrics"]["epoch"],
        "returns to an earlier state": len(metadata["rollbacks"]),
        "seed": metadata["seed"],
        "device": metadata["device"],
        "precision": metadata["precision"],
        "license": metadata["license"],
    }
    return f"""# Colorizer for {metadata["category"]}

| field | value |
|---|---|
{card_table(facts)}

## Recipe

| key | value |
|---|---|
{card_table(metadata["recipe"])}

## Metrics of the published epoch on the validation split

| metric | value |
|---|---|
{card_table(metadata["metrics"])}

## Limits

Colours are conjecture: the network has seen only photos of this category, and a gray photo
does not hold the truth. Do not use its output as evidence of historical colour.
"""
