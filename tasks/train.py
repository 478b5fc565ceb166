"""Train: shards → one colorizer a category, each in a process of its own."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from prefect import task
from prefect.cache_policies import NO_CACHE

from storage.ledger import read_json
from tasks.execute import Published, Record, Run, Work, execute
from tasks.graph import init_weights_path
from tasks.jobs.items import ItemResult
from tasks.jobs.train import PROGRESS_NAME, TrainItem, train_category
from tasks.progress import StepProgress
from tasks.stages import StageRef, Step, digest_of

_POLL_SECONDS = 1.0


@task(name="train", task_run_name="train-{step.key}", cache_policy=NO_CACHE)
def train(step: Step, upstream: list[StageRef], run: Run) -> StageRef:
    """Train one category; it goes on from its last epoch after an interruption."""

    def items(folder: Path) -> list[TrainItem]:
        init = init_weights_path(run.workflow, step.key)
        recipe = run.workflow.train.build_recipe()
        return [
            TrainItem(
                name="weights",
                folder=str(folder),
                category=step.key,
                shards=str(step.workspace.current("preprocess", step.key).resolve()),
                data_digest=digest_of(step.workspace, "preprocess", step.key),
                recipe=recipe.to_dict(),
                seed=step.config["seed"],
                init=step.config["init"],
                init_weights=str(init) if init else None,
                num_threads=run.cluster.num_threads,
            )
        ]

    work = Work(items=items, job=train_category, finish=_finish, by_photo=False, watch=_watch)
    return execute(step, upstream, run, work)


@contextmanager
def _watch(folder: Path, progress: StepProgress) -> Iterator[Callable[[ItemResult], None]]:
    """Show the steps that the training process writes down."""
    finished = threading.Event()

    def poll() -> None:
        shown = None
        while not finished.wait(_POLL_SECONDS):
            state = read_json(folder / PROGRESS_NAME)
            if state is not None and state != shown:
                shown = state
                note = f"epoch {state['epoch']} loss {state['loss']:.1f}"
                note += f" val ΔE {state['val']:.2f}" if state["val"] else ""
                progress.set(state["step"], note, total=state["steps"])

    thread = threading.Thread(target=poll, daemon=True)
    thread.start()
    try:
        yield lambda result: None
    finally:
        finished.set()
        thread.join()


def _finish(folder: Path, records: dict[str, Record]) -> Published:
    (folder / PROGRESS_NAME).unlink(missing_ok=True)
    record = records["weights"]
    return Published(counts={"done": record["num_photos"], "epochs": record["epochs"]})
