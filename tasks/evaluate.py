"""Evaluate: a trained expert on its validation split, beside baselines."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from colorization.metrics.scores import SCORE_NAMES
from storage.records.item_record import ItemRecord
from storage.records.names import RESULTS_NAME
from storage.records.tables import read_table
from tasks.control import task
from tasks.engine.execute import Published, Run, Work, execute
from tasks.engine.stages import StageRef, Step
from tasks.jobs.stage_items import METHODS, EvaluateItem


@task("evaluate")
def evaluate(step: Step, upstream: list[StageRef], run: Run) -> StageRef:
    """Score one category's expert."""

    def items(folder: Path) -> list[EvaluateItem]:
        current = step.workspace.current
        return [
            EvaluateItem(
                name="results",
                folder=str(folder),
                category=step.key,
                shards=str(current("preprocess", step.key).resolve()),
                trained=str(current("train", step.key).resolve()),
                num_threads=run.cluster.slots.threads,
            )
        ]

    work = Work(items=items, finish=_finish, by_photo=False)
    return execute(step, upstream, run, work)


def score_table(ref: StageRef) -> list[dict[str, Any]]:
    """Mean scores of each method over a category's validation photos."""
    results = read_table(Path(ref.folder) / RESULTS_NAME)
    if results.empty:
        return []
    means: dict[Any, dict[Any, Any]] = (
        results.groupby("method")[list(SCORE_NAMES)].mean().to_dict("index")
    )
    return [
        {"category": ref.key, "method": method}
        | {name: round(float(means[method][name]), 2) for name in SCORE_NAMES}
        for method in METHODS
    ]


def _finish(folder: Path, records: Mapping[str, ItemRecord]) -> Published:
    return Published(counts={"done": records["results"].num_photos})
