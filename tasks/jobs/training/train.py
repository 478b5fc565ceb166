"""One network's training in a process of its own: resume, epochs, rollback, weights, card."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from colorization.colour.lab import decode_lab
from colorization.compute import resolve_device
from colorization.errors import DivergedError
from colorization.metrics.scores import colourfulness_of, mean_scores, photo_scores
from colorization.networks import LABELS, build_network, networks_that
from colorization.networks.contract import Colorizer
from colorization.training.loop import Trainer
from colorization.training.objective import needs_statistics
from colorization.training.perceptual import PerceptualDistance
from colorization.training.recipes import Recipe
from colorization.training.statistics import ColourStatistics, colour_statistics
from storage.errors import UsageError
from storage.records.ledger import exclusive, record_file
from tasks.jobs.items import ItemResult, commit_item, spread_evenly
from tasks.jobs.machine import available_cores
from tasks.jobs.networks import load_state, load_weights
from tasks.jobs.stage_items import TrainItem
from tasks.jobs.training.loading import Split, epoch_batches, open_splits
from tasks.jobs.training.results import write_results
from tasks.jobs.training.state import TrainingState
from tasks.jobs.training.watch import TrainingWatch, watched_files

_EVAL_BATCH = 16
_STATISTICS_PHOTOS = 2048
_LARGEST_AB = 1e4
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
    train = open_splits(shards, "train")
    val = open_splits(shards, "val", train.label_names)
    if len(train) < item.min_photos:
        raise UsageError(
            f"Expected {item.min_photos} or more usable training photos of {item.category}, got "
            f"{len(train)}. Add photos, or lower [train] min_photos; `chromaflow status` lists "
            "what was refused."
        )
    folder.mkdir(parents=True, exist_ok=True)
    # a job on another machine may outlive the run that sent it, and must not have a rival
    with exclusive(folder / _LOCK_NAME, f"the training of {item.category} in {folder}", _PATIENCE):
        return _train(item, train, val)


def _train(item: TrainItem, train: Split, val: Split) -> ItemResult:
    folder = Path(item.folder)
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
        watch.finish(trainer, state.history)
    finally:
        watch.close()
    return _finish(item, trainer, state, train)


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
    """Mean scores over the validation split; empty without photos.

    Raises DivergedError for colours that are none: the last step of an epoch may have diverged.
    """
    scores = []
    for stored in val.reader.batches(_EVAL_BATCH):
        L, ab_truth = decode_lab(stored)
        ab = trainer.predict(stored)
        if not np.abs(ab).max() < _LARGEST_AB:
            raise DivergedError(
                f"Expected ab within ±{_LARGEST_AB:.0f}, got {np.abs(ab).max():.3g} after step "
                f"{trainer.position.step}. Lower learning_rate "
                f"(now {trainer.recipe.optimization.learning_rate}) and train again."
            )
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
    learns = item.recipe["network"] in networks_that(LABELS) and item.recipe["scene"] > 0
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
    picked = rows[spread_evenly(len(rows), _STATISTICS_PHOTOS)]
    parts = np.array_split(picked, -(-len(picked) // 64))
    return colour_statistics((train.batch(part) for part in parts), len(train.label_names))


def _finish(item: TrainItem, trainer: Trainer, state: TrainingState, train: Split) -> ItemResult:
    """Publish the weights that the recipe asks for, the others beside them, metrics and card."""
    folder = Path(item.folder)
    metadata = {
        "kind": "colorizer",
        "network": trainer.recipe.network,
        "num_classes": _num_classes(item, train),
        "category": item.category,
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
    weights, *others = write_results(folder, trainer, state, metadata)
    result = commit_item(
        item,
        files=[record_file(folder, weights)],
        extras=[record_file(folder, path) for path in (*others, *watched_files(folder))],
        num_photos=len(train),
        quarantined=[],
        epochs=len(state.history),
        rollbacks=len(state.rollbacks),
    )
    state.clear()
    return result
