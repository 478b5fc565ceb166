"""The stage engine: fingerprint, decision with reasons, skip rule, publish.

`plan` and `run` ask the same `decide`, so what `plan` says is what `run` does (decision 024). Prefect's own cache
stays "Cached" after a helper changed or an output was deleted (facts/pipeline.md), so files and
fingerprints decide and Prefect runs every task.
"""

from __future__ import annotations

import os
import platform
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

from storage.errors import DamagedError, is_policy
from storage.records import ledger
from storage.records.fingerprint import hash_file, hash_value
from storage.records.item_record import read_item
from storage.records.known_hashes import KnownHashes
from storage.records.manifest import QUARANTINE_COLUMNS, Quarantined
from storage.records.names import QUARANTINE_NAME, SUCCESS_NAME
from storage.records.success_record import SuccessRecord
from storage.records.tables import write_table
from storage.records.workspace import Workspace
from tasks.engine.changes import as_json, changes
from tasks.engine.module_hashes import module_hash
from tasks.engine.retry import Retry, find_again
from tasks.engine.source_news import SourceNews
from tasks.engine.stage_code import StageCode
from tasks.engine.superseded import set_aside
from tasks.engine.verification import (
    damage_reasons,
    find_damage,
    places,
    read_success,
    source_at,
    write_success,
)

StepName = tuple[str, str]
"""(stage, key), e.g. ("train", "birds")."""

_LISTING = "listing"
"""Among a step's inputs: names, sizes and times of its source's files."""
_VERSIONS = ("numpy", "opencv-python-headless", "pillow", "torch", "torchvision", "zarr")


@dataclass(frozen=True, kw_only=True)
class Step:
    """One stage for one key, with everything that decides its output."""

    stage: str
    key: str
    workspace: Workspace
    code: StageCode
    config: dict[str, Any]
    upstream: tuple[StepName, ...] = ()
    inputs: dict[str, str] = field(default_factory=dict)
    """Hashes of what comes from outside the workspace beside `news`: weights files."""
    output_root: Path | None = None
    """Where its files go, when not into its own folder (colorized photos)."""
    place: str = ""
    """Where its source lies; like `output_root` in no fingerprint, as both may be moved."""
    news: SourceNews | None = None
    """Its source and what differs in it, where it has one."""
    hashes: KnownHashes = field(default_factory=KnownHashes, compare=False, repr=False)
    """Shared by all steps of a workspace."""

    @property
    def name(self) -> StepName:
        """(stage, key)."""
        return self.stage, self.key

    @property
    def label(self) -> str:
        """stage/key."""
        return f"{self.stage}/{self.key}"

    def places(self) -> dict[str, Any]:
        """Where its source and its outputs lie, kept in _SUCCESS.json."""
        return places(self.workspace, self.place, self.output_root)

    def parts(self, digests: Mapping[StepName, str]) -> dict[str, Any]:
        """What the fingerprint is made of, kept in stage.json so that `plan` can name a change.

        digests: of its upstream outputs, as far as they are known.
        """
        hashes = {name: module_hash(name, self.hashes) for name in self.code.modules()}
        return {
            "schema": self.code.schema,
            "config": self.config,
            "inputs": self.inputs | ({_LISTING: self.news.digest} if self.news else {}),
            "upstream": {
                "/".join(name): digests[name] for name in self.upstream if name in digests
            },
            "modules": hashes,
        }


@dataclass(frozen=True, kw_only=True)
class Decision:
    """What a run would do with a step, and why."""

    step: Step
    action: str
    """skip; partial (some items are left, damaged or tried again); run; look (only reading the source
    tells whether anything changed); or depends (on what a step before it gives)."""
    reasons: tuple[str, ...]
    fingerprint: str | None = None
    """None while an upstream step must be run or looked at first."""
    digest: str | None = None
    """Of the output, when it is known already."""
    published: bool = False
    """Whether its folder is whole as it was published."""

    @property
    def folder(self) -> Path:
        """The step's folder at this fingerprint."""
        if self.fingerprint is None:
            raise ValueError(f"Expected a decision on {self.step.label} with a fingerprint.")
        return self.step.workspace.stage_dir(self.step.stage, self.step.key, self.fingerprint)


@dataclass(frozen=True, kw_only=True)
class StageRef:
    """A small pointer to a published step; what Prefect tasks pass to each other."""

    stage: str
    key: str
    folder: str
    digest: str
    computed: int
    """Items computed in this run; 0 when the step was skipped."""
    counts: dict[str, int]
    """done, quarantined, … as the stage published them."""
    seconds: float
    peak_mb: float


def decide(
    step: Step, digests: Mapping[StepName, str | None], retry: Retry | None = None
) -> Decision:
    """Skip, finish or run a step.

    digests: of its upstream outputs; None for one that must run. retry: photos to try again in a
    step that would be skipped.
    """
    parts = step.parts({name: digest for name, digest in digests.items() if digest})
    waiting = [name for name in step.upstream if digests.get(name) is None]
    if waiting:
        return _decide_waiting(step, parts, waiting)
    fingerprint = hash_value(parts)
    folder = step.workspace.stage_dir(step.stage, step.key, fingerprint)
    success = read_success(folder)
    published, digest = False, success.digest if success is not None else None
    if success is not None:
        reasons = _damage(step, folder, success)
        published = not reasons
        if published and retry is not None and (reasons := find_again(folder, retry)):
            digest = None  # a photo that can be used now changes it
        action = "partial" if reasons else "skip"
        reasons = reasons or ("up to date",)
    elif (folder / "stage.json").exists():
        num_done = len(list((folder / "done").glob("*.json")))
        action, digest = "partial", None
        reasons = (f"interrupted; {num_done} items are done",)
    else:
        current = step.workspace.current(step.stage, step.key)
        is_open = (
            step.news is not None and step.news.is_open and same_but_for(step, current, _LISTING)
        )
        action, digest = "look" if is_open else "run", None
        reasons = changes(parts, _parts_of(current), step.news)
    return Decision(
        step=step,
        action=action,
        reasons=reasons,
        fingerprint=fingerprint,
        digest=digest,
        published=published,
    )


def plan_row(decision: Decision) -> dict[str, Any]:
    """A decision as JSON."""
    return {
        "step": decision.step.label,
        "action": decision.action,
        "reasons": list(decision.reasons),
    }


def prepare(decision: Decision) -> set[str]:
    """Make the folder ready to work in and return the names of the items that are done.

    Damaged items lose their record, so that they are computed again; all others stay.
    """
    step, folder = decision.step, decision.folder
    folder.mkdir(parents=True, exist_ok=True)
    _remove_partials(decision)
    success = read_success(folder)
    if success is not None:
        outputs = {output.path for output in success.outputs}
        for name in find_damage(folder, success, step.output_root or folder, step.hashes.hash):
            if name in outputs:
                (folder / name).unlink(missing_ok=True)
            else:
                set_aside(folder, name)
    else:
        _drop_broken_records(folder, step.output_root or folder, step.hashes.hash)
    (folder / "_SUCCESS.json").unlink(missing_ok=True)
    root = step.places()["root"]
    if (ledger.read_json(folder / "stage.json") or {}).get("root") != root:
        digests = {name: digest_of(step.workspace, *name) for name in step.upstream}
        ledger.write_json(
            folder / "stage.json",
            {
                "stage": step.stage,
                "key": step.key,
                "fingerprint": decision.fingerprint,
                "parts": step.parts(digests),
                "root": root,
                "versions": {name: version(name) for name in _VERSIONS},
                "host": platform.node(),
                "platform": platform.platform(),
                "cpus": os.cpu_count(),
            },
        )
    return {path.stem for path in (folder / "done").glob("*.json")}


def publish(
    decision: Decision,
    *,
    items: Iterable[str],
    outputs: Iterable[Path],
    identity: Iterable[Any],
    quarantined: Iterable[Quarantined],
    counts: dict[str, int],
    computed: int,
    computed_photos: int,
    seconds: float,
    peak_mb: float,
) -> StageRef:
    """Write quarantine.parquet and _SUCCESS.json, point `current` here, return the reference.

    items: names of all items of the step. outputs: files in the folder to verify later. identity:
    what the output *is*, for the digest that downstream steps hang on (hashes, not times).
    """
    step, folder = decision.step, decision.folder
    _remove_partials(decision)  # of a worker that died while the run went on
    quarantined = sorted(quarantined, key=lambda row: (row.path, row.code))
    num_filtered = sum(is_policy(row.code) for row in quarantined)
    filtered = {"filtered": num_filtered} if num_filtered else {}
    counts = counts | filtered | {"quarantined": len(quarantined) - num_filtered}
    rows = [row.to_dict() for row in quarantined]
    write_table(folder / QUARANTINE_NAME, rows, QUARANTINE_COLUMNS)
    recorded = [*outputs, folder / QUARANTINE_NAME, folder / "stage.json"]
    assert decision.fingerprint is not None, "its folder is named by it"
    success = SuccessRecord(
        **step.places(),
        fingerprint=decision.fingerprint,
        digest=hash_value(list(identity)),
        items={name: hash_file(ledger.record_path(folder, name)) for name in sorted(items)},
        outputs=tuple(ledger.record_file(folder, path) for path in recorded),
        counts=counts,
        computed_photos=computed_photos,
        seconds=round(seconds, 2),
        peak_mb=round(peak_mb, 1),
    )
    write_success(folder, success)
    step.workspace.set_current(step.stage, step.key, folder)
    return _reference(step, folder, success, computed)


def skipped(decision: Decision) -> StageRef:
    """The reference to a step that needs no work; where it was moved to is noted."""
    success = read_success(decision.folder)
    if success is None:
        raise _unpublished(decision.step.label)
    placed = replace(success, **decision.step.places())
    if placed != success:
        write_success(decision.folder, placed)
    decision.step.workspace.set_current(decision.step.stage, decision.step.key, decision.folder)
    return _reference(decision.step, decision.folder, success, computed=0)


def same_but_for(step: Step, folder: Path, name: str) -> bool:
    """Whether a published, whole folder of a step without upstream differs in one input at most."""
    recorded, success = ledger.read_json(folder / "stage.json"), read_success(folder)
    if recorded is None or success is None:
        return False
    if find_damage(folder, success, folder, step.hashes.hash):
        return False
    before, now = recorded["parts"], as_json(step.parts({}))
    return _without(before, name) == _without(now, name)


def source_of(workspace: Workspace, key: str) -> str:
    """The folder, archive or URL that the photos of an ingested key come from."""
    success = read_success(workspace.current("ingest", key))
    if success is None:
        raise _unpublished(f"ingest/{key}")
    return source_at(workspace, success)


def digest_of(workspace: Workspace, stage: str, key: str) -> str:
    """The digest of the current output of a stage × key."""
    success = read_success(workspace.current(stage, key))
    if success is None:
        raise _unpublished(f"{stage}/{key}")
    return success.digest


def _unpublished(step: str) -> DamagedError:
    return DamagedError(
        f"Expected the output of {step}, got none that is whole. Run that step again."
    )


def _remove_partials(decision: Decision) -> None:
    """Of the step's folder all, zarr's too; in an output tree those alone that bear our names."""
    for path in decision.folder.rglob(f"*{ledger.PARTIAL}"):
        path.unlink(missing_ok=True)
    if decision.step.output_root is not None:
        ledger.remove_partials(decision.step.output_root)


def _drop_broken_records(folder: Path, root: Path, hash_of: Callable[[Path], str]) -> None:
    """Of an unpublished folder: another config may have written to the same output since."""
    for path in (folder / "done").glob("*.json"):
        record = read_item(path)
        if (
            record is None
            or any(ledger.damage(root, file, hash_of) for file in record.files)
            or any(ledger.damage(folder, file, hash_of) for file in record.extras)
        ):
            set_aside(folder, path.stem)


def _without(parts: Mapping[str, Any], name: str) -> dict[str, Any]:
    return {**parts, "inputs": {k: v for k, v in parts["inputs"].items() if k != name}}


def _reference(step: Step, folder: Path, success: SuccessRecord, computed: int) -> StageRef:
    return StageRef(
        stage=step.stage,
        key=step.key,
        folder=str(folder),
        digest=success.digest,
        computed=computed,
        counts=dict(success.counts),
        seconds=success.seconds,
        peak_mb=success.peak_mb,
    )


def _decide_waiting(step: Step, parts: dict[str, Any], waiting: Sequence[StepName]) -> Decision:
    """Of a step that hangs on one that must run first: what is known of it already.

    It will run where nothing that was published is made of what is known by now (its config, say);
    else what the others give decides.
    """
    names = {"/".join(name) for name in waiting}
    folders = [p.parent for p in _publications(step)]
    known = [_known_parts(folder, names) for folder in folders]
    if as_json(parts) in known:
        reasons = tuple(f"depends on {name}" for name in sorted(names))
        return Decision(step=step, action="depends", reasons=reasons)
    current = _known_parts(step.workspace.current(step.stage, step.key), names)
    return Decision(step=step, action="run", reasons=changes(parts, current, step.news))


def _publications(step: Step) -> list[Path]:
    return list((step.workspace.stages / step.stage / step.key).glob(f"*/{SUCCESS_NAME}"))


def _parts_of(folder: Path) -> dict[str, Any] | None:
    """What the fingerprint of a published folder was made of."""
    recorded: dict[str, Any] | None = (ledger.read_json(folder / "stage.json") or {}).get("parts")
    return recorded


def _known_parts(folder: Path, waiting: set[str]) -> dict[str, Any] | None:
    """`_parts_of` without the outputs of these upstream steps."""
    parts = _parts_of(folder)
    if parts is None:
        return None
    upstream = {name: digest for name, digest in parts["upstream"].items() if name not in waiting}
    return parts | {"upstream": upstream}


def _damage(step: Step, folder: Path, success: SuccessRecord) -> tuple[str, ...]:
    """Why a published step is not whole; of one whose output tree lies elsewhere now, in one line."""
    found = find_damage(folder, success, step.output_root or folder, step.hashes.hash)
    if found and step.output_root is not None and success.root != step.places()["root"]:
        place = os.path.normpath(step.workspace.root / success.root)
        return (f"its output was at {place}; {len(found)} items are not in {step.output_root}",)
    return damage_reasons(found)
