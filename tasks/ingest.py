"""Ingest: a source of photos → manifest.parquet, seen.parquet and quarantine.parquet."""

from __future__ import annotations

import shutil
from array import array
from collections import Counter, deque
from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache, partial
from itertools import chain
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
from storage.records.selection import (
    ALL,
    Earlier,
    Selected,
    quotas,
    sampling_key,
    select,
    select_all,
)
from storage.records.tables import RowTable, each_row, read_rows, write_table
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
Thresholds = Mapping[tuple[str, str], float]
"""Split and label of a stratum → sampling key under which its photos may be needed."""
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

    def items(folder: Path) -> _Items:
        _keep_basis(step, folder)
        items = _Items(step, folder, arranged(), _to_read(step, arranged(), _Known(folder)))
        if run.ahead is not None and len(items) > 1:
            run.ahead.will_read(lambda: (entry.file.path for entry in arranged().entries))
        return items

    def finish(folder: Path, records: Mapping[str, ItemRecord]) -> Published:
        return _finish(step, folder, arranged(), records, run.terminal)

    ref = execute(step, upstream, run, Work(items=items, finish=finish))
    if count := ref.counts.get(GUESSED):
        run.terminal.message(_guess(step, count))
    return ref


class _Known(Mapping[str, dict[str, Any]]):
    """What the earlier generation saw, by path; the rows themselves stay on the disk."""

    def __init__(self, folder: Path) -> None:
        path = folder / _BASIS_NAME / SEEN_NAME
        self._table = RowTable(path) if path.exists() else None
        rows = each_row(path) if self._table is not None else ()
        self._places = {row["path"]: place for place, row in enumerate(rows)}

    def __getitem__(self, path: str) -> dict[str, Any]:
        place = self._places[path]
        assert self._table is not None, "of a path that it holds"
        return self._table.rows(place, place + 1)[0]

    def __iter__(self) -> Iterator[str]:
        return iter(self._places)

    def __len__(self) -> int:
        return len(self._places)


def _to_read(step: Step, arranged: Arranged, known: Mapping[str, dict[str, Any]]) -> _Reading:
    """The files that are new, changed, or now wanted by the sample."""
    thresholds = _check_thresholds(arranged.entries, step.config["limit"])

    def is_read(entry: Entry) -> bool:
        row = known.get(entry.file.path)
        return row is None or not _still_known(step, entry, row, _threshold(thresholds, entry))

    places = (place for place, entry in enumerate(arranged.entries) if is_read(entry))
    return _Reading(array("Q", places), thresholds)


def _threshold(thresholds: Thresholds, entry: Entry) -> float:
    return thresholds[entry.split, entry.label]


@dataclass(frozen=True, slots=True)
class _Reading:
    """Which files are read."""

    places: Sequence[int]
    """Among the entries, ascending."""
    thresholds: Thresholds


def _still_known(step: Step, entry: Entry, row: Mapping[str, Any], check_below: float) -> bool:
    same = (row["bytes"], row["stamp"]) == (entry.file.bytes, entry.file.stamp)
    if may_pass(row["code"]):
        return False
    wanted = sampling_key(step.config["seed"], row["sha256"]) <= check_below
    return same and (row["checked"] or not wanted)


def _check_thresholds(entries: Iterable[Entry], limit: int) -> Thresholds:
    """Sampling keys under which a photo of a stratum may be needed; 1 without a limit."""
    sizes = Counter((entry.split, entry.label) for entry in entries)
    shares = quotas(sizes, limit)
    return {s: min(1.0, (_SLACK * shares[s] + _SLACK_PHOTOS) / size) for s, size in sizes.items()}


class _Items(Sequence[IngestItem]):
    """The chunks of the files to read; each is made when it is asked for."""

    def __init__(self, step: Step, folder: Path, arranged: Arranged, reading: _Reading) -> None:
        self._step, self._folder, self._arranged = step, folder, arranged
        self._reading = reading
        self._cuts = _cuts(step, len(reading.places))

    def __len__(self) -> int:
        return len(self._cuts) - 1

    def __getitem__(self, number: Any) -> Any:
        if not 0 <= number < len(self):
            raise IndexError(number)
        places = self._reading.places[self._cuts[number] : self._cuts[number + 1]]
        photos = tuple(self._photo(self._arranged.entries[place]) for place in places)
        return IngestItem(
            name=f"{number:06d}-{_chunk_hash(photos)}",
            folder=str(self._folder),
            source=self._step.place,
            photos=photos,
            config=self._step.config,
        )

    def _photo(self, entry: Entry) -> dict[str, Any]:
        return {
            "path": entry.file.path,
            "offset": entry.file.offset,
            "bytes": entry.file.bytes,
            "stamp": entry.file.stamp,
            "label": entry.label,
            "official_split": entry.split,
            "check_below": _threshold(self._reading.thresholds, entry),
        }


def _cuts(step: Step, num_photos: int) -> list[int]:
    """Where chunks begin and end. The first of a large archive is small: its photos are coloured while
    the rest is read."""
    is_large = not step.config["training"] and num_photos > _PHOTOS_PER_CHUNK
    first = _FIRST_PHOTOS if is_large else 0
    return sorted({0, *range(first, num_photos, _PHOTOS_PER_CHUNK), num_photos})


def _chunk_hash(photos: Iterable[Mapping[str, Any]]) -> str:
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
    seen = each_row(earlier / SEEN_NAME)
    success = read_success(earlier)
    if success is None or not is_same_place(step.workspace, success, step.place):
        seen = (row | {"stamp": ""} for row in seen)  # of other files, until they have been read
    write_table(basis / SEEN_NAME, seen, SEEN_COLUMNS)
    write_table(basis / MANIFEST_NAME, each_row(earlier / MANIFEST_NAME), MANIFEST_COLUMNS)
    write_json(basis / GENERATION_NAME, read_json(earlier / GENERATION_NAME))


def _is_readable(basis: Path) -> bool:
    """Whether the copies can be used; of a step that was never published nobody knows the hashes."""
    generation = read_json(basis / GENERATION_NAME)
    if generation is None or not {"generation", "positions"} <= generation.keys():
        return False
    try:
        for name in (SEEN_NAME, MANIFEST_NAME):
            if (basis / name).exists():
                deque(each_row(basis / name), maxlen=0)
    except (OSError, ValueError):
        return False
    return True


def _finish(
    step: Step,
    folder: Path,
    arranged: Arranged,
    records: Mapping[str, ItemRecord],
    terminal: Terminal,
) -> Published:
    known = _Known(folder)
    places = frozenset(_to_read(step, arranged, known).places) if known else None
    problems, counts = [], Counter[str]()

    def noted() -> Iterator[dict[str, Any]]:
        for row in _seen(arranged, known, places, records):
            if row["code"] and row["code"] != IGNORED:
                problems.append(_quarantined(Problem(row["path"], row["code"], row["detail"])))
            counts[IGNORED] += row["code"] == IGNORED
            yield row

    write_table(folder / SEEN_NAME, noted(), SEEN_COLUMNS)
    config = step.config
    selected = _selected(step, folder, terminal)
    if step.news is not None:
        seen = partial(each_row, folder / SEEN_NAME)
        rows = listing_rows(step.news.source, step.news.files, seen, step.hashes)
        write_table(folder / LISTING_NAME, rows, LISTING_COLUMNS)
    write_json(
        folder / GENERATION_NAME,
        {"generation": selected.generation, "positions": selected.positions},
    )
    beside = [] if config["training"] else _sidecars(records)
    write_table(folder / SIDECARS_NAME, beside, SIDECAR_COLUMNS)
    num_beside = sum(len(record.facts["sidecars"]) for record in records.values())
    num_ignored = counts[IGNORED] + num_beside
    return Published(
        outputs=[
            *(folder / name for name in (MANIFEST_NAME, SEEN_NAME, SIDECARS_NAME, GENERATION_NAME)),
            *([folder / LISTING_NAME] if step.news is not None else []),
            *sorted((folder / _BASIS_NAME).iterdir()),
        ],
        identity=chain(
            (
                [row["path"], row["sha256"], row["split"], row["position"]]
                for row in each_row(folder / MANIFEST_NAME)
            ),
            ([row["path"], row["sha256"]] for row in beside),
        ),
        counts={
            "done": len(RowTable(folder / MANIFEST_NAME)),
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
        quarantined=[*map(_quarantined, arranged.problems), *problems, *selected.dropped],
    )


def _seen(
    arranged: Arranged,
    known: Mapping[str, dict[str, Any]],
    places: Container[int] | None,
    records: Mapping[str, ItemRecord],
) -> Iterator[dict[str, Any]]:
    """What is known of every file that is listed, in its order. places: those that were read now; None: all.

    The chunks hold them in the same order, so that one record is in memory at a time. Of XMP files they
    say nothing here.
    """
    fresh = (row for record in records.values() for row in record.facts["seen"])
    ahead = next(fresh, None)
    for place, entry in enumerate(arranged.entries):
        path = entry.file.path
        if places is not None and place not in places:
            row = known[path]
        elif ahead is not None and ahead["path"] == path:
            row, ahead = ahead, next(fresh, None)
        else:
            continue
        described = {"label": entry.label, "official_split": entry.split}
        yield row | described | {"offset": entry.file.offset}


def _selected(step: Step, folder: Path, terminal: Terminal) -> Selected:
    """Choose among what was seen, and write the manifest; the rows are in that and not in what is returned."""
    config, manifest = step.config, folder / MANIFEST_NAME
    generation = read_json(folder / _BASIS_NAME / GENERATION_NAME) or {}
    earlier = folder / _BASIS_NAME / MANIFEST_NAME
    usable = (
        row | {"order": order}
        for order, row in enumerate(each_row(folder / SEEN_NAME))
        if not row["code"]
    )
    if not (config["training"] or config["limit"] or earlier.exists()):
        write_table(manifest, select_all(usable), MANIFEST_COLUMNS)
        count = len(RowTable(manifest))
        positions = {ALL: count} if count else {}
        return Selected(
            rows=[], dropped=[], positions=positions, generation=int(count > 0), num_left_out=0
        )
    selected = select(
        usable,
        earlier=Earlier(
            rows=read_rows(earlier) if earlier.exists() else (),
            positions=generation["positions"],
            generation=generation["generation"],
        ),
        val_share=config["val_share"] if config["training"] else None,
        limit=config["limit"],
        max_distance=config["twin_distance"] if config["training"] else -1,
        seed=config["seed"],
        report=lambda done, total: terminal.update(f"{step.label} alike", done, total, ""),
    )
    write_table(manifest, selected.rows, MANIFEST_COLUMNS)
    return replace(selected, rows=[])


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
