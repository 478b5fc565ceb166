"""Every photo of a colorized archive as a row of its report, from the records of the run.

Nothing is measured here: what a run did not record stays empty.
"""

from __future__ import annotations

import json
from array import array
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from colorization.categories import PAPER, Categories
from storage.errors import UsageError, is_policy
from storage.records.decisions import APPROVED, Decisions, read_decisions
from storage.records.item_record import ItemRecord, OutputFacts, read_item
from storage.records.ledger import FileRecord, record_path
from storage.records.names import MANIFEST_NAME, MAP_SUFFIX, QUARANTINE_NAME
from storage.records.tables import REAL, TEXT, WHOLE, each_row
from storage.records.workspace import Workspace
from tasks.engine.events import find_run
from tasks.engine.kept import recorded_kept
from tasks.engine.published import PublishedStep, read_step
from tasks.engine.verification import root_of
from tasks.graph import ARCHIVE
from tasks.queries.runs import read_run

COLOURED, FAILED, SKIPPED, WAITING, KEPT = STATUSES = (
    "coloured",
    "failed",
    "skipped",
    "waiting",
    "kept",
)
"""skipped: on purpose, by a policy. waiting: ingested, but not coloured yet. kept: coloured by an
earlier run, and `detail` says why not by this one (`tasks.engine.kept.WHY`)."""
_SHARE = "share_"
MEASURES = ("colourfulness", "uncertainty", "max_dL", "seconds")
SAID = ("description", "date", "artist", "copyright")
COLUMNS = {
    "path": TEXT,
    "status": TEXT,
    "reason": TEXT,
    "detail": TEXT,
    "stage": TEXT,
    "bytes": WHOLE,
    "width": WHOLE,
    "height": WHOLE,
    "format": TEXT,
    **{f"{_SHARE}{name}": REAL for name in PAPER.names},
    **dict.fromkeys(MEASURES, REAL),
    "sha256": TEXT,
    "output": TEXT,
    "output_bytes": WHOLE,
    "output_sha256": TEXT,
    "uncertainty_map": TEXT,
    "palette": TEXT,
    "variants": TEXT,
    **dict.fromkeys(SAID, TEXT),
    "lost": TEXT,
    "notes": TEXT,
    "decision": TEXT,
    "note": TEXT,
    "asked": TEXT,
    "pack": TEXT,
    "picture": WHOLE,
}
"""Of photos.parquet, with the paper's categories (`Archive.columns`). Shares are 0..1, uncertainty Lab
units, max_dL the largest |ΔL*| before encoding; palette: the code of the one that it follows; variants: name and palette of each, as
JSON; lost: metadata that could not be read or kept; notes: what else people should know, as pages that are
missing or not coloured; decision, note: of a review; asked: palette and hints of it that are not coloured
yet; pack and picture: in which file of thumbnails/ the small pictures are, and at which place."""

Row = dict[str, Any]


@dataclass(frozen=True)
class Archive:
    """What a workspace holds of its archive."""

    workspace: Workspace
    ingested: PublishedStep | None
    colorized: PublishedStep | None
    root: Path | None
    """Where the outputs lie; None before there are any."""
    packs: dict[str, Path] = field(default_factory=dict)
    """Files of small pictures by name: of the rows that were given so far."""
    decisions: Decisions = field(default_factory=Decisions)
    """Of a review."""
    is_past: bool = False
    """Whether it is of an earlier run: its files may be replaced, its small pictures lie beside its records."""

    @cached_property
    def categories(self) -> Categories:
        """Those that it was coloured with."""
        return Categories.from_json(
            self.colorized.config.get("categories") if self.colorized else None
        )

    @property
    def columns(self) -> dict[str, str]:
        """Of photos.parquet: COLUMNS, with a share of each of its categories."""
        found: dict[str, str] = {}
        for name, kind in COLUMNS.items():
            own = {name: kind} if not name.startswith(_SHARE) else _share_columns(self.categories)
            found |= own
        return found

    def rows(self) -> Iterator[Row]:
        """All photos, in the order of the manifest; those without a row in it at the end.

        Read from the records as they are asked for: of a million photos a chunk's are in memory.
        """
        refused: dict[str, list[Row]] = defaultdict(list)
        for row in _quarantined(self.colorized):
            refused[row["path"]].append(_refused(row))
        outputs = _Outputs(self)
        manifest = self.ingested.folder / MANIFEST_NAME if self.ingested else None
        for photo in each_row(manifest) if manifest else ():
            known = ("path", "bytes", "width", "height", "format", "sha256")
            row = {"status": WAITING} | {name: photo[name] for name in known}
            for one in refused.pop(photo["path"], ()):
                row |= one
            output = outputs.take(photo["path"], photo["sha256"])
            yield row | output if output else row
        yield from outputs.left()
        yield from map(_refused, _quarantined(self.ingested))
        for rows in refused.values():
            yield from rows
        yield from _kept(self)


class _Outputs:
    """A row each coloured photo, found by its path: only a number a photo is held."""

    def __init__(self, archive: Archive) -> None:
        self._archive, step = archive, archive.colorized
        self._names = sorted(step.success.items) if step else []
        self._recent = lru_cache(maxsize=4)(self._rows)
        paths, records = array("q"), array("I")
        for number in range(len(self._names)):
            for row in self._recent(number):
                paths.append(hash(row["path"]))
                records.append(number)
        found = np.frombuffer(paths, np.int64)
        order = np.argsort(found, kind="stable")
        self._hashes, self._records = found[order], np.frombuffer(records, np.uint32)[order]
        self._is_taken = np.zeros(len(order), np.bool_)

    def take(self, path: str, sha256: str) -> Row | None:
        """The row of a photo with these bytes; None where it was not coloured, or when it had others."""
        for place, row in self._of(path):
            self._is_taken[place] = True
            if row["sha256"] == sha256:
                return row
        return None

    def left(self) -> Iterator[Row]:
        """The rows of photos that nobody asked for."""
        for number in np.unique(self._records[~self._is_taken]).tolist():
            for row in self._recent(number):
                places = [place for place, one in self._of(row["path"]) if one is row]
                if not all(self._is_taken[place] for place in places):
                    yield row

    def _of(self, path: str) -> Iterator[tuple[int, Row]]:
        place = int(self._hashes.searchsorted(hash(path)))
        while place < len(self._hashes) and self._hashes[place] == hash(path):
            for row in self._recent(int(self._records[place])):
                if row["path"] == path:
                    yield place, row
            place += 1

    def _rows(self, number: int) -> list[Row]:
        step = self._archive.colorized
        assert step is not None, "it has records"
        record = read_item(record_path(step.folder, self._names[number]))
        return list(_coloured_in(self._archive, step, record)) if record is not None else []


def _share_columns(categories: Categories) -> dict[str, str]:
    return {f"{_SHARE}{name}": REAL for name in categories.names}


def shares_of(row: Row) -> list[float]:
    """The shares of its categories that were recorded."""
    return [value for name, value in row.items() if name.startswith(_SHARE) and value is not None]


def read_archive(workspace: Workspace) -> Archive:
    """What a workspace holds of its archive; its rows are read when they are asked for."""
    ingested = read_step(workspace.current("ingest", ARCHIVE).resolve())
    colorized = read_step(workspace.current("colorize", ARCHIVE).resolve())
    root = root_of(workspace, colorized.folder, colorized.success) if colorized else None
    decisions = read_decisions(output_of(colorized)) if colorized else Decisions()
    return Archive(workspace, ingested, colorized, root, decisions=decisions)


def read_past(workspace: Workspace, run_id: str) -> Archive:
    """What a run of a workspace left of its archive, from the records that it published.

    Raises UsageError for a run that is not known, that coloured none, or whose records are gone.
    """
    run = read_run(workspace, find_run(workspace, run_id).name)
    folders = {one["step"]: one.get("folder") for one in run["steps"]}
    found = {
        stage: read_step(workspace.stages / stage / ARCHIVE / Path(folder).name)
        for stage in ("ingest", "colorize")
        if (folder := folders.get(f"{stage}/{ARCHIVE}"))
    }
    step = found.get("colorize")
    if step is None:
        raise UsageError(
            f"Expected a run that coloured photos and whose records are kept, got {run_id}. "
            "`chromaflow history` lists what each run did."
        )
    root = root_of(workspace, step.folder, step.success)
    return Archive(workspace, found.get("ingest"), step, root, is_past=True)


def _decided(decisions: Decisions, facts: OutputFacts, content: str) -> Row:
    """What a review says of an output; {} for nothing."""
    found = decisions.photos.get((facts.archive, facts.photo, facts.sha256))
    if found is None:
        return {}
    is_lapsed = found.verdict == APPROVED and not found.approves(facts.decided, content)
    asked = [f"palette {found.palette}"] if found.palette else []
    asked += [f"{len(found.hints)} hints"] if found.hints else []
    is_done = found.is_done(facts.decided)
    return {
        "decision": (None if is_lapsed and is_done else found.verdict) or None,
        "note": found.note or None,
        "asked": None if is_done else ", ".join(asked) or "as the run colours it",
    }


def _kept(archive: Archive) -> Iterator[Row]:
    """A row an output that no current record names, where it lies in the same tree."""
    kept = recorded_kept(archive.workspace)
    step = archive.colorized
    current = {
        facts["output"]
        for _, record in (step.records() if step and kept else ())
        for facts in record.facts.get("outputs", ())
    }
    for output in kept:
        if output.place(archive.workspace) != archive.root or output.name in current:
            continue
        pack = Path(output.pack).stem if output.pack else ""
        if pack:
            archive.packs[pack] = archive.workspace.root / output.pack
        files = {file.path: file for file in output.files}
        row = _coloured(output.facts, files, pack, output.picture, archive.categories)
        yield row | {"status": KEPT, "detail": output.why}


def _quarantined(step: PublishedStep | None) -> Iterator[Row]:
    yield from each_row(step.folder / QUARANTINE_NAME) if step else ()


def _refused(row: Row) -> Row:
    return {
        "path": row["path"],
        "status": SKIPPED if is_policy(row["code"]) else FAILED,
        "reason": row["code"],
        "detail": row["detail"],
        "stage": row["stage"],
    }


def output_of(step: PublishedStep) -> Path:
    """The output folder of a colorize step, in whose state decisions lie; of a bag its files are below."""
    root = root_of(step.workspace, step.folder, step.success)
    return root.parent if step.config.get("bag", False) else root


def _coloured_in(archive: Archive, step: PublishedStep, record: ItemRecord) -> Iterator[Row]:
    """A row a coloured photo of an item; its pack is noted on the way."""
    files = {file.path: file for file in record.files}
    path = record.pack
    pack = Path(path).stem if path else ""
    if pack:
        archive.packs[pack] = step.folder / path
    for picture, facts in enumerate(record.outputs):
        row = _coloured(facts, files, pack, picture, archive.categories)
        yield row | _decided(archive.decisions, facts, row["output_sha256"])


def _page_note(page: Mapping[str, Any]) -> str:
    became = "passes through as it is" if page["output"] else "is left out"
    return f"page {page['page']} {became}: {page['reason']}, {page['detail']}"


def _coloured(
    facts: OutputFacts,
    files: dict[str, FileRecord],
    pack: str,
    picture: int,
    categories: Categories,
) -> Row:
    written = files[facts.output]
    map_name = facts.output.rpartition(".")[0] + MAP_SUFFIX
    row = {
        "path": facts.photo,
        "status": COLOURED,
        "bytes": facts.bytes,
        "width": facts.width,
        "height": facts.height,
        "sha256": facts.sha256,
        "output": facts.output,
        "output_bytes": written.bytes,
        "output_sha256": written.sha256,
        "uncertainty_map": map_name if map_name in files else None,
        **{
            f"{_SHARE}{name}": share
            for name, share in (facts.shares or {}).items()
            if name in categories.names  # of an approved or kept photo they may be others
        },
        **{name: facts.said.get(name) for name in SAID},
    }
    row |= {name: getattr(facts, name) for name in MEASURES}
    row["palette"] = facts.palette or None
    pairs = [[variant["output"], variant["palette"]] for variant in facts.variants]
    row["variants"] = json.dumps(pairs) if pairs else None
    row["lost"] = "; ".join(facts.lost) or None
    row["notes"] = "; ".join([*facts.notes, *map(_page_note, facts.pages)]) or None
    return row | ({"pack": pack, "picture": picture} if pack else {})
