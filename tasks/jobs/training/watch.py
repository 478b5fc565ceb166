"""What people look at while a colorizer learns: progress, TensorBoard, curves, sample sheets."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import numpy as np
from tensorboardX import SummaryWriter

from colorization.colour.lab import decode_lab, lab_to_rgb
from colorization.training.loop import Trainer
from storage.pictures.curves import training_curves
from storage.pictures.sheets import contact_sheet
from storage.records.ledger import write_bytes, write_json
from storage.records.names import CURVES_NAME, EVENTS_FOLDER, PROGRESS_NAME, SAMPLES_FOLDER
from tasks.jobs.training.loading import Split

_PROGRESS_SECONDS = 1.0
_CURVE_SECONDS = 20.0
_SCALAR_STEPS = 10
_NUM_SAMPLES = 6
_OF_EACH = 2
"""Samples of each category, where one network learns several."""


class TrainingWatch:
    """Writes into the step's folder. Nothing here decides anything; a full disk ends it all the same."""

    def __init__(self, folder: Path, title: str, val: Split) -> None:
        self._folder, self._title, self._val = folder, title, val
        self._events: SummaryWriter | None = None
        self._told = self._drawn = 0.0

    def on_step(self, trainer: Trainer, loss: float, val: float | None) -> None:
        """Tell the driver how far training is, at most once a second, and TensorBoard the loss."""
        position = trainer.position
        if position.step % _SCALAR_STEPS == 0:
            events = self._open_events(position.step)
            events.add_scalar("loss/step", loss, position.step)
            events.add_scalar("rate", trainer.optimizer.param_groups[0]["lr"], position.step)
        last = position.step >= trainer.num_steps
        if time.monotonic() - self._told < _PROGRESS_SECONDS and not last:
            return
        self._told = time.monotonic()
        state = {
            "epoch": position.epoch + 1,
            "epochs": trainer.recipe.epochs,
            "step": position.step,
            "steps": trainer.num_steps,
            "loss": loss,
            "val": val,
        }
        write_json(self._folder / PROGRESS_NAME, state)

    def on_epoch(self, trainer: Trainer, history: list[dict[str, Any]], *, sheet: bool) -> None:
        """Scores for TensorBoard; curves when they are some time old; a sheet where it is due."""
        events = self._open_events(trainer.position.step)
        for name, value in history[-1].items():
            if isinstance(value, int | float) and name != "epoch":
                events.add_scalar(f"epoch/{name}", value, history[-1]["epoch"])
        events.flush()
        if time.monotonic() - self._drawn > _CURVE_SECONDS:
            self._drawn = time.monotonic()
            self._draw_curves(history)
        if sheet:
            self._draw_sheet(trainer, history)

    def finish(self, trainer: Trainer, history: list[dict[str, Any]]) -> None:
        """The last curves and the last sheet, also of a training that ended before it was killed."""
        self._draw_curves(history)
        self._draw_sheet(trainer, history)

    def _draw_curves(self, history: list[dict[str, Any]]) -> None:
        if history[-1]["epoch"] == 0:
            return  # nothing was learnt
        write_bytes(self._folder / CURVES_NAME, training_curves(self._title, history))

    def _draw_sheet(self, trainer: Trainer, history: list[dict[str, Any]]) -> None:
        if len(self._val):
            name = f"epoch-{history[-1]['epoch']:04d}.png"
            write_bytes(self._folder / SAMPLES_FOLDER / name, sample_sheet(trainer, self._val))

    def close(self) -> None:
        """Let go of the event file."""
        if self._events is not None:
            self._events.close()

    def _open_events(self, step: int) -> SummaryWriter:
        """Events after `step` that an interrupted process left are no longer shown."""
        if self._events is None:
            folder = str(self._folder / EVENTS_FOLDER)
            self._events = SummaryWriter(folder, purge_step=step, write_to_disk=True)
        return self._events


def watched_files(folder: Path) -> list[Path]:
    """All that was written for people, but for the progress."""
    found = [folder / CURVES_NAME]
    found += sorted((folder / SAMPLES_FOLDER).glob("*.png"))
    return [path for path in found if path.exists()]


def sample_sheet(trainer: Trainer, val: Split) -> bytes:
    """Some validation photos, gray, as colorized and as they are. Returns a PNG's bytes."""
    rows = val.spread(max(_NUM_SAMPLES, _OF_EACH * len(val.categories)))
    stored = val.reader.read(rows)
    L, ab_truth = decode_lab(stored)
    ab = trainer.predict(stored, val.heads_of(rows))
    lines = []
    for i in range(len(stored)):
        pictures = [
            lab_to_rgb(L[i, 0], colours, fit=True)
            for colours in (np.zeros_like(ab[i]), ab[i], ab_truth[i])
        ]
        lines.append((f"photo {rows[i]}", pictures))
    return contact_sheet(("gray", f"epoch {trainer.position.epoch}", "truth"), lines)
