"""What the report shows of other runs and of trainings: the history of the folder, curves, scores, samples."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from storage.records.ledger import (
    link_or_copy,
    read_json,
    remove_unnamed,
    write_json,
)
from storage.records.page_data import write_page_data
from storage.records.workspace import Workspace
from tasks.queries.runs import history
from tasks.queries.trainings import trainings
from tasks.report.commands import compare_command

HISTORY_NAME = "history.json"
_HISTORY_SCRIPT, _TRAINING_SCRIPT = "history.js", "training.js"
_SAMPLES_FOLDER = "training"
_MOST_RUNS = 200
"""On the page; `chromaflow history` has all."""


def write_history(workspace: Workspace, folder: Path, output: str | None) -> None:
    """Write the newest runs, for the page and as JSON. folder: of the report. Raises OutputError.

    Runs that were written before are not read again, but for the newest of them: it went on after that.
    """
    before = (read_json(folder / HISTORY_NAME) or {}).get("runs", ())
    known = {run["run_id"]: run for run in before[1:]}
    runs = history(workspace, _MOST_RUNS, known)
    value = {"runs": runs, "compare": compare_command(output)}
    write_json(folder / HISTORY_NAME, value)
    write_page_data(folder / _HISTORY_SCRIPT, "history", value)


def write_trainings(workspace: Workspace, folder: Path) -> int:
    """Write what trainings came to, with a link to each one's samples. Returns how many there are."""
    found = trainings(workspace)
    wanted: set[str] = set()
    for one in found:
        if one["samples"] is not None:
            one["samples"] = _link_samples(Path(one["samples"]), folder, one, wanted)
    samples = folder / _SAMPLES_FOLDER
    if samples.is_dir():
        remove_unnamed(samples, "*.png", wanted)
    if found:
        write_page_data(folder / _TRAINING_SCRIPT, "trainings", found)
    else:
        (folder / _TRAINING_SCRIPT).unlink(missing_ok=True)
    return len(found)


def _link_samples(source: Path, folder: Path, one: dict[str, Any], wanted: set[str]) -> str:
    """Link a sheet beside the page. Returns its path from there."""
    name = f"{one['stage']}-{one['category']}-{one['fingerprint']}-{source.name}"
    wanted.add(name)
    target = folder / _SAMPLES_FOLDER / name
    if not target.exists():
        target.parent.mkdir(exist_ok=True)
        link_or_copy(source, target, over=True)
    return f"{_SAMPLES_FOLDER}/{name}"
