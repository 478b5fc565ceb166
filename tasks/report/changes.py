"""Two colorized outputs compared: what changed, by how much, and the largest changes as pictures."""

from __future__ import annotations

import base64
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from colorization.colour.lab import rgb_to_lab
from colorization.metrics.distances import colourfulness, delta_e_2000
from storage.errors import PhotoError, UsageError
from storage.photos.reduced import decode_rgb
from storage.pictures.thumbnails import read_pack, reduce_to, small_jpeg
from storage.records.names import CHANGES_NAME, CHANGES_TABLE
from storage.records.page_data import write_page_data
from storage.records.safe_csv import write_csv
from storage.records.workspace import Workspace
from tasks.jobs.machine import available_cores
from tasks.report.rows import COLOURED, KEPT, Archive, Row, read_archive, read_past

CHANGE_COLUMNS = (
    "path",
    "change",
    "status_before",
    "status",
    "reason_before",
    "reason",
    "mean_dE00",
    "max_dE00",
    "colourfulness_before",
    "colourfulness",
    "detail",
)
"""change: status, added, removed, original (other bytes under the same path), colours, or unreadable.
before: in the output compared with. dE00: CIEDE2000 at a short side of 256 pixels."""
_SHORT_SIDE, _LONG_SIDE = 256, 384
_PICTURED, _LISTED = 10, 100
"""Of the page: changes of colour, and others."""


@dataclass
class Changes:
    """What differs between two outputs."""

    summary: dict[str, Any]
    rows: list[Row]
    pictures: list[dict[str, Any]] = field(default_factory=list)
    """Of the largest changes: path, before, after; the latter two JPEGs in base64."""

    def write(self, folder: Path) -> None:
        """Write changes.csv, and the largest of them for the page. Raises OutputError."""
        write_csv(folder / CHANGES_TABLE, CHANGE_COLUMNS, self.rows)
        others = [row for row in self.rows[_PICTURED:] if row["change"] != "colours"]
        rows = [*self.rows[:_PICTURED], *others[:_LISTED]]
        value = {"rows": rows, "pictures": self.pictures}
        write_page_data(folder / CHANGES_NAME, "changes", value)


def compare_archives(workspace: Workspace, other: Workspace, name: str) -> Changes:
    """What changed in `workspace` against `other`.

    name: of the other, for the page. Raises UsageError where one of them holds no coloured archive,
    or where they have no photo in common.
    """
    return _compare(read_archive(workspace), read_archive(other), name)


def compare_runs(workspace: Workspace, run_id: str | None, other: str) -> Changes:
    """What changed in a run against another one of the same folder, by records and small pictures.

    run_id: None for what the folder holds now. Raises UsageError as `read_past`, and where a run wrote
    over the records of the other one.
    """
    before = read_past(workspace, other)
    assert before.colorized is not None, "read_past found it"
    now = read_past(workspace, run_id) if run_id else replace(read_archive(workspace), is_past=True)
    if now.colorized is not None and now.colorized.folder == before.colorized.folder:
        raise UsageError(
            f"Expected two runs that coloured by other settings or photos, but {run_id or 'the newest'} "
            f"and {other} wrote the same records, the later over the earlier. `chromaflow log {other}` "
            "says what it did."
        )
    found = _compare(now, before, f"run {other}")
    found.summary["run"] = run_id
    return found


def _compare(now: Archive, before: Archive, name: str) -> Changes:
    for archive in (now, before):
        if archive.colorized is None:
            raise UsageError(
                f"Expected a finished `chromaflow colorize` to compare, found none in "
                f"{archive.workspace.root}. Run it first."
            )
    own, others = (_by_path(archive) for archive in (now, before))
    common = own.keys() & others.keys()
    if not common:
        raise UsageError(
            f"Expected two outputs of the same photos, but {name} has no path in common with "
            f"{now.workspace.root}. Name an OUT made from the same IN."
        )
    rows = [_only(own[path], "added") for path in own.keys() - common]
    rows += [_only(others[path], "removed") for path in others.keys() - common]
    pairs = [(others[path], own[path]) for path in common]
    rows += [_flip(*pair) for pair in pairs if pair[0]["status"] != pair[1]["status"]]
    coloured = [pair for pair in pairs if pair[0]["status"] == pair[1]["status"] == COLOURED]
    replaced = [(a, b) for a, b in coloured if a["sha256"] != b["sha256"]]
    rows += [_row("original", a, b) for a, b in replaced]
    same = [(a, b) for a, b in coloured if a["sha256"] == b["sha256"]]
    differing = [(a, b) for a, b in same if a["output_sha256"] != b["output_sha256"]]
    if now.is_past or before.is_past:  # both by the same pictures
        now, before = replace(now, is_past=True), replace(before, is_past=True)
    measured = _measure_all(before, now, sorted(differing, key=lambda pair: pair[1]["path"]))
    rows += measured
    rows.sort(key=lambda row: (-(row.get("mean_dE00") or 0.0), row["path"]))
    found = [row for row in measured if row["change"] == "colours"]
    summary = {
        "against": name,
        "compared": len(same),
        "equal": len(same) - len(differing),
        "added": sum(row["change"] == "added" for row in rows),
        "removed": sum(row["change"] == "removed" for row in rows),
        "status": sum(row["change"] == "status" for row in rows),
        "original": len(replaced),
        "colours": len(found),
        "unreadable": len(measured) - len(found),
        **_sizes(found),
    }
    return Changes(summary, rows, list(_pictures(before, now, rows[:_PICTURED], others, own)))


def _by_path(archive: Archive) -> dict[str, Row]:
    """One row a path: what became of the photo, rather than of its double in the archive."""
    rows: dict[str, Row] = {}
    for row in archive.rows():
        if row["status"] == KEPT:  # not of this run
            continue
        if rows.get(row["path"], {}).get("status") != COLOURED:
            rows[row["path"]] = row
    return rows


def _only(row: Row, change: str) -> Row:
    side = "" if change == "added" else "_before"
    found = {f"{name}{side}": row.get(name) for name in ("status", "reason")}
    return {"path": row["path"], "change": change} | found


def _flip(before: Row, now: Row) -> Row:
    return _row("status", before, now) | {"detail": now.get("detail") or before.get("detail")}


def _row(change: str, before: Row, now: Row) -> Row:
    return {
        "path": now["path"],
        "change": change,
        "status_before": before["status"],
        "status": now["status"],
        "reason_before": before.get("reason"),
        "reason": now.get("reason"),
    }


def _measure_all(before: Archive, now: Archive, pairs: Sequence[tuple[Row, Row]]) -> list[Row]:
    """How far the outputs of each pair are apart; decoding and arithmetic release the interpreter."""
    with ThreadPoolExecutor(available_cores()) as pool:
        return list(pool.map(lambda pair: _measure(before, now, *pair), pairs))


def _measure(before: Archive, now: Archive, row_before: Row, row_now: Row) -> Row:
    row = _row("colours", row_before, row_now)
    try:
        first, second = _decode(before, row_before), _decode(now, row_now)
    except (OSError, PhotoError) as error:
        return row | {"change": "unreadable", "detail": str(error)}
    if first.shape != second.shape:
        return row | {"change": "unreadable", "detail": "the outputs differ in size"}
    apart = delta_e_2000(*(rgb_to_lab(rgb).transpose(1, 2, 0) for rgb in (first, second)))
    return row | {
        "mean_dE00": round(float(apart.mean()), 3),
        "max_dE00": round(float(apart.max()), 3),
        "colourfulness_before": round(colourfulness(first), 2),
        "colourfulness": round(colourfulness(second), 2),
    }


def _decode(archive: Archive, row: Row) -> NDArray[np.uint8]:
    if archive.is_past:
        return _small(archive, row)
    assert archive.root is not None
    content = (archive.root / row["output"]).read_bytes()
    return decode_rgb(content, short_side=_SHORT_SIDE, max_megapixels=float("inf"))


def _small(archive: Archive, row: Row) -> NDArray[np.uint8]:
    """A photo as its small picture shows it. Raises PhotoError where there is none."""
    path = archive.packs.get(row.get("pack") or "")
    if path is None or not path.exists():
        raise PhotoError("DAMAGED", "its small picture is not kept")
    content = _pack(path)[row["picture"]]["after"]
    return decode_rgb(content, short_side=_SHORT_SIDE, max_megapixels=float("inf"))


@lru_cache(maxsize=8)
def _pack(path: Path) -> list[dict[str, bytes]]:
    return read_pack(path)


def _sizes(found: Sequence[Row]) -> dict[str, float | None]:
    """Over all photos whose colours changed."""
    if not found:
        return {
            "mean_dE00": None,
            "max_dE00": None,
            "colourfulness_before": None,
            "colourfulness": None,
        }
    means = {
        name: round(float(np.mean([row[name] for row in found])), 3)
        for name in ("mean_dE00", "colourfulness_before", "colourfulness")
    }
    return means | {"max_dE00": max(row["max_dE00"] for row in found)}


def _pictures(
    before: Archive,
    now: Archive,
    rows: Sequence[Row],
    others: dict[str, Row],
    own: dict[str, Row],
) -> Iterator[dict[str, Any]]:
    for row in rows:
        if row["change"] != "colours":
            continue
        path = row["path"]
        decoded = (_decode(before, others[path]), _decode(now, own[path]))
        first, second = (
            base64.b64encode(small_jpeg(np.asarray(reduce_to(rgb, _LONG_SIDE), np.uint8))).decode()
            for rgb in decoded
        )
        yield {"path": path, "before": first, "after": second}
