"""Plan and run a workflow inside this thread, without Prefect and Dask.

The decisions, the jobs and the files are those of a run; only who calls them differs. `FrozenDisk`
ends a run like a kill: from one moment on nothing more reaches the disk.
"""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from flows.pipeline import TASKS
from storage.records.names import EVENTS_NAME
from storage.records.workspace import Workspace
from tasks.compute.slots import Slots
from tasks.config.model import Workflow
from tasks.engine.events import EventLog, read_events
from tasks.engine.execute import Run
from tasks.engine.retry import Retry
from tasks.engine.stages import Decision, StageRef, StepName
from tasks.graph import build_steps, plan, select
from tasks.jobs.items import ItemResult, WorkItem

_WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT
_CHANGES = {
    "os.rename": (0, 1),
    "os.remove": (0,),
    "os.link": (1,),
    "os.symlink": (1,),
    "os.mkdir": (0,),
    "os.rmdir": (0,),
    "shutil.rmtree": (0,),
}
"""Audit events that change a folder: which of their arguments are paths."""


class Killed(BaseException):  # noqa: N818 - no error of ours, so that nothing handles it
    """Raised instead of changing the disk after the kill."""


class FrozenDisk:
    """Counts changes below a folder, and refuses all of them from a given one on."""

    def __init__(self) -> None:
        self._root, self._left = "", 0
        self._active = self.struck = False
        self._lock = threading.Lock()
        sys.addaudithook(self._watch)

    @contextmanager
    def after(self, num_changes: int, root: Path) -> Iterator[FrozenDisk]:
        """Let so many changes below `root` through while the block runs, and no more."""
        self._root, self._left = f"{root}/", num_changes
        self._active, self.struck = True, False
        try:
            yield self
        finally:
            self._active = False

    def _watch(self, event: str, arguments: tuple[Any, ...]) -> None:
        if not self._active:
            return
        if event == "open":
            flags = arguments[2]
            if not isinstance(flags, int) or not flags & _WRITES:
                return
            paths = arguments[:1]
        elif event in _CHANGES:
            paths = tuple(arguments[place] for place in _CHANGES[event])
        else:
            return
        if any(self._is_below(path) for path in paths):
            with self._lock:
                self._left -= 1
                if self._left < 0:
                    self.struck = True
            if self.struck:
                raise Killed(event)

    def _is_below(self, path: Any) -> bool:
        if not isinstance(path, str | os.PathLike):
            return False
        text = os.fspath(path)
        return isinstance(text, str) and text.startswith(self._root)


class QuietTerminal:
    """Shows nothing."""

    def update(self, label: str, done: int, total: int, note: str) -> None:
        """Of `tasks.engine.progress.Terminal`."""

    def message(self, text: str) -> None:
        """Of `tasks.engine.progress.Terminal`."""


class InlineCluster:
    """Jobs are done in this thread, one after another: see `done_here`."""

    slots = Slots(1, 1, "cpu")


def done_here(
    cluster: Any,
    job: Callable[[Any], ItemResult],
    items: Iterable[WorkItem],
    on_result: Callable[[ItemResult], None],
) -> list[ItemResult]:
    """What `tasks.compute.cluster.fan_out` does, without Dask."""
    results = []
    for item in items:
        results.append(job(item))
        on_result(results[-1])
    return results


@dataclass
class Outcome:
    """What a run was going to do, and did."""

    planned: dict[StepName, Decision]
    refs: dict[StepName, StageRef] = field(default_factory=dict)
    failures: dict[StepName, Exception] = field(default_factory=dict)
    decided: dict[str, tuple[str, list[str]]] = field(default_factory=dict)
    """Action and reasons of each step that was reached, by label, as its events say."""


def run_workflow(
    workflow: Workflow,
    *,
    until: str = "colorize",
    retry: Retry | None = None,
    delete: bool = False,
) -> Outcome:
    """What `flows.pipeline.run_stages` does, in this thread. A failed step stops those after it."""
    workspace = Workspace(workflow.workspace)
    workspace.create()
    with workspace.lock():
        every_step = build_steps(workflow)
        outcome = Outcome(plan(every_step, retry))
        folder = workspace.runs / f"{len(list(workspace.runs.glob('*'))):06d}"
        folder.mkdir(parents=True)
        with EventLog(folder / EVENTS_NAME) as events:
            run = Run(
                workflow,
                QuietTerminal(),
                InlineCluster(),
                {},
                retry=retry,
                events=events,
                delete=delete,
            )
            for step in select(every_step, until_stage=until):
                if any(name in outcome.failures for name in step.upstream):
                    outcome.failures[step.name] = next(iter(outcome.failures.values()))
                    continue
                upstream = [outcome.refs[name] for name in step.upstream]
                try:
                    outcome.refs[step.name] = TASKS[step.stage].fn(step, upstream, run)
                except Exception as error:  # noqa: BLE001 - held to what is expected by the caller
                    outcome.failures[step.name] = error
        found = [event for event in read_events(folder) if event["event"] == "step_decided"]
        outcome.decided = {e["step"]: (e["action"], e["reasons"]) for e in found}
    return outcome


def write_expert(path: Path, seed: int = 0) -> None:
    """Weights of the smallest network, untrained."""
    import torch  # seconds, for tests without networks

    from colorization.networks import build_network
    from storage.records.checkpoints import save_checkpoint

    torch.manual_seed(seed)
    network = build_network("resnet18-trunk", num_classes=0)
    weights = {key: value.numpy() for key, value in network.state_dict().items()}
    save_checkpoint(path, weights, {"network": "resnet18-trunk", "num_classes": 0}, half=False)
