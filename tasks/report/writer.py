"""The run report: a page that opens from the disk, and its contents as files for programs.

Everything on the page is data that its script puts there as text; no outside string becomes markup
(docs/decisions/015).
"""

from __future__ import annotations

import os
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from importlib.resources import files
from pathlib import Path
from typing import Any

from colorization.categories import Categories, category_colours
from storage.errors import OutputError, UsageError, explain_reason, may_pass
from storage.records.decisions import decisions_path
from storage.records.fingerprint import hash_bytes, hash_file, hash_value
from storage.records.ledger import (
    link_or_copy,
    read_json,
    remove_partials,
    remove_unnamed,
    sync_folder,
    write_bytes,
    write_json,
)
from storage.records.names import (
    CHANGES_NAME,
    CHANGES_TABLE,
    EVENTS_NAME,
    FAILURES_NAME,
    PACKS_FOLDER,
    PAGE_NAME,
    PHOTOS_NAME,
    RESULT_NAME,
    SUCCESS_NAME,
)
from storage.records.page_data import write_page_data
from storage.records.safe_csv import write_csv
from storage.records.tables import RowTable, write_table
from storage.records.workspace import Workspace
from tasks.archive.workflow import newest_request
from tasks.engine.events import run_ids, run_summary
from tasks.engine.kept import store_files
from tasks.engine.published import read_step
from tasks.graph import ARCHIVE
from tasks.queries.experts import known_weights, models_of
from tasks.queries.trainings import trainings
from tasks.report.changes import Changes
from tasks.report.commands import reproduce_command, retry_command, review_command
from tasks.report.first import FirstPhotos
from tasks.report.looking_back import write_history, write_trainings
from tasks.report.pages import PhotoPages
from tasks.report.rows import (
    COLUMNS,
    FAILED,
    KEPT,
    STATUSES,
    Archive,
    Row,
    output_of,
    read_archive,
)
from tasks.scores import score_warnings, workspace_scores

_PAGE_FOLDER, _CODE_FOLDER = "page", "page"
_FAILURE_COLUMNS = ("path", "status", "reason", "detail", "stage", "remedy", "retry")
_OF_TRAINING = ("pretrain", "train", "evaluate")
_EXAMPLES = 8
"""Photos of a reason that the page names before it is asked for all."""


@dataclass(frozen=True, kw_only=True)
class Report:
    """A report that was written."""

    folder: Path
    counts: dict[str, int]
    bytes: int
    """Of all its files."""
    changes: dict[str, Any] | None = None
    """What differs from another output, in short."""

    @property
    def page(self) -> Path:
        """The file to open."""
        return self.folder / PAGE_NAME

    def to_dict(self) -> dict[str, Any]:
        """As JSON."""
        return {
            "report": str(self.page),
            "counts": self.counts,
            "bytes": self.bytes,
            "changes": self.changes,
        }


def write_report(
    workspace: Workspace,
    *,
    output: str | None = None,
    folder: Path | None = None,
    changes: Changes | None = None,
) -> Report:
    """Write or renew the report of what a workspace holds of its archive.

    output: the OUT as its user names it, None for a workspace of a config. folder: where to write,
    by default report/ in the workspace. changes: against another output. Raises UsageError where no
    archive was ingested nor a network trained, and for a folder that holds something else, OutputError.
    """
    archive = read_archive(workspace)
    if archive.ingested is None and not trainings(workspace):
        raise UsageError(
            f"Expected an archive that was read at least once, or a training, found none in "
            f"{workspace.root}. Run `chromaflow colorize IN OUT` or `chromaflow train` first."
        )
    is_given, folder = folder is not None, (folder or workspace.report).resolve()
    with _written(folder):
        if is_given:
            _check_ours(folder)
            remove_partials(folder)
        summary = _write(archive, output, folder, changes)
        num_bytes = _num_bytes(folder)
    return Report(
        folder=folder,
        counts=summary["counts"],
        bytes=num_bytes,
        changes=changes.summary if changes else None,
    )


@contextmanager
def _written(folder: Path) -> Iterator[None]:
    """Make the folder; what the disk refuses in the block is an OutputError."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        yield
    except OSError as error:
        raise OutputError(
            f"Expected to write the report to {folder}, got: {error.strerror or error}. Free or "
            "repair the disk, or name another folder with `chromaflow report --output`."
        ) from error


def _check_ours(folder: Path) -> None:
    """Raise UsageError for a folder of somebody else's: a report replaces and removes files."""
    code = [name for name, _ in _page_files() if name != PAGE_NAME]
    if any(folder.iterdir()) and not any((folder / name).exists() for name in code):
        raise UsageError(
            f"Expected an empty folder or that of an earlier report, got {folder}. Name another one "
            "with --output."
        )


def _write(
    archive: Archive, output: str | None, folder: Path, changes: Changes | None
) -> dict[str, Any]:
    """Write all files; run.json, by which `renew_report` knows a whole report, last. Returns its
    value."""
    _write_page(folder)
    tally, columns = _Tally(), archive.columns
    pages = PhotoPages(folder, columns)

    def passing() -> Iterator[Row]:
        for row in archive.rows():
            tally.add(row)
            pages.add(row)
            yield row

    write_table(folder / PHOTOS_NAME, passing(), columns)
    pages.close()
    summary = _summary(archive, output, folder, tally)
    _write_packs(archive, folder)
    _write_twins(archive, folder, summary)
    write_history(archive.workspace, folder, output)
    summary["trainings"] = write_trainings(archive.workspace, folder)
    if changes is not None:
        changes.write(folder)
        summary["changes"] = changes.summary
    else:
        for name in (CHANGES_NAME, CHANGES_TABLE):  # of an earlier report
            (folder / name).unlink(missing_ok=True)
    summary["bytes"]["report"] = _num_bytes(folder)
    write_page_data(folder / "run.js", "run", summary)
    write_json(folder / RESULT_NAME, summary)
    return summary


def renew_report(workspace: Workspace, output: str | None, exit_code: int) -> Path:
    """The page of the report after a run; written anew unless it says the same already.

    output: see `write_report`. exit_code: of the run. Raises OutputError.
    """
    folder = workspace.report
    before = read_json(folder / RESULT_NAME) or {}
    ended = (before.get("run") or {}).get("exit_code")
    if before.get("state") == _state(workspace) and ended == exit_code:
        write_history(workspace, folder, output)
        return folder / PAGE_NAME
    return write_report(workspace, output=output).page


def counts_of(folder: Path) -> dict[str, int]:
    """How many photos the report in a folder says were coloured, failed, …; {} where there is none."""
    return dict((read_json(folder / RESULT_NAME) or {}).get("counts", {}))


def _state(workspace: Workspace) -> dict[str, str]:
    """Hashes of all that a report is made of: what was published, and the page itself."""
    published = {
        f"{stage}/{ARCHIVE}": workspace.current(stage, ARCHIVE) / SUCCESS_NAME
        for stage in ("ingest", "colorize")
    }
    known = {name: hash_file(path) for name, path in published.items() if path.exists()}
    trained = (link for link in workspace.all_current() if link.parent.name in _OF_TRAINING)
    known |= {f"{p.parent.name}/{p.name}": hash_file(p / SUCCESS_NAME) for p in trained}
    kept = [hash_file(path) for path in sorted(store_files(workspace)) if path.suffix == ".json"]
    known |= {"kept": hash_value(kept)} if kept else {}
    step = read_step(workspace.current("colorize", ARCHIVE).resolve())
    if step is not None and (decided := decisions_path(output_of(step))).exists():
        known["decisions"] = hash_file(decided)
    return known | {"page": hash_value([hash_bytes(page) for _, page in _page_files()])}


class _Tally:
    """What the page says of all photos together."""

    def __init__(self) -> None:
        self.statuses: Counter[str] = Counter()
        self.reasons: Counter[tuple[str, str]] = Counter()
        """By status and code."""
        self.examples: dict[tuple[str, str], list[dict[str, str]]] = defaultdict(list)
        self.num_bytes: Counter[str] = Counter()
        self.review: Counter[str] = Counter()
        """How many photos were decided in a review, as `status` says it."""
        self.decided: dict[str, dict[str, str]] = {}
        """By path what a review said, as the page keeps its own decisions."""
        self.first = FirstPhotos()

    def add(self, row: Row) -> None:
        """The next row."""
        self.statuses[row["status"]] += 1
        self.first.add(row)
        if row.get("decision"):
            self.review[row["decision"]] += 1
        if row.get("decision") or row.get("note"):
            said = {name: row.get(name) or "" for name in ("decision", "note")}
            self.decided[row["path"]] = said | {"output": row["output_sha256"][:12], "time": ""}
        if row.get("asked"):
            self.review["to be coloured again"] += 1
        self.num_bytes["photos"] += row.get("bytes") or 0
        self.num_bytes["outputs"] += row.get("output_bytes") or 0
        if row.get("reason"):
            key = row["status"], row["reason"]
            self.reasons[key] += 1
            if len(self.examples[key]) < _EXAMPLES:
                self.examples[key].append({"path": row["path"], "detail": row.get("detail") or ""})


def _summary(archive: Archive, output: str | None, folder: Path, tally: _Tally) -> dict[str, Any]:
    """run.json: what the page says of the run as a whole."""
    workspace, step = archive.workspace, archive.colorized
    statuses = tally.statuses
    request = newest_request(workspace)
    known = known_weights([workspace], [])
    return {
        "version": 1,
        "chromaflow": version("chromaflow"),
        "state": _state(workspace),
        "made": datetime.now(UTC).isoformat(timespec="seconds"),
        "run": run_summary(workspace),
        "source": archive.ingested.source if archive.ingested else str(workspace.root),
        "output": output or (str(archive.root) if archive.root else ""),
        "outputs_at": _relative_url(archive.root, folder) if archive.root else "",
        "photos_at": _relative_url(source, folder) if (source := _folder(archive)) else "",
        "counts": {s: statuses[s] for s in STATUSES if s != KEPT or statuses[s]},
        "bytes": {name: tally.num_bytes[name] for name in ("photos", "outputs")},
        "review": dict(tally.review),
        "decided": tally.decided,
        "first": tally.first.found(),
        "reasons": _reasons(tally, output),
        "categories": list(archive.categories.names),
        "colours": _colours(archive.categories),
        "models": models_of(step, known) if step else None,
        "steps": [
            {**one.to_dict(), "seconds": one.success.seconds, "peak_mb": one.success.peak_mb}
            for one in (archive.ingested, step)
            if one is not None
        ],
        "commands": {
            "reproduce": reproduce_command(request, output),
            "retry": retry_command(output),
            "review": review_command(output),
        },
        "warnings": score_warnings(workspace_scores(workspace)),
        "changes": None,
    }


def _colours(categories: Categories) -> dict[str, str]:
    """Name → colour as HTML has it, that of the pictures of segments."""
    found = category_colours(categories.names)
    return {name: "#" + bytes(rgb).hex() for name, rgb in found.items()}


def _folder(archive: Archive) -> Path | None:
    """The folder that holds the originals; None where they are in an archive, a list or a URL."""
    path = Path(archive.ingested.source) if archive.ingested else None
    return path if path is not None and path.is_dir() else None


def _reasons(tally: _Tally, output: str | None) -> list[dict[str, Any]]:
    """Failures before what was skipped, the most frequent first."""
    found = []
    for (status, code), count in tally.reasons.items():
        reason = explain_reason(code)
        found.append(
            {
                "code": code,
                "status": status,
                "count": count,
                "meaning": reason.meaning,
                "remedy": reason.remedy,
                "may_pass": may_pass(code),
                "retry": retry_command(output, code),
                "examples": tally.examples[status, code],
            }
        )
    return sorted(found, key=lambda r: (r["status"] != FAILED, -r["count"], r["code"]))


def _write_packs(archive: Archive, folder: Path) -> None:
    """Hard-link the small pictures, and remove those of an earlier report."""
    packs = folder / PACKS_FOLDER
    packs.mkdir(exist_ok=True)
    remove_unnamed(packs, "*.js", {f"{name}.js" for name in archive.packs})
    for name, source in archive.packs.items():
        target = packs / f"{name}.js"
        if source.exists() and not _is_as(source, target):
            link_or_copy(source, target, over=True, sync_its_folder=False)
    sync_folder(packs)


def _is_as(source: Path, target: Path) -> bool:
    """Whether a target is the source itself, or a copy made since it was written."""
    if not target.exists():
        return False
    own, other = target.stat(), source.stat()
    is_copy = own.st_size == other.st_size and own.st_mtime_ns >= other.st_mtime_ns
    return is_copy or target.samefile(source)


def _write_twins(archive: Archive, folder: Path, summary: Mapping[str, Any]) -> None:
    """failures.csv, by photos.parquet, and the events of the newest run."""
    by_code = {reason["code"]: reason for reason in summary["reasons"]}
    asked = [name for name in _FAILURE_COLUMNS if name in COLUMNS]
    failures = (
        row | {name: by_code[row["reason"]][name] for name in ("remedy", "retry")}
        for row in RowTable(folder / PHOTOS_NAME).each(*asked)
        if row["status"] == FAILED
    )
    write_csv(folder / FAILURES_NAME, _FAILURE_COLUMNS, failures)
    newest = next(iter(run_ids(archive.workspace)), None)
    events = archive.workspace.runs / newest / EVENTS_NAME if newest else None
    if events is None or not events.exists():
        (folder / EVENTS_NAME).unlink(missing_ok=True)
    else:  # a run that goes on adds its last lines here too
        link_or_copy(events, folder / EVENTS_NAME, over=True)


def _write_page(folder: Path) -> None:
    for name, content in _page_files():
        write_bytes(folder / name, content)


def _page_files() -> list[tuple[str, bytes]]:
    """The page and what it loads from page/, by path below the report."""
    top = files("tasks.report").joinpath(_PAGE_FOLDER)
    found = [(PAGE_NAME, top.joinpath(PAGE_NAME).read_bytes())]
    code = [(one.name, one.read_bytes()) for one in top.joinpath(_CODE_FOLDER).iterdir()]
    return found + [(f"{_CODE_FOLDER}/{name}", content) for name, content in sorted(code)]


def _relative_url(root: Path, folder: Path) -> str:
    """From the page to the outputs, with forward slashes and a slash at its end."""
    return Path(os.path.relpath(root, folder)).as_posix() + "/"


def _num_bytes(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
