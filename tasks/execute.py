"""Run one step: decide → prepare → fan out what is left → publish. Every stage goes this way."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from storage.fingerprint import hash_value
from storage.ledger import read_json
from tasks.cluster import Cluster, Item, fan_out
from tasks.config import Workflow
from tasks.jobs.items import ItemResult, peak_mb
from tasks.progress import StepProgress, Terminal
from tasks.stages import StageRef, Step, StepName, decide, prepare, publish, skipped

Record = dict[str, Any]
OnResult = Callable[[ItemResult], None]


class Run:
    """What all tasks of one flow run share. A plain class, so that Prefect does not look inside."""

    def __init__(
        self,
        workflow: Workflow,
        terminal: Terminal,
        cluster: Cluster,
        digests: dict[StepName, str],
        force: Iterable[str] = (),
    ) -> None:
        self.workflow, self.terminal, self.cluster = workflow, terminal, cluster
        self.digests = digests
        """Of published steps that this run leaves out."""
        self.force = frozenset(force)
        """Stages to compute whatever their fingerprint says."""


@dataclass(frozen=True, kw_only=True)
class Published:
    """What a stage makes of its items' records."""

    outputs: Sequence[Path] = ()
    """Files in the step's folder that are not items' own."""
    identity: Any = None
    """What the output is, beside the items' files."""
    counts: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Work:
    """How one stage does its step."""

    items: Callable[[Path], Sequence[Item]]
    """All items of the step, given its folder."""
    job: Callable[[Any], ItemResult]
    finish: Callable[[Path, dict[str, Record]], Published]
    """Given the folder and the records by item name."""
    by_photo: bool = True
    """Whether progress counts photos; else it counts items."""
    watch: Callable[[Path, StepProgress], AbstractContextManager[OnResult]] | None = None
    """Other progress than one unit a photo, for as long as the items run."""


def execute(step: Step, upstream: Iterable[StageRef], run: Run, work: Work) -> StageRef:
    """Bring a step up to date and return its reference; what is done already is not redone."""
    digests = run.digests | {(ref.stage, ref.key): ref.digest for ref in upstream}
    decision = decide(step, digests)
    if step.stage in run.force:
        shutil.rmtree(decision.folder, ignore_errors=True)
    elif decision.action == "skip":
        return skipped(decision)
    started = time.monotonic()
    folder = decision.folder
    done = prepare(decision)
    items = work.items(folder)
    left = [item for item in items if item.name not in done]
    results = _compute(step, run, work, folder, left) if left else []
    records = {item.name: read_json(folder / "done" / f"{item.name}.json") or {} for item in items}
    published = work.finish(folder, records)
    quarantined = [row for record in records.values() for row in record["quarantined"]]
    contents = {
        name: [file["sha256"] for file in record["files"]] for name, record in records.items()
    }
    return publish(
        decision,
        items=records,
        outputs=published.outputs,
        identity=[contents, hash_value(published.identity)],
        quarantined=quarantined,
        counts=published.counts,
        computed=len(left),
        seconds=time.monotonic() - started,
        peak_mb=max([peak_mb(), *(result.peak_mb for result in results)]),
    )


def _compute(
    step: Step, run: Run, work: Work, folder: Path, left: Sequence[Item]
) -> list[ItemResult]:
    total = sum(len(item.photos) for item in left) if work.by_photo else len(left)  # type: ignore[attr-defined]
    progress = StepProgress(run.terminal, step.label, total)
    if work.watch is not None:
        with work.watch(folder, progress) as on_result:
            return fan_out(run.cluster, work.job, left, on_result)
    return fan_out(
        run.cluster,
        work.job,
        left,
        lambda result: progress.advance(result.num_photos if work.by_photo else 1),
    )
