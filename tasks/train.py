"""Train: shards → one colorizer a category, each in a process of its own, or one of them all."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import copy_context
from pathlib import Path

from storage.records.fingerprint import hash_value
from storage.records.item_record import ItemRecord
from storage.records.ledger import read_json
from storage.records.names import (
    CHECKPOINTS_NAME,
    PROGRESS_NAME,
    WEIGHTS_NAME,
)
from tasks.config.model import TrainConfig
from tasks.control import task
from tasks.engine.execute import Published, Run, Work, execute
from tasks.engine.progress import StepProgress
from tasks.engine.stages import StageRef, Step, digest_of
from tasks.graph import SHARED, training_files
from tasks.jobs.items import ItemResult
from tasks.jobs.stage_items import TrainItem

_POLL_SECONDS = 1.0


@task("pretrain")
def pretrain(step: Step, upstream: list[StageRef], run: Run) -> StageRef:
    """Train one network on all categories; it goes on from its last epoch after an interruption."""
    assert run.workflow.pretrain is not None
    return _train(step, upstream, run, run.workflow.pretrain)


@task("train")
def train(step: Step, upstream: list[StageRef], run: Run) -> StageRef:
    """Train one category; it goes on from its last epoch after an interruption."""
    return _train(step, upstream, run, run.workflow.train.of(step.key))


def _train(step: Step, upstream: list[StageRef], run: Run, config: TrainConfig) -> StageRef:
    workspace = step.workspace
    learned = [name for name in step.upstream if name[0] == "preprocess"]

    def items(folder: Path) -> list[TrainItem]:
        files = training_files(config, step.key, run.workflow.categories)
        if config.init == "pretrained":
            files["init"] = workspace.current("pretrain", SHARED).resolve() / WEIGHTS_NAME
        digests = {key: digest_of(workspace, stage, key) for stage, key in learned}
        compute = run.workflow.compute
        return [
            TrainItem(
                name="weights",
                folder=str(folder),
                category=step.key,
                shards=tuple(str(workspace.current(*name).resolve()) for name in learned),
                data_digest=digests.get(step.key) or hash_value(digests),
                recipe=config.build_recipe().to_dict(),
                seed=config.seed,
                init=config.init,
                init_weights=str(files["init"]) if "init" in files else None,
                perceptual_weights=str(files["perceptual"]) if "perceptual" in files else None,
                license=config.license,
                min_photos=config.min_photos,
                num_threads=run.cluster.slots.threads,
                device=compute.device if run.cluster.slots.device != "cpu" else "cpu",
                checkpoint_seconds=compute.checkpoint_seconds,
                sheet_every=compute.sheet_every,
                categories=_joint_categories(step, config),
                every=run.workflow.categories,
            )
        ]

    work = Work(items=items, finish=_finish, by_photo=False, watch=_watch)
    return execute(step, upstream, run, work)


def _joint_categories(step: Step, config: TrainConfig) -> tuple[str, ...]:
    """Those that learn a head each of one network, in the order of what it learns from."""
    if step.key != SHARED or not config.build_recipe().has_palettes:
        return ()
    return tuple(key for stage, key in step.upstream if stage == "preprocess")


@contextmanager
def _watch(folder: Path, progress: StepProgress) -> Iterator[Callable[[ItemResult], None]]:
    """Show the steps that the training process writes down."""
    finished = threading.Event()

    def poll() -> None:
        shown = None
        last = False
        while not last:
            last = finished.wait(_POLL_SECONDS)
            state = read_json(folder / PROGRESS_NAME)
            if state is not None and state != shown:
                shown = state
                note = f"epoch {state['epoch']}/{state['epochs']} loss {state['loss']:.4g}"
                note += f" val ΔE {state['val']:.2f}" if state["val"] else ""
                progress.set(state["step"], note, total=state["steps"])

    # the thread runs in this task's context, without which Prefect would not know whose progress it is
    thread = threading.Thread(target=copy_context().run, args=(poll,), daemon=True)
    thread.start()
    try:
        yield lambda result: None
    finally:
        finished.set()
        thread.join()


def _finish(folder: Path, records: Mapping[str, ItemRecord]) -> Published:
    (folder / PROGRESS_NAME).unlink(missing_ok=True)
    shutil.rmtree(folder / CHECKPOINTS_NAME, ignore_errors=True)
    record = records["weights"]
    num_rollbacks, num_epochs = record.facts["rollbacks"], record.facts["epochs"]
    rollbacks = {"rollbacks": num_rollbacks} if num_rollbacks else {}
    counts = {"done": record.num_photos, "epochs": num_epochs, **rollbacks}
    return Published(counts=counts)
