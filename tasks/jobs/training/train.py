"""One network's training in a process of its own: resume, epochs, rollback, weights, card."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from colorization.compute import resolve_device
from colorization.errors import DivergedError
from colorization.training.loop import Trainer
from storage.errors import UsageError
from storage.records.ledger import exclusive, record_file
from tasks.jobs.items import ItemResult, commit_item
from tasks.jobs.machine import available_cores
from tasks.jobs.stage_items import TrainItem
from tasks.jobs.training.loading import Split, epoch_batches, open_splits
from tasks.jobs.training.results import write_results
from tasks.jobs.training.start import build_trainer, num_classes, num_heads
from tasks.jobs.training.state import TrainingState
from tasks.jobs.training.validation import baselines, validate
from tasks.jobs.training.watch import TrainingWatch, watched_files

_LOCK_NAME = ".training.lock"
_PATIENCE = 30.0
"""Seconds that the workers of a killed run may take to end."""
_MOST_ROLLBACKS = 2
_ROLLBACK_FACTOR = 0.3


def train_network(item: TrainItem) -> ItemResult:
    """Train to the recipe's last epoch, from the newest whole checkpoint if there is one.

    Raises UsageError for too few photos, DivergedError when lower rates did not help either.
    """
    torch.set_num_threads(item.num_threads or available_cores())
    item = replace(item, device=resolve_device(item.device))
    folder = Path(item.folder)
    shards = [Path(shards) for shards in item.shards]
    train = open_splits(shards, "train", categories=item.categories, every=item.every)
    val = open_splits(shards, "val", train.label_names, item.categories, item.every)
    _check_counts(item, train)
    folder.mkdir(parents=True, exist_ok=True)
    # a job on another machine may outlive the run that sent it, and must not have a rival
    with exclusive(folder / _LOCK_NAME, f"the training of {item.category} in {folder}", _PATIENCE):
        return _train(item, train, val)


def _check_counts(item: TrainItem, train: Split) -> None:
    """Raise UsageError for too few photos: of each category, where each learns a head of its own."""
    counts = dict.fromkeys(item.categories, 0) or {item.category: len(train)}
    counts |= {photos.name: len(photos) for photos in train.categories}
    table = "train" if item.category in item.every.names else "pretrain"
    for name, count in counts.items():
        if count < item.min_photos:
            raise UsageError(
                f"Expected {item.min_photos} or more usable training photos of {name}, got {count}. "
                f"Add photos, or lower [{table}] min_photos; `chromaflow status` lists what was refused."
            )


def _train(item: TrainItem, train: Split, val: Split) -> ItemResult:
    folder = Path(item.folder)
    trainer = build_trainer(item, train)
    state = TrainingState(folder)
    state.restore(trainer)
    known = baselines(val)
    watch = TrainingWatch(folder, item.category, val)
    batches = epoch_batches(train, trainer.recipe.batch, item.seed, item.device)
    try:
        if not trainer.recipe.epochs:
            trainer.network.eval()
            state.history = [{"epoch": 0, **validate(trainer, val), **known}]
        while not _is_finished(trainer, state):
            try:
                _one_epoch(item, trainer, state, watch, batches, val, known)
            except DivergedError as error:
                trainer = _go_back(item, train, trainer, state, error)
        watch.finish(trainer, state.history)
    finally:
        watch.close()
    return _finish(item, trainer, state, train)


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
    recipe = trainer.recipe
    due = position.epoch % recipe.validate_every == 0 or position.epoch >= recipe.epochs
    scores = validate(trainer, val) if due else {}
    row = {"epoch": position.epoch, "loss": result.loss, **scores, **known}
    times = {"seconds": round(time.monotonic() - started, 2), "wait_share": result.wait_share}
    state.history.append(row | times)
    if scores:
        state.keep_best(trainer, scores["delta_e"])
    state.save(trainer)
    watch.on_epoch(trainer, state.history, sheet=position.epoch % item.sheet_every == 0)


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


def _finish(item: TrainItem, trainer: Trainer, state: TrainingState, train: Split) -> ItemResult:
    """Publish the weights that the recipe asks for, the others beside them, metrics and card."""
    folder = Path(item.folder)
    metadata = {
        "kind": "colorizer",
        "network": trainer.recipe.network,
        "num_classes": num_classes(item, train),
        "category": item.category,
        **_heads(item, train),
        **({"parent": parent} if (parent := _parent(item)) else {}),
        "recipe": trainer.recipe.to_dict(),
        "init": item.init,
        "seed": item.seed,
        "device": torch.device(item.device).type,
        "precision": trainer.precision,
        "data_digest": item.data_digest,
        "num_train": len(train),
        "license": item.license,
        "rollbacks": state.rollbacks,
    }
    weights, *others = write_results(folder, trainer, state, train, metadata)
    result = commit_item(
        item,
        files=[record_file(folder, weights)],
        extras=[record_file(folder, path) for path in (*others, *watched_files(folder))],
        num_photos=len(train),
        quarantined=[],
        epochs=trainer.position.epoch,
        rollbacks=len(state.rollbacks),
    )
    state.clear()
    return result


def _parent(item: TrainItem) -> str:
    """As which category of the paper one's own begins; empty for the paper's, and where it does not."""
    starts = item.init in ("starter", "file") and item.category in item.every.names
    parent = item.every.parent(item.category) if starts else ""
    return parent if parent != item.category else ""


def _heads(item: TrainItem, train: Split) -> dict[str, Any]:
    """What the metadata says of a network that has a head for each of several categories."""
    if not item.categories:
        return {}
    learnt = {photos.name for photos in train.categories}
    return {
        "num_heads": num_heads(item),
        "heads": list(item.every.names),
        "heads_without_photos": [name for name in item.every.names if name not in learnt],
    }
