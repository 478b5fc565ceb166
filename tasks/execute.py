"""Run one step: decide → prepare → fan out what is left → publish. Every stage goes this way."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from storage.fingerprint import hash_value
from storage.ledger import read_json, record_path
from storage.manifest import Quarantined
from tasks.adoption import adopt, item_key
from tasks.cluster import Cluster, fan_out
from tasks.config import Workflow
from tasks.estimate import announce
from tasks.jobs.items import ItemResult, PhotoItem, WorkItem, do_item, peak_mb
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
    quarantined: Sequence[Quarantined] = ()
    """Photos that no item could use but the stage as a whole, beside those of the records."""


@dataclass(frozen=True, kw_only=True)
class Work:
    """How one stage does its step."""

    items: Callable[[Path], Sequence[WorkItem]]
    """All items of the step, given its folder."""
    finish: Callable[[Path, dict[str, Record]], Published]
    """Given the folder and the records by item name."""
    by_photo: bool = True
    """Whether progress counts photos; else it counts items."""
    identity: Callable[[Any], Any] | None = None
    """What an item is made of, as JSON; whole items of the folder before are then adopted."""
    num_bytes: Callable[[Any], int] | None = None
    """What an item will write to the disk, for the estimate before the work."""
    watch: Callable[[Path, StepProgress], AbstractContextManager[OnResult]] | None = None
    """Other progress than one unit a photo, for as long as the items run."""


def execute(step: Step, upstream: Iterable[StageRef], run: Run, work: Work) -> StageRef:
    """Bring a step up to date and return its reference; what is done already is not redone."""
    digests = run.digests | {(ref.stage, ref.key): ref.digest for ref in upstream}
    decision = decide(step, digests)
    earlier = step.workspace.current(step.stage, step.key).resolve()
    if step.stage in run.force:
        step.workspace.unset_current(step.stage, step.key)
        shutil.rmtree(decision.folder, ignore_errors=True)
    elif decision.action == "skip":
        return skipped(decision)
    started = time.monotonic()
    folder = decision.folder
    done = prepare(decision)
    items = list(work.items(folder))
    if work.identity is not None:
        items = _keyed(step, digests, work.identity, items)
        if step.stage not in run.force and earlier != folder.resolve():
            keys = {item.name: item.key for item in items if item.name not in done}
            done |= adopt(earlier, folder, step.output_root, keys)
    left = [item for item in items if item.name not in done]
    if work.num_bytes is not None and left:
        announce(step, run.terminal, _num_photos(left), sum(work.num_bytes(item) for item in left))
    results = _compute(step, run, work, folder, left) if left else []
    records = {item.name: read_json(record_path(folder, item.name)) or {} for item in items}
    published = work.finish(folder, records)
    quarantined = [row for record in records.values() for row in record["quarantined"]]
    quarantined += [row.to_dict() for row in published.quarantined]
    contents = {
        name: [file["sha256"] for file in record["files"]]
        for name, record in records.items()
        if record["files"]
    }
    return publish(
        decision,
        items=records,
        outputs=published.outputs,
        identity=[contents, hash_value(published.identity)],
        quarantined=quarantined,
        counts=published.counts,
        computed=len(left),
        computed_photos=_num_photos(left),
        seconds=time.monotonic() - started,
        peak_mb=max([peak_mb(), *(result.peak_mb for result in results)]),
    )


def _keyed(
    step: Step,
    digests: Mapping[StepName, str],
    identity: Callable[[Any], Any],
    items: Iterable[WorkItem],
) -> list[WorkItem]:
    parts = step.parts(digests)
    return [replace(item, key=item_key(step, parts, identity(item))) for item in items]


def _num_photos(items: Iterable[WorkItem]) -> int:
    return sum(len(item.photos) for item in items if isinstance(item, PhotoItem))


def _compute(
    step: Step, run: Run, work: Work, folder: Path, left: Sequence[WorkItem]
) -> list[ItemResult]:
    total = _num_photos(left) if work.by_photo else len(left)
    progress = StepProgress(run.terminal, step.label, total)
    if work.watch is not None:
        with work.watch(folder, progress) as on_result:
            return fan_out(run.cluster, do_item, left, on_result)
    return fan_out(
        run.cluster,
        do_item,
        left,
        lambda result: progress.advance(result.num_photos if work.by_photo else 1),
    )
