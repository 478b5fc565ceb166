"""A step's folder: made ready to work in, published, or taken as it is."""

from __future__ import annotations

import os
import platform
from collections.abc import Callable, Iterable
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path

from storage.errors import is_policy
from storage.records import ledger
from storage.records.fingerprint import hash_file
from storage.records.item_record import read_item
from storage.records.manifest import QUARANTINE_COLUMNS, Quarantined
from storage.records.names import QUARANTINE_NAME
from storage.records.success_record import SuccessRecord
from storage.records.tables import write_table
from tasks.engine.stages import Decision, StageRef, Step, digest_of, unpublished
from tasks.engine.superseded import set_aside
from tasks.engine.verification import (
    find_damage,
    read_success,
    write_success,
)

_VERSIONS = ("numpy", "opencv-python-headless", "pillow", "torch", "torchvision", "zarr")


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
        for name in find_damage(folder, success, step.output_root or folder, step.hashes):
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
    digest: str,
    quarantined: Iterable[Quarantined],
    counts: dict[str, int],
    computed: int,
    computed_photos: int,
    seconds: float,
    peak_mb: float,
) -> StageRef:
    """Write quarantine.parquet and _SUCCESS.json, point `current` here, return the reference.

    items: names of all items of the step. outputs: files in the folder to verify later. digest: of
    what the output *is*, which downstream steps hang on (hashes, not times).
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
        digest=digest,
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
        raise unpublished(decision.step.label)
    placed = replace(success, **decision.step.places())
    if placed != success:
        write_success(decision.folder, placed)
    decision.step.workspace.set_current(decision.step.stage, decision.step.key, decision.folder)
    return _reference(decision.step, decision.folder, success, computed=0)


def _remove_partials(decision: Decision) -> None:
    """Of the step's folder all, zarr's too; in an output tree those alone that bear our names.

    Not those in a workspace that lies in the output tree: other steps are writing there.
    """
    for path in decision.folder.rglob(f"*{ledger.PARTIAL}"):
        path.unlink(missing_ok=True)
    if decision.step.output_root is not None:
        ledger.remove_partials(decision.step.output_root, but=decision.step.workspace.root)


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
