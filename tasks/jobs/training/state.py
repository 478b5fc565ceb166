"""Training that survives being killed: checkpoints, the best epoch so far, the history of epochs.

A checkpoint is a .pt of the whole training state and, written after it, a .json that says what its
bytes must be; without its .json it does not exist.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from colorization.errors import DivergedError
from colorization.training.loop import Trainer
from storage.records.ledger import (
    FileRecord,
    atomic_path,
    damage,
    read_json,
    record_file,
    remove_unnamed,
    write_json,
)
from storage.records.names import CHECKPOINTS_NAME

_KEPT = 2


@dataclass
class TrainingState:
    """What is known of one training beside the trainer's own state."""

    folder: Path
    """The step's."""
    history: list[dict[str, Any]] = field(default_factory=list)
    """One row an epoch."""
    best: dict[str, Any] | None = None
    """The epoch of the lowest validation ΔE00: epoch, delta_e, and the record of its file."""
    rollbacks: list[dict[str, Any]] = field(default_factory=list)
    """Steps at which the loss was not finite, and the rate factor afterwards."""

    def save(self, trainer: Trainer) -> None:
        """Keep the state of a moment between two steps. Raises DivergedError if it is of no use."""
        if not trainer.is_finite():
            raise DivergedError(
                f"Expected finite weights, got NaN or infinity at step {trainer.position.step}. "
                f"Lower learning_rate (now {trainer.recipe.optimization.learning_rate}) and train again."
            )
        name = f"{trainer.position.step:08d}-{len(self.rollbacks)}"
        path = self.folder / CHECKPOINTS_NAME / f"{name}.pt"
        _save(path, trainer.state_dict())
        facts = {
            "history": self.history,
            "best": self.best,
            "rollbacks": self.rollbacks,
            "precision": trainer.precision,
            "num_threads": torch.get_num_threads(),
        }
        record = record_file(self.folder, path).to_dict() | facts
        write_json(path.with_suffix(".json"), record)
        self._drop_old()

    def restore(self, trainer: Trainer) -> None:
        """Load the newest checkpoint whose bytes are as recorded, if there is one.

        Precision and number of threads become those of the checkpoint, so that the result does not
        depend on where training was taken up again. Raises ConfigError where that cannot be.
        """
        for record_path in self._records():
            path, record = record_path.with_suffix(".pt"), read_json(record_path)
            if record is None or self._is_damaged(record):
                record_path.unlink()  # it would count as newer than what is saved from now on
                path.unlink(missing_ok=True)
                continue
            trainer.load_state_dict(torch.load(path, map_location="cpu", weights_only=True))
            trainer.resume_precision(record["precision"])
            torch.set_num_threads(record["num_threads"])
            self.history, self.best = record["history"], record["best"]
            self.rollbacks = record["rollbacks"]
            return

    def _is_damaged(self, record: dict[str, Any]) -> bool:
        files = [record, *([record["best"]["file"]] if record["best"] else [])]
        return any(damage(self.folder, FileRecord.from_dict(file)) for file in files)

    def keep_best(self, trainer: Trainer, delta_e: float) -> None:
        """Keep the published weights if their validation ΔE00 is the lowest yet."""
        if self.best is not None and not delta_e < self.best["delta_e"]:
            return
        epoch = trainer.position.epoch
        path = self.folder / CHECKPOINTS_NAME / f"best-{epoch:05d}.pt"
        _save(path, trainer.published.state_dict())
        file = record_file(self.folder, path).to_dict()
        self.best = {"epoch": epoch, "delta_e": delta_e, "file": file}

    def best_weights(self) -> dict[str, Tensor] | None:
        """The state dict of the best epoch, or None where nothing was validated."""
        if self.best is None:
            return None
        path = self.folder / self.best["file"]["path"]
        state: dict[str, Tensor] = torch.load(path, map_location="cpu", weights_only=True)
        return state

    def clear(self) -> None:
        """Remove all checkpoints: the weights are published."""
        remove_unnamed(self.folder / CHECKPOINTS_NAME, "*")

    def _records(self) -> list[Path]:
        """Of checkpoints, newest first."""
        return sorted((self.folder / CHECKPOINTS_NAME).glob("*.json"), reverse=True)

    def _drop_old(self) -> None:
        for old in self._records()[_KEPT:]:
            old.unlink()
            old.with_suffix(".pt").unlink(missing_ok=True)
        bests = [(read_json(record) or {}).get("best") for record in self._records()]
        needed = {Path(best["file"]["path"]).name for best in (*bests, self.best) if best}
        remove_unnamed(self.folder / CHECKPOINTS_NAME, "best-*.pt", needed)


def _save(path: Path, state: dict[str, Any]) -> None:
    with atomic_path(path) as temporary, temporary.open("wb") as file:
        torch.save(state, file)
