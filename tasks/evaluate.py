"""Evaluate: a trained expert on its validation split, beside baselines."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from storage.records.item_record import ItemRecord
from tasks.control import task
from tasks.engine.execute import Published, Run, Work, execute
from tasks.engine.stages import StageRef, Step
from tasks.jobs.stage_items import EvaluateItem
from tasks.weights.models import starter_file


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
                starter=str(path) if (path := starter_file(step.key).path).is_file() else "",
                num_threads=run.cluster.slots.threads,
            )
        ]

    work = Work(items=items, finish=_finish, by_photo=False)
    return execute(step, upstream, run, work)


def _finish(folder: Path, records: Mapping[str, ItemRecord]) -> Published:
    return Published(counts={"done": records["results"].num_photos})
