"""Run one step: decide → prepare → fan out what is left → publish. Every stage goes this way."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Protocol

from storage.errors import is_policy, may_pass
from storage.records.fingerprint import hash_value
from storage.records.item_record import ItemRecord, read_item, require_item
from storage.records.ledger import record_path
from storage.records.manifest import Quarantined
from tasks.compute.cluster import Cluster, fan_out
from tasks.config.model import Workflow
from tasks.engine.adoption import adopt, item_key
from tasks.engine.deciding import decide
from tasks.engine.estimate import announce
from tasks.engine.events import EventLog, quarantine_events
from tasks.engine.progress import Page, StepProgress, Terminal
from tasks.engine.publishing import prepare, publish, skipped
from tasks.engine.retry import Retry, forget
from tasks.engine.stages import Decision, StageRef, Step, StepName
from tasks.engine.superseded import drop_records_aside, remove_superseded, set_all_aside
from tasks.jobs.items import ItemResult, PhotoItem, WorkItem, peak_mb
from tasks.jobs.timing import TimedResult, do_timed

OnResult = Callable[[ItemResult], None]


class Ahead(Protocol):
    """Work of a later step that begins while an earlier one is under way."""

    def will_read(self, paths: Callable[[], Iterable[str]]) -> None:
        """Take the paths of all files that the earlier step reads."""
        ...

    def see(self, step: Step, folder: Path, result: ItemResult, cluster: Cluster) -> None:
        """An item of a step is done. folder: of the step."""
        ...

    def settle(self, step: Step) -> None:
        """A step begins: what was begun of it ends first."""
        ...


class Run:
    """What all tasks of one flow run share. A plain class, so that Prefect does not look inside."""

    def __init__(
        self,
        workflow: Workflow,
        terminal: Terminal,
        cluster: Cluster,
        digests: dict[StepName, str],
        force: Iterable[str] = (),
        retry: Retry | None = None,
        events: EventLog | None = None,
        publish: Callable[[Step, StageRef], None] = lambda step, ref: None,
        page: Page | None = None,
        planned: Mapping[StepName, Decision] | None = None,
        *,
        delete: bool = False,
        ahead: Ahead | None = None,
    ) -> None:
        self.workflow, self.terminal, self.cluster = workflow, terminal, cluster
        self.digests = digests
        """Of published steps that this run leaves out."""
        self.force = frozenset(force)
        """Stages to compute whatever their fingerprint says."""
        self.retry = retry
        """Photos to try again; None in a run that is no retry."""
        self.events = events or EventLog(None)
        self.publish = publish
        """What else is done with a step that is up to date: it is put to a URL."""
        self.page = page
        """Prefect's, of this run; None outside of a flow run."""
        self.planned = dict(planned or {})
        """What was decided when the run began; only what hung on other steps is decided later."""
        self.delete = delete
        """Whether outputs without an original are removed."""
        self.ahead = ahead
        """What begins a later step's work while an earlier one reads; None where nothing does."""

    def tries_again(self, code: str) -> bool:
        """Whether an item that holds a photo with this reason code is computed, not adopted."""
        return may_pass(code) or (self.retry is not None and self.retry.wants(code))


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
    finish: Callable[[Path, dict[str, ItemRecord]], Published]
    """Given the folder and the records by item name."""
    by_photo: bool = True
    """Whether progress counts photos; else it counts items."""
    identity: Callable[[Any], Any] | None = None
    """What an item is made of, as JSON; whole items of the folder before are then adopted."""
    reuse: Callable[[Path, list[Any]], tuple[list[Any], set[str]]] | None = None
    """Of the items that are left, given the folder: the same with what is known of their photos, and
    the names of those that are done by that."""
    settle: Callable[[Path], None] | None = None
    """Given the folder of a step that is up to date: note what becomes of other outputs in its tree."""
    sweep: Callable[[], dict[str, int]] | None = None
    """Once the step is current: remove what was noted. Returns counts for the reference."""
    num_bytes: Callable[[Any], int] | None = None
    """What an item will write to the disk, for the estimate before the work."""
    watch: Callable[[Path, StepProgress], AbstractContextManager[OnResult]] | None = None
    """Other progress than one unit a photo, for as long as the items run."""


def execute(step: Step, upstream: Iterable[StageRef], run: Run, work: Work) -> StageRef:
    """Bring a step up to date and return its reference; what is done already is not redone."""
    try:
        return _execute(step, upstream, run, work)
    except Exception as error:
        run.events.write(
            "step_failed", step=step.label, error=str(error), kind=type(error).__name__
        )
        raise


def _execute(step: Step, upstream: Iterable[StageRef], run: Run, work: Work) -> StageRef:
    if run.ahead is not None:
        run.ahead.settle(step)
    digests = run.digests | {(ref.stage, ref.key): ref.digest for ref in upstream}
    decision = _decide_once(step, digests, run)
    forced = step.stage in run.force
    run.events.write(
        "step_decided",
        step=step.label,
        action="run" if forced else decision.action,
        reasons=["forced"] if forced else list(decision.reasons),
        fingerprint=decision.fingerprint,
    )
    earlier = step.workspace.current(step.stage, step.key).resolve()
    if forced:
        step.workspace.unset_current(step.stage, step.key)
        set_all_aside(decision.folder)
    elif decision.action == "skip":
        if work.settle is not None:
            work.settle(decision.folder)
        ref = _swept(decision, work, skipped(decision))
        run.publish(step, ref)
        return ref
    started = time.monotonic()
    folder = decision.folder
    done = prepare(decision)
    if run.retry is not None and not forced:
        done -= forget(folder, step.stage, run.retry, published=decision.published)
    items = list(work.items(folder))
    if work.identity is not None:
        items = _keyed(step, digests, work.identity, items)
        if not forced and earlier != folder.resolve():
            keys = {item.name: item.key for item in items if item.name not in done}
            done |= adopt(
                earlier, folder, step.output_root, keys, run.tries_again, step.hashes.hash
            )
    left = [item for item in items if item.name not in done]
    if work.reuse is not None and not forced:
        left, ready = work.reuse(folder, left)
        left = [item for item in left if item.name not in ready]
    if work.num_bytes is not None and left:
        announce(step, run.terminal, _num_photos(left), sum(work.num_bytes(item) for item in left))
    run.events.write("step_begun", step=step.label, items=len(left), photos=_num_photos(left))
    results = _compute(step, run, work, folder, left) if left else []
    ref = _publish(decision, run, work, items, left, results, time.monotonic() - started)
    ref = _swept(decision, work, ref)
    run.events.write(
        "step_published",
        step=step.label,
        computed=ref.computed,
        counts=ref.counts,
        seconds=ref.seconds,
        folder=ref.folder,
        digest=ref.digest,
    )
    run.publish(step, ref)
    return ref


def _decide_once(step: Step, digests: Mapping[StepName, str], run: Run) -> Decision:
    """What was decided when the run began, if it was decided for the same inputs."""
    planned = run.planned.get(step.name)
    if planned is not None and planned.fingerprint == hash_value(step.parts(digests)):
        return planned
    return decide(step, digests, run.retry)


def _swept(decision: Decision, work: Work, ref: StageRef) -> StageRef:
    """The reference, after what the published step replaced is removed."""
    counts = work.sweep() if work.sweep is not None else {}
    drop_records_aside(decision.folder)
    return replace(ref, counts=ref.counts | counts)


def _publish(
    decision: Decision,
    run: Run,
    work: Work,
    items: Sequence[WorkItem],
    left: Sequence[WorkItem],
    results: Sequence[ItemResult],
    seconds: float,
) -> StageRef:
    """Publish what the records of all items say. left: those that this run computed."""
    folder = decision.folder
    records = {item.name: require_item(record_path(folder, item.name)) for item in items}
    published = work.finish(folder, records)
    if decision.step.output_root is None:
        remove_superseded(folder, records.values())
    quarantined = [row for record in records.values() for row in record.quarantined]
    failed = [row for row in published.quarantined if not is_policy(row.code)]
    quarantine_events(run.events, decision.step.label, failed)
    contents = {
        name: [file.sha256 for file in files]
        for name, record in records.items()
        if (files := record.files)
    }
    return publish(
        decision,
        items=records,
        outputs=published.outputs,
        identity=[contents, hash_value(published.identity)],
        quarantined=[*quarantined, *published.quarantined],
        counts=published.counts,
        computed=len(left),
        computed_photos=_num_photos(left),
        seconds=seconds,
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
    progress = StepProgress(run.terminal, run.page, step.label, total)

    def advance(result: ItemResult) -> None:
        progress.advance(result.num_photos if work.by_photo else 1)

    watched = work.watch(folder, progress) if work.watch is not None else nullcontext(advance)
    with watched as on_result:
        return fan_out(run.cluster, do_timed, left, _reporting(step, run, folder, on_result))


def _reporting(step: Step, run: Run, folder: Path, on_result: OnResult) -> OnResult:
    """`on_result`, after the item's events."""

    def report(result: ItemResult) -> None:
        assert isinstance(result, TimedResult)
        record = read_item(record_path(folder, result.name))
        refused = record.quarantined if record is not None else ()
        failed = [row for row in refused if not is_policy(row.code)]
        quarantine_events(run.events, step.label, failed)
        run.events.write(
            "item_done",
            step=step.label,
            item=result.name,
            photos=result.num_photos,
            quarantined=len(failed),
            seconds=round(result.seconds, 3),
            peak_mb=round(result.peak_mb, 1),
        )
        if run.ahead is not None:
            run.ahead.see(step, folder, result, run.cluster)
        on_result(result)

    return report
