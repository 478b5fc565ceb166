"""Before the work: photos, bytes to be written, time; and whether the disk can hold it."""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from storage.errors import OutputError
from storage.records.workspace import Workspace
from storage.sources.selecting import select_files
from storage.sources.source import open_source
from storage.sources.walk import without_twins
from tasks.engine.progress import Terminal
from tasks.engine.stages import Decision, Step, StepName
from tasks.engine.verification import read_success

STORED_SHARE = 0.65
"""Bytes of a shard per byte of its pixels: zstd level 1 on photos (facts/pipeline.md: 241 of 403)."""
_RESERVE = 64 << 20
"""Left free on the disk for records and tables, bytes."""
_USUAL_RATES = {"ingest": 250.0, "preprocess": 150.0}
"""Photos a second, until a run of the step has been timed: 1.4 megapixels on two cores."""


@dataclass(frozen=True, slots=True)
class Estimate:
    """What a step is about to do."""

    num_photos: int
    num_bytes: int
    seconds: float

    def __str__(self) -> str:
        size = f"{self.num_bytes / 1e6:,.0f} MB to write, " if self.num_bytes else ""
        return f"{self.num_photos:,} photos, {size}about {_duration(self.seconds)}"

    def to_dict(self) -> dict[str, Any]:
        """As JSON."""
        return {
            "photos": self.num_photos,
            "bytes": self.num_bytes,
            "seconds": round(self.seconds, 1),
        }


def announce(step: Step, terminal: Terminal, num_photos: int, num_bytes: int) -> None:
    """Say what is about to be done. Raises OutputError when the disk cannot hold it."""
    estimate = Estimate(num_photos, num_bytes, _seconds(step, num_photos))
    terminal.message(f"{step.label}: {estimate}")
    require_space(step.workspace.root, num_bytes)


def require_space(folder: Path, num_bytes: int) -> None:
    """Raise OutputError when the disk of an existing folder has less than this free."""
    free = shutil.disk_usage(folder).free
    if num_bytes + _RESERVE > free:
        raise OutputError(
            f"Expected room for {num_bytes / 1e6:,.0f} MB at {folder}, the disk has "
            f"{free / 1e6:,.0f} MB free. Free some, or choose another workspace."
        )


def forecast(decisions: Iterable[Decision]) -> dict[StepName, Estimate]:
    """Estimates of the ingest and preprocess steps that a run would compute.

    A dataset that is not ingested yet is counted by its files; what is adopted is not known before.
    """
    found: dict[StepName, Estimate] = {}
    num_listed: dict[str, int] = {}
    for decision in decisions:
        step = decision.step
        if decision.action == "skip" or step.stage not in _USUAL_RATES:
            continue
        if step.stage == "ingest":
            asked = {name: step.config[name] for name in ("follow", "include", "encoding")}
            listing = open_source(step.place, **asked).listing()
            chosen = step.config["include"], step.config["exclude"]
            kept = without_twins(select_files(listing, *chosen))
            num_photos = len(kept.files)
            num_listed[step.key] = min(num_photos, step.config["limit"] or num_photos)
            found[step.name] = Estimate(num_photos, 0, _seconds(step, num_photos))
            continue
        num_photos = num_listed.get(step.key) or _num_ingested(step.workspace, step.key)
        num_bytes = int(num_photos * photo_bytes(step.config) * step.config["variants"])
        found[step.name] = Estimate(num_photos, num_bytes, _seconds(step, num_photos))
    return found


def photo_bytes(config: Mapping[str, Any]) -> float:
    """What one stored row takes on the disk, of a preprocess config."""
    return 3 * float(config["size"]) ** 2 * STORED_SHARE


def _num_ingested(workspace: Workspace, key: str) -> int:
    success = read_success(workspace.current("ingest", key))
    return success.counts["done"] if success else 0


def _seconds(step: Step, num_photos: int) -> float:
    """By the rate of the step's last run, or the usual one."""
    rate = _USUAL_RATES.get(step.stage, 100.0)
    success = read_success(step.workspace.current(step.stage, step.key))
    if success and success.computed_photos and success.seconds:
        rate = success.computed_photos / success.seconds
    return num_photos / rate


def _duration(seconds: float) -> str:
    if seconds < 100:
        return f"{max(seconds, 1):.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 6000 else f"{seconds / 3600:.1f} h"
