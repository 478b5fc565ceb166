"""What a training leaves for good: weights of the best and the last epoch, metrics, a model card."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from colorization.training.loop import Trainer
from storage.records.checkpoints import save_checkpoint
from storage.records.ledger import write_bytes
from storage.records.names import CARD_NAME, METRICS_NAME, WEIGHTS_NAME
from storage.records.tables import REAL, WHOLE, write_table
from tasks.jobs.training.loading import Split
from tasks.jobs.training.palettes import with_palettes
from tasks.jobs.training.state import TrainingState

OTHER_WEIGHTS = {"best": "last.safetensors", "last": "best.safetensors"}
"""By what the recipe publishes as weights.safetensors: the file of the other epoch."""
_FIRST = ("epoch", "loss")
_OF_HEADS = {
    "parent": "starts as the category",
    "heads": "heads",
    "heads_without_photos": "heads that have learnt nothing",
    "palettes": "palettes",
}
"""Metadata that only some networks have → how the card says it."""
_TIMES = ("seconds", "wait_share")
"""Columns of the history that differ from run to run."""


def write_results(
    folder: Path, trainer: Trainer, state: TrainingState, train: Split, metadata: dict[str, Any]
) -> list[Path]:
    """Write all files. Returns their paths, the published weights first.

    train: of which palettes are fitted, where the network has some. metadata: provenance for the header
    of the weights and for the card.
    """
    publish, history = trainer.recipe.publish, [_ordered(row) for row in state.history]
    metrics = {row["epoch"]: _lasting(row) for row in history}
    last_epoch, last = history[-1]["epoch"], trainer.published.state_dict()
    best_epoch = state.best["epoch"] if state.best else last_epoch
    epochs = {"last": (last_epoch, last), "best": (best_epoch, state.best_weights() or last)}
    paths = [folder / WEIGHTS_NAME, folder / OTHER_WEIGHTS[publish]]
    other = "last" if publish == "best" else "best"
    fitted = {epoch: with_palettes(trainer, of, train) for epoch, of in epochs.values()}
    for path, which in zip(paths, (publish, other), strict=True):
        epoch = epochs[which][0]
        weights, palettes = fitted[epoch]
        _save(path, weights, metadata | palettes | {"metrics": metrics[epoch]})
    names = dict.fromkeys(key for row in history for key in row)
    columns = {name: WHOLE if name == "epoch" else REAL for name in names}
    write_table(folder / METRICS_NAME, history, columns)
    published = epochs[publish][0]
    facts = fitted[published][1] | {"metrics": metrics[published], "epochs_trained": last_epoch}
    write_bytes(folder / CARD_NAME, model_card(metadata | facts).encode())
    return [*paths, folder / METRICS_NAME, folder / CARD_NAME]


def _ordered(row: dict[str, Any]) -> dict[str, Any]:
    """Epoch and loss, then the rest by name: rows read back from a checkpoint lost their order."""
    first = {key: row[key] for key in _FIRST if key in row}
    return first | {key: row[key] for key in sorted(row.keys() - first.keys())}


def _lasting(row: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in row.items() if key not in _TIMES}


def _save(path: Path, state: Mapping[str, Tensor], metadata: dict[str, Any]) -> None:
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
    for key, said in _OF_HEADS.items():
        if value := metadata.get(key):
            facts[said] = value if isinstance(value, str) else ", ".join(value)
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

Colours are conjecture: the network has seen only photos of {_seen(metadata)}, and a gray photo
does not hold the truth. Do not use its output as evidence of historical colour.
"""


def _seen(metadata: dict[str, Any]) -> str:
    """Whose photos it has learnt from, in words."""
    without = metadata.get("heads_without_photos", [])
    names = [name for name in metadata.get("heads", []) if name not in without]
    return ", ".join(names) or "this category"


def card_table(values: Mapping[str, Any]) -> str:
    """Markdown rows of names and values."""
    return "\n".join(f"| {key} | {value} |" for key, value in values.items())
