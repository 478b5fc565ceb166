"""runs/<run-id>/events.jsonl: what a run does, a JSON object a line, as it happens.

A line is one write to the end of the file, so it survives the death of the process; those that end
something are synced to the disk too. docs/guide.md lists the events and their fields.
"""

from __future__ import annotations

import json
import os
import sys
import threading
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any

from storage.errors import OutputError, UsageError
from storage.records.ledger import read_json, sync_folder
from storage.records.manifest import Quarantined
from storage.records.names import EVENTS_NAME, PLAN_NAME, RESULT_NAME
from storage.records.workspace import Workspace
from storage.visible import ascii_json, visible
from tasks.loudness import is_verbose

EVENTS_VERSION = 1
"""In the first line; a field may come without a new one, none changes its meaning."""
_NAMED = 5
"""Newest runs that a message names."""
_SYNCED = ("run_begun", "step_published", "step_failed", "run_ended")


class EventLog:
    """The open log of a run; its steps write to it side by side."""

    def __init__(self, path: Path | None) -> None:
        """path: None keeps nothing, for stages that are called outside of a run."""
        self._path, self._torn, self._lock = path, False, threading.Lock()
        self._file = -1
        if path is not None:
            self._file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
            sync_folder(path.parent)

    def __enter__(self) -> EventLog:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._path is not None:
            os.close(self._file)

    def write(self, event: str, **facts: Any) -> None:
        """Append an event. facts: JSON values. Raises OutputError when the disk refuses."""
        if self._path is None:
            return
        now = datetime.now(UTC).isoformat(timespec="milliseconds")
        said = {"time": now, "event": event, **facts}
        line = _line(said)
        if is_verbose():
            print(describe(said), file=sys.stderr, flush=True)
        with self._lock:
            try:
                self._append(line)
                if event in _SYNCED:
                    os.fsync(self._file)
            except OSError as error:
                raise OutputError(
                    f"Expected to write {self._path}, got: {error.strerror}. Free or repair the "
                    "disk, then run again; what is done is kept."
                ) from error

    def _append(self, line: bytes) -> None:
        """In one write; after one that the disk cut short, on a line of its own."""
        content = b"\n" * self._torn + line
        self._torn = True
        while content:
            content = content[os.write(self._file, content) :]
        self._torn = False


def quarantine_events(log: EventLog, step: str, rows: Iterable[Quarantined]) -> None:
    """An event a photo."""
    for row in rows:
        found = {"path": row.path, "code": row.code, "detail": row.detail}
        log.write("photo_quarantined", step=step, **found)


def run_ids(workspace: Workspace) -> list[str]:
    """Of every run, the newest first: ids grow, whatever the clock does."""
    return sorted((p.parent.name for p in workspace.runs.glob(f"*/{PLAN_NAME}")), reverse=True)


def find_run(workspace: Workspace, run_id: str | None) -> Path:
    """A run's folder; of None the newest one's. Raises UsageError naming the newest."""
    known = run_ids(workspace)
    if not known:
        raise UsageError(f"Expected a run in {workspace.runs}, found none. Begin one first.")
    if run_id is not None and run_id not in known:
        raise UsageError(
            f"Expected a run of {workspace.runs}, whose newest are {', '.join(known[:_NAMED])}; got "
            f"{run_id!r}."
        )
    return workspace.runs / (run_id or known[0])


def read_events(run_folder: Path) -> list[dict[str, Any]]:
    """The events of a run, in order. Raises UsageError for a run that kept none."""
    return [event for line in _lines(run_folder) if (event := _parse(line)) is not None]


def event_lines(run_folder: Path) -> list[str]:
    """The lines of a run's log that are whole; a kill or a full disk cuts one short.

    Raises UsageError for a run that kept no events.
    """
    return [line for line in _lines(run_folder) if _parse(line) is not None]


def _lines(run_folder: Path) -> list[str]:
    path = run_folder / EVENTS_NAME
    if not path.exists():
        raise UsageError(
            f"Expected events of run {run_folder.name} at {path}, found none: it ran before "
            "Chromaflow kept any."
        )
    return path.read_text(errors="replace").split("\n")


def _parse(line: str) -> dict[str, Any] | None:
    """The event of a line; None where it is not whole."""
    try:
        event = json.loads(line)
    except ValueError:
        return None
    return event if isinstance(event, dict) and "event" in event else None


def run_summary(workspace: Workspace) -> dict[str, Any] | None:
    """What became of the newest run: its run.json and `state`; None where none was begun.

    state: done, failed, interrupted, or running while a process holds the workspace.
    """
    known = run_ids(workspace)
    if not known:
        return None
    folder = workspace.runs / known[0]
    found = {"run_id": known[0], "exit_code": None} | (read_json(folder / RESULT_NAME) or {})
    ended = _ending(folder)
    if ended is not None:
        return found | {key: ended[key] for key in ("state", "exit_code")}
    if found["exit_code"] is not None:  # it kept no events
        return found | {"state": "failed" if found["failures"] else "done"}
    return found | {"state": "running" if workspace.is_locked() else "interrupted"}


def describe(event: Mapping[str, Any]) -> str:
    """An event as a line for people, in which no character acts on a terminal."""
    words = _WORDS.get(event["event"])
    text = words(event) if words else json.dumps(dict(event))
    return visible(f"{event.get('time', ''):<29} {text}")


def _line(event: Mapping[str, Any]) -> bytes:
    """One line of ASCII: JSON escapes all else but DEL."""
    return ascii_json(event).encode() + b"\n"


def _ending(folder: Path) -> dict[str, Any] | None:
    if not (folder / EVENTS_NAME).exists():
        return None
    return next((e for e in reversed(read_events(folder)) if e["event"] == "run_ended"), None)


def _reasons(event: Mapping[str, Any]) -> str:
    return "; ".join(event["reasons"])


_DONE = {"colorize": "coloured", "ingest": "usable"}
"""What a step's photos are that are neither skipped nor failed."""


def counts_in_words(label: str, counts: Mapping[str, Any]) -> str:
    """A step's counts as people read them everywhere: coloured, skipped, failed, as in the report.

    label: of the step.
    """
    done = _DONE.get(label.partition("/")[0], "done")
    return " ".join(f"{name} {count}" for name, count in named_counts(counts, done).items())


def named_counts(counts: Mapping[str, Any], done: str = "done") -> dict[str, Any]:
    """A step's counts by the names that people read. done: of the photos that are of use."""
    names = {"done": done, "filtered": "skipped", "quarantined": "failed"}
    return {names.get(name, name): count for name, count in counts.items()}


def _of_item(event: Mapping[str, Any]) -> str:
    refused = f", {event['quarantined']} failed" if event["quarantined"] else ""
    photos = f"{event['photos']} photos{refused}, {event['seconds']:.1f} s"
    return f"{event['step']} item {event['item']}: {photos}"


def _of_outputs(event: Mapping[str, Any], what: str) -> str:
    more = event["count"] - len(event["outputs"])
    names = ", ".join(event["outputs"]) + (f", and {more} more" if more else "")
    return f"{event['step']} {event['count']} {what}: {names}"


_WORDS: dict[str, Callable[[Mapping[str, Any]], str]] = {
    "run_begun": lambda e: f"run {e['run']} begun by process {e['pid']} on {e['host']}",
    "step_decided": lambda e: f"{e['step']} {e['action']}: {_reasons(e)}",
    "step_begun": lambda e: f"{e['step']} begun: {e['items']} items, {e['photos']} photos",
    "item_done": _of_item,
    "photo_quarantined": lambda e: f"{e['step']} failed {e['path']}: {e['code']}: {e['detail']}",
    "step_published": lambda e: (
        f"{e['step']} published: {e['computed']} computed in {e['seconds']:.1f} s, "
        f"{counts_in_words(e['step'], e['counts'])}"
    ),
    "outputs_kept": lambda e: _of_outputs(e, "outputs without an original now, kept"),
    "outputs_unusable": lambda e: _of_outputs(e, "outputs whose original is of no use now, kept"),
    "outputs_deleted": lambda e: _of_outputs(e, "outputs without an original deleted"),
    "outputs_changed": lambda e: _of_outputs(
        e, "files that somebody wrote to, kept under this name and made anew"
    ),
    "names_escaped": lambda e: (
        f"{e['step']} contact sheet: no font for {', '.join(e['characters'])}, drawn as that"
    ),
    "outputs_theirs": lambda e: _of_outputs(e, "outputs kept, as somebody wrote to them"),
    "step_failed": lambda e: f"{e['step']} FAILED: {e['error']}",
    "page_incomplete": lambda e: (
        f"Prefect's page lacks {', '.join(e['lost'])}: {e['error']}; the run is none the worse"
    ),
    "run_ended": lambda e: f"run {e['state']}: {e['computed']} computed, exit {e['exit_code']}",
}
