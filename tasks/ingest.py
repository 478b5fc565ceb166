"""Ingest: a source of photos → manifest.parquet, seen.parquet and quarantine.parquet."""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Iterable, Mapping
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Any

from storage.errors import may_pass
from storage.records.fingerprint import hash_value
from storage.records.item_record import ItemRecord
from storage.records.ledger import read_json, write_json
from storage.records.manifest import (
    IGNORED,
    MANIFEST_COLUMNS,
    SEEN_COLUMNS,
    SIDECAR_COLUMNS,
    Quarantined,
)
from storage.records.names import (
    GENERATION_NAME,
    LISTING_NAME,
    MANIFEST_NAME,
    SEEN_NAME,
    SIDECARS_NAME,
)
from storage.records.selection import Earlier, quotas, sampling_key, select
from storage.records.tables import read_rows, write_table
from storage.sources.catalogue import Arranged, Entry
from storage.sources.datasets import arrange
from storage.sources.entries import Problem
from storage.sources.source import open_source
from tasks.control import task
from tasks.engine.deciding import same_but_for
from tasks.engine.execute import Published, Run, Work, execute
from tasks.engine.progress import Terminal
from tasks.engine.source_news import LISTING_COLUMNS, listing_rows
from tasks.engine.stages import StageRef, Step
from tasks.engine.verification import is_same_place, read_success
from tasks.jobs.ingest import IngestItem

GUESSED = "names guessed"
"""Count of members whose names' encoding nothing tells."""
_BASIS_NAME = "basis"
"""Folder with what this generation starts from: copies of the earlier one's three tables."""
_PHOTOS_PER_CHUNK, _FIRST_PHOTOS = 256, 8
_SLACK, _SLACK_PHOTOS = 2.0, 16
"""Of a stratum, this times its share of `limit` and so many more are checked."""


@task("ingest")
def ingest(step: Step, upstream: list[StageRef], run: Run) -> StageRef:
    """List a source, look at every photo in it that is new, and write its manifest."""

    @cache
    def arranged() -> Arranged:
        config = step.config
        asked = {name: config[name] for name in ("follow", "include", "encoding")}
        source = open_source(step.place, avoid=run.workflow.written_folders, **asked)
        return arrange(source, config["layout"], config["include"], config["exclude"])

    def items(folder: Path) -> list[IngestItem]:
        _keep_basis(step, folder)
        items = _items(step, folder, _photos_to_read(step, arranged(), _known(folder)))
        if run.ahead is not None and len(items) > 1:
            run.ahead.will_read(lambda: (entry.file.path for entry in arranged().entries))
        return items

    def finish(folder: Path, records: dict[str, ItemRecord]) -> Published:
        return _finish(step, folder, arranged(), records, run.terminal)

    ref = execute(step, upstream, run, Work(items=items, finish=finish))
    if count := ref.counts.get(GUESSED):
        run.terminal.message(_guess(step, count))
    return ref


def _photos_to_read(
    step: Step, arranged: Arranged, known: Mapping[str, dict[str, Any]]
) -> list[dict[str, Any]]:
    """Files that are new, changed, or now wanted by the sample."""
    thresholds = _check_thresholds(arranged.entries, step.config["limit"])
    photos = []
    for entry in arranged.entries:
        check_below = thresholds[entry.split, entry.label]
        row = known.get(entry.file.path)
        if row is None or not _still_known(step, entry, row, check_below):
            photos.append(
                {
                    "path": entry.file.path,
                    "offset": entry.file.offset,
                    "bytes": entry.file.bytes,
                    "stamp": entry.file.stamp,
                    "label": entry.label,
                    "official_split": entry.split,
                    "check_below": check_below,
                }
            )
    return photos


def _still_known(step: Step, entry: Entry, row: Mapping[str, Any], check_below: float) -> bool:
    same = (row["bytes"], row["stamp"]) == (entry.file.bytes, entry.file.stamp)
    if may_pass(row["code"]):
        return False
    wanted = sampling_key(step.config["seed"], row["sha256"]) <= check_below
    return same and (row["checked"] or not wanted)


def _check_thresholds(entries: Iterable[Entry], limit: int) -> dict[tuple[str, str], float]:
    """Sampling keys under which a photo of a stratum may be needed; 1 without a limit."""
    sizes = Counter((entry.split, entry.label) for entry in entries)
    shares = quotas(sizes, limit)
    return {s: min(1.0, (_SLACK * shares[s] + _SLACK_PHOTOS) / size) for s, size in sizes.items()}


def _items(step: Step, folder: Path, photos: list[dict[str, Any]]) -> list[IngestItem]:
    return [
        IngestItem(
            name=f"{number:06d}-{_chunk_hash(photos[start:end])}",
            folder=str(folder),
            source=step.place,
            photos=tuple(photos[start:end]),
            config=step.config,
        )
        for number, (start, end) in enumerate(pairwise(_cuts(step, len(photos))))
    ]


def _cuts(step: Step, num_photos: int) -> list[int]:
    """Where chunks begin and end. The first of a large archive is small: its photos are coloured while
    the rest is read."""
    is_large = not step.config["training"] and num_photos > _PHOTOS_PER_CHUNK
    first = _FIRST_PHOTOS if is_large else 0
    return sorted({0, *range(first, num_photos, _PHOTOS_PER_CHUNK), num_photos})


def _chunk_hash(photos: list[dict[str, Any]]) -> str:
    """So that a record is never taken for that of a chunk of other photos."""
    return hash_value([[photo["path"], photo["stamp"]] for photo in photos])[:8]


def _keep_basis(step: Step, folder: Path) -> None:
    """Copy the earlier generation's tables, once: the folder must not depend on another's fate.

    A generation follows another if only the listing differs; else everything is looked at anew.
    """
    basis = folder / _BASIS_NAME
    if _is_readable(basis):
        return
    shutil.rmtree(basis, ignore_errors=True)
    earlier = step.workspace.current("ingest", step.key).resolve()
    if earlier == folder.resolve() or not same_but_for(step, earlier, "listing"):
        write_json(basis / GENERATION_NAME, {"generation": 0, "positions": {}})
        return
    seen = read_rows(earlier / SEEN_NAME)
    success = read_success(earlier)
    if success is None or not is_same_place(step.workspace, success, step.place):
        seen = [row | {"stamp": ""} for row in seen]  # of other files, until they have been read
    write_table(basis / SEEN_NAME, seen, SEEN_COLUMNS)
    write_table(basis / MANIFEST_NAME, read_rows(earlier / MANIFEST_NAME), MANIFEST_COLUMNS)
    write_json(basis / GENERATION_NAME, read_json(earlier / GENERATION_NAME))


def _is_readable(basis: Path) -> bool:
    """Whether the copies can be used; of a step that was never published nobody knows the hashes."""
    generation = read_json(basis / GENERATION_NAME)
    if generation is None or not {"generation", "positions"} <= generation.keys():
        return False
    try:
        for name in (SEEN_NAME, MANIFEST_NAME):
            if (basis / name).exists():
                read_rows(basis / name)
    except (OSError, ValueError):
        return False
    return True


def _known(folder: Path) -> dict[str, dict[str, Any]]:
    """What the earlier generation saw, by path."""
    return {row["path"]: row for row in _basis_rows(folder, SEEN_NAME)}


def _basis_rows(folder: Path, name: str) -> list[dict[str, Any]]:
    path = folder / _BASIS_NAME / name
    return read_rows(path) if path.exists() else []


def _finish(
    step: Step,
    folder: Path,
    arranged: Arranged,
    records: dict[str, ItemRecord],
    terminal: Terminal,
) -> Published:
    known = _known(folder)
    for photo in _photos_to_read(step, arranged, known):  # what was known of these is out of date
        known.pop(photo["path"], None)
    known |= {row["path"]: row for record in records.values() for row in record.facts["seen"]}
    seen = []
    for order, entry in enumerate(arranged.entries):
        row = known.get(entry.file.path)
        if row is not None:
            described = {"label": entry.label, "official_split": entry.split, "order": order}
            seen.append(row | described | {"offset": entry.file.offset})
    generation = read_json(folder / _BASIS_NAME / GENERATION_NAME) or {}
    config = step.config
    selected = select(
        (row for row in seen if not row["code"]),
        earlier=Earlier(
            rows=_basis_rows(folder, MANIFEST_NAME),
            positions=generation["positions"],
            generation=generation["generation"],
        ),
        val_share=config["val_share"] if config["training"] else None,
        limit=config["limit"],
        max_distance=config["twin_distance"] if config["training"] else -1,
        seed=config["seed"],
        report=lambda done, total: terminal.update(f"{step.label} alike", done, total, ""),
    )
    write_table(folder / SEEN_NAME, seen, SEEN_COLUMNS)
    if step.news is not None:
        rows = listing_rows(step.news.source, step.news.files, seen, step.hashes)
        write_table(folder / LISTING_NAME, rows, LISTING_COLUMNS)
    write_table(folder / MANIFEST_NAME, selected.rows, MANIFEST_COLUMNS)
    write_json(
        folder / GENERATION_NAME,
        {"generation": selected.generation, "positions": selected.positions},
    )
    beside = [] if config["training"] else _sidecars(records)
    write_table(folder / SIDECARS_NAME, beside, SIDECAR_COLUMNS)
    refused = [row for row in seen if row["code"] and row["code"] != IGNORED]
    failed = [_quarantined(Problem(r["path"], r["code"], r["detail"])) for r in refused]
    num_beside = sum(len(record.facts["sidecars"]) for record in records.values())
    num_ignored = sum(row["code"] == IGNORED for row in seen) + num_beside
    problems = [_quarantined(problem) for problem in arranged.problems]
    return Published(
        outputs=[
            *(folder / name for name in (MANIFEST_NAME, SEEN_NAME, SIDECARS_NAME, GENERATION_NAME)),
            *([folder / LISTING_NAME] if step.news is not None else []),
            *sorted((folder / _BASIS_NAME).iterdir()),
        ],
        identity=[
            *([row["path"], row["sha256"], row["split"], row["position"]] for row in selected.rows),
            *([row["path"], row["sha256"]] for row in beside),
        ],
        counts={
            "done": len(selected.rows),
            **_not_zero(
                {
                    **arranged.left_out,
                    "ignored": num_ignored,
                    "left out by limit": selected.num_left_out,
                    "listed but missing": arranged.num_listed_missing,
                    GUESSED: arranged.num_guessed,
                }
            ),
        },
        quarantined=[*problems, *failed, *selected.dropped],
    )


def _sidecars(records: Mapping[str, ItemRecord]) -> list[dict[str, Any]]:
    """Of all XMP files: no table of what was seen holds them, so each generation reads them all."""
    rows = [row for record in records.values() for row in record.facts["sidecars"]]
    return sorted(rows, key=lambda row: str(row["path"]))


def _guess(step: Step, count: int) -> str:
    names = "the name of 1 entry is" if count == 1 else f"the names of {count:,} entries are"
    return (
        f"{step.label}: {names} a guess (CP437), as nothing says their encoding: --encoding NAME, as "
        "cp932, reads them right"
    )


def _not_zero(counts: dict[str, int]) -> dict[str, int]:
    return {name: count for name, count in counts.items() if count}


def _quarantined(problem: Problem) -> Quarantined:
    return Quarantined(
        path=problem.path or ".",
        code=problem.code,
        detail=problem.detail,
        stage="ingest",
    )
