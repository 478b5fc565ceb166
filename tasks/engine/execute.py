"""Run one step: decide → prepare → fan out what is left → publish. Every stage goes this way."""

from __future__ import annotations

import time
from collections.abc import Callable, Container, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from copy import copy
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Protocol

from storage.errors import is_policy, may_pass
from storage.records.fingerprint import hash_contents, hash_list, hash_value
from storage.records.item_record import ItemRecord, ItemRecords, read_item
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
Reuse = Callable[[Any], tuple[Any, bool]]
"""Of an item: the same with what is known of its photos, and whether it is done by that."""


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
    """What the output is, beside the items' files, as JSON; of an iterator the list of what it gives."""
    counts: dict[str, int] = field(default_factory=dict)
    quarantined: Sequence[Quarantined] = ()
    """Photos that no item could use but the stage as a whole, beside those of the records."""


@dataclass(frozen=True, kw_only=True)
class Work:
    """How one stage does its step."""

    items: Callable[[Path], Sequence[WorkItem]]
    """All items of the step, given its folder. Each may be made when it is asked for, and more than once:
    those of a million photos are never there at a time."""
    finish: Callable[[Path, Mapping[str, ItemRecord]], Published]
    """Given the folder and the records by item name, read when they are asked for."""
    by_photo: bool = True
    """Whether progress counts photos; else it counts items."""
    identity: Callable[[Any], Any] | None = None
    """What an item is made of, as JSON; whole items of the folder before are then adopted."""
    reuse: Callable[[Path], Reuse | None] | None = None
    """Given the folder: what is known already of the photos of an item; None where nothing is."""
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
    items = _Items(step, digests, work, work.items(folder))
    if work.identity is not None and not forced and earlier != folder.resolve():
        keys = {name: key for name, key in items.keys.items() if name not in done}
        done |= adopt(earlier, folder, step.output_root, keys, run.tries_again, step.hashes.hash)
    left = items.without(done)
    if work.reuse is not None and not forced:
        left.take_over(work.reuse(folder))
    if work.num_bytes is not None and left.names:
        announce(step, run.terminal, left.num_photos, sum(map(work.num_bytes, left.made())))
    run.events.write("step_begun", step=step.label, items=len(left.names), photos=left.num_photos)
    most_mb = _compute(step, run, work, folder, left) if left.names else 0.0
    ref = _publish(decision, run, work, items.names, left, most_mb, time.monotonic() - started)
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
    names: Sequence[str],
    left: _Items,
    most_mb: float,
    seconds: float,
) -> StageRef:
    """Publish what the records of all items say. left: those that this run computed."""
    folder = decision.folder
    records = ItemRecords(folder, names)
    published = work.finish(folder, records)
    if decision.step.output_root is None:
        remove_superseded(folder, records.values())
    quarantined: list[Quarantined] = []

    def contents() -> Iterator[tuple[str, list[str]]]:
        for name in sorted(records):
            record = records[name]
            quarantined.extend(record.quarantined)
            if files := record.files:
                yield name, [file.sha256 for file in files]

    identity = published.identity
    own = hash_list(identity) if isinstance(identity, Iterator) else hash_value(identity)
    digest = hash_contents(contents(), own)
    failed = [row for row in published.quarantined if not is_policy(row.code)]
    quarantine_events(run.events, decision.step.label, failed)
    return publish(
        decision,
        items=records,
        outputs=published.outputs,
        digest=digest,
        quarantined=[*quarantined, *published.quarantined],
        counts=published.counts,
        computed=len(left.names),
        computed_photos=left.num_photos,
        seconds=seconds,
        peak_mb=max(peak_mb(), most_mb),
    )


class _Items:
    """A step's items: name, key and number of photos of each, and the items as they are made."""

    def __init__(
        self, step: Step, digests: Mapping[StepName, str], work: Work, items: Sequence[WorkItem]
    ) -> None:
        parts = step.parts(digests)
        self._items = items
        self._places: dict[str, int] = {}
        self._photos: dict[str, int] = {}
        self.keys: dict[str, str] = {}
        """By name; empty where the stage says nothing of what an item is made of."""
        self._reuse: Reuse | None = None
        self._partly: set[str] = set()
        for place, item in enumerate(items):
            self._places[item.name] = place
            self._photos[item.name] = len(item.photos) if isinstance(item, PhotoItem) else 0
            if work.identity is not None:
                self.keys[item.name] = item_key(step, parts, work.identity(item))

    @property
    def names(self) -> list[str]:
        """Of all, in their order."""
        return list(self._places)

    @property
    def num_photos(self) -> int:
        """Of all."""
        return sum(self._photos.values())

    def without(self, done: Container[str]) -> _Items:
        """The same but for these."""
        left = copy(self)
        left._places = {name: place for name, place in self._places.items() if name not in done}
        left._photos = {name: self._photos[name] for name in left._places}
        return left

    def made(self) -> Iterator[WorkItem]:
        """Each of them, one after another."""
        for name, place in self._places.items():
            item = replace(self._items[place], key=self.keys.get(name, ""))
            yield self._reuse(item)[0] if self._reuse and name in self._partly else item

    def take_over(self, reuse: Reuse | None) -> None:
        """Let go of those that are done by what is known; the others will be given it."""
        if reuse is None:
            return
        done = set()
        for item in self.made():
            found, is_done = reuse(item)
            if is_done:
                done.add(item.name)
            elif found != item:
                self._partly.add(item.name)
        self._reuse = reuse
        self._places = {name: place for name, place in self._places.items() if name not in done}
        self._photos = {name: self._photos[name] for name in self._places}


def _compute(step: Step, run: Run, work: Work, folder: Path, left: _Items) -> float:
    """Have what is left done. Returns the most memory that a process took, MB."""
    total = left.num_photos if work.by_photo else len(left.names)
    progress = StepProgress(run.terminal, run.page, step.label, total)

    def advance(result: ItemResult) -> None:
        progress.advance(result.num_photos if work.by_photo else 1)

    watched = work.watch(folder, progress) if work.watch is not None else nullcontext(advance)
    with watched as on_result:
        report = _reporting(step, run, folder, on_result)
        results = fan_out(run.cluster, do_timed, left.made(), report)
    return max((result.peak_mb for result in results), default=0.0)


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
