"""A folder that photos arrive in: what is new, what is being written, what became of them."""

from __future__ import annotations

import os
import time
from collections.abc import Container, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from colorization.errors import ConfigError
from storage.records.fingerprint import hash_value
from storage.records.manifest import IGNORED
from storage.records.names import EVENTS_NAME, SEEN_NAME, STATE_NAME
from storage.records.tables import read_rows
from storage.records.workspace import Workspace
from storage.sources.entries import SourceFile
from storage.sources.files import list_files, write_list
from storage.sources.locations import check_folder
from storage.sources.nesting import refuse_nesting
from storage.sources.no_photo import has_text_name
from storage.visible import visible_value
from tasks.engine.events import EventLog
from tasks.engine.stages import Step, StepName
from tasks.engine.verification import read_success
from tasks.graph import ARCHIVE
from tasks.prefect_page import PrefectPage
from tasks.results import RunResult

COLOURED, WAITING, UNKNOWN = "coloured", "still being written", "not finished"
NO_PHOTO = "no photo"
_LIST_NAME = "inbox.txt"
_MOST_SHOWN = 100


@dataclass(frozen=True, kw_only=True, slots=True)
class Arrival:
    """What an inbox holds at one look."""

    location: str
    """The list of all photos that are whole, new or not; empty where there is none."""
    new: tuple[str, ...] = ()
    """Paths that are whole and were not there, or differed, when the inbox was last coloured."""
    whole: tuple[str, ...] = ()
    """Paths of all photos that are whole."""
    waiting: tuple[str, ...] = ()
    """Paths that changed while they were watched."""


@dataclass(frozen=True, kw_only=True, slots=True)
class InboxReport:
    """What came, by path."""

    outcomes: dict[str, str]
    """coloured, no photo, still being written, not finished, or the reason code of a photo that is not used."""
    computed: int = 0
    """Items computed."""


def look(inbox: Path, output: Path, settle_seconds: float) -> Arrival:
    """List an inbox; files that change within `settle_seconds` are left for the next look.

    Only where something is new is there anything to wait for. Hidden files and text are none of it.
    Raises UsageError where the inbox is missing or holds the output, LockedError where another run
    works on the output.
    """
    if settle_seconds < 0:
        raise ConfigError(f"Expected settle_seconds of 0 or more, got {settle_seconds}.")
    inbox = check_folder(inbox, "new photos")
    refuse_nesting(str(inbox), output)
    workspace = Workspace(output.resolve() / STATE_NAME)
    seen = _seen(workspace)
    before = _list_photos(inbox)
    if all(_identity(file) in seen for file in before):
        whole = before
    else:
        time.sleep(settle_seconds)
        after = set(_list_photos(inbox))
        whole = [file for file in before if file in after]
    waiting = {file.path for file in before} - {file.path for file in whole}
    return Arrival(
        location=_write(workspace, inbox, whole) if whole else "",
        new=tuple(file.path for file in whole if _identity(file) not in seen),
        whole=tuple(file.path for file in whole),
        waiting=tuple(sorted(waiting)),
    )


def is_published(steps: Iterable[Step]) -> bool:
    """Whether every step is published at its fingerprint.

    Unlike `decide` it reads no published file: the look at an inbox where nothing came must be
    cheap, however many photos were coloured before.
    """
    digests: dict[StepName, str] = {}
    for step in steps:
        fingerprint = hash_value(step.parts(digests))
        success = read_success(step.workspace.stage_dir(step.stage, step.key, fingerprint))
        if success is None:
            return False
        digests[step.name] = success.digest
    return True


def report(workspace: Workspace, arrival: Arrival, result: RunResult | None = None) -> InboxReport:
    """Say what became of what came, in an artifact if anything did. result: of the run, if any.

    Where the artifact is lost, the run's events say so. Raises ServerGoneError where the server does
    not answer at all any more.
    """
    found = InboxReport(
        outcomes=_outcomes(workspace, arrival, result), computed=result.computed if result else 0
    )
    page = PrefectPage()
    if found.outcomes:
        rows = [{"photo": path, "outcome": outcome} for path, outcome in found.outcomes.items()]
        whole, waiting = len(arrival.new), len(arrival.waiting)
        said = f"{whole} new photos, {waiting} still being written"
        page.show_table("inbox", visible_value(rows[:_MOST_SHOWN]), said)
    if page.has_lost and result is not None:
        with EventLog(workspace.runs / result.run_id / EVENTS_NAME) as events:
            page.report_lost(events)
    page.see_the_end(found)
    return found


def _outcomes(workspace: Workspace, arrival: Arrival, result: RunResult | None) -> dict[str, str]:
    outcomes = dict.fromkeys(arrival.waiting, WAITING)
    ignored = {row["path"] for row in _seen_rows(workspace) if row["code"] == IGNORED}
    return outcomes | {path: _outcome(path, result, ignored) for path in arrival.new}


def _outcome(path: str, result: RunResult | None, ignored: Container[str]) -> str:
    if result is None:
        return UNKNOWN
    if path in ignored:
        return NO_PHOTO
    rows = (*result.quarantined, *result.filtered)
    codes = [row["code"] for row in rows if row["path"] == path]
    return codes[0] if codes else UNKNOWN if result.failures else COLOURED


def _list_photos(inbox: Path) -> list[SourceFile]:
    return [file for file in list_files(inbox) if not has_text_name(file.path)]


def _identity(file: SourceFile) -> tuple[str, int, str]:
    return file.path, file.bytes, file.stamp


def _seen(workspace: Workspace) -> set[tuple[str, int, str]]:
    """Path, bytes and stamp of the files that were looked at when the inbox was last coloured."""
    return {(row["path"], row["bytes"], row["stamp"]) for row in _seen_rows(workspace)}


def _seen_rows(workspace: Workspace) -> list[dict[str, Any]]:
    table = workspace.current("ingest", ARCHIVE) / SEEN_NAME
    return read_rows(table) if table.exists() else []


def _write(workspace: Workspace, inbox: Path, files: Sequence[SourceFile]) -> str:
    """Write the list of whole photos as a source; NUL ends a path, which may hold line breaks."""
    workspace.create()
    lines = b"".join(os.fsencode(file.path) + b"\0" for file in files)
    with workspace.lock():  # a run under way reads its list
        return write_list(lines, inbox, workspace.root / _LIST_NAME)
