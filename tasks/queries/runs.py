"""The history of a workspace: every run with its steps, times, counts and reasons, from what runs keep.

`chromaflow history` prints it and the run report shows it: the same words and numbers.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

from storage.errors import is_policy
from storage.records.ledger import read_json
from storage.records.names import EVENTS_NAME, PLAN_NAME, RESULT_NAME
from storage.records.workspace import Workspace
from tasks.engine.events import run_ids
from tasks.graph import ARCHIVE

_UNREAD = '"event": "item_done"', '"event": "photo_quarantined"'
"""Of a million photos these are most of a log, and run.json has their sums."""
RUNNING, INTERRUPTED = "running", "interrupted"


def history(
    workspace: Workspace, most: int | None = None, known: Mapping[str, dict[str, Any]] | None = None
) -> list[dict[str, Any]]:
    """What every run did, the newest first.

    most: runs at most. known: by id what was read before of runs that have ended.
    """
    ids = run_ids(workspace)[:most]
    found = [(known or {}).get(run_id) or read_run(workspace, run_id) for run_id in ids]
    if found and found[0]["state"] == INTERRUPTED and workspace.is_locked():
        found[0] |= {"state": RUNNING}
    return found


def read_run(workspace: Workspace, run_id: str) -> dict[str, Any]:
    """One run. state: done, failed, interrupted; done with exit code 6 is a run in which photos failed."""
    folder = workspace.runs / run_id
    result = read_json(folder / RESULT_NAME) or {}
    steps: dict[str, dict[str, Any]] = {}
    run: dict[str, Any] = {
        "run_id": run_id,
        "begun": None,
        "ended": None,
        "state": INTERRUPTED,
        "exit_code": result.get("exit_code"),
        "error": None,
    }
    for event in _events(folder / EVENTS_NAME):
        _take(run, steps, event)
    if run["begun"] is None:  # it kept no events
        run["begun"] = _stamp(run_id)
        planned = (read_json(folder / PLAN_NAME) or {}).get("steps", ())
        steps = {row["step"]: dict(row) for row in planned}
    if run["state"] == INTERRUPTED and result:  # its last line is still to come
        run["state"] = "failed" if result["failures"] else "done"
        run["ended"] = max((s["ended"] for s in steps.values() if "ended" in s), default=None)
    for one in result.get("steps", ()):
        known = {name: one[name] for name in ("counts", "computed", "seconds", "folder")}
        steps.setdefault(one["step"], {"step": one["step"]}).update(known)
    run["computed"] = result.get("computed", sum(s.get("computed", 0) for s in steps.values()))
    run["seconds"] = _between(run["begun"], run["ended"])
    return run | {
        "counts": photo_counts(steps),
        "reasons": _reasons(result),
        "steps": list(steps.values()),
    }


def photo_counts(steps: Mapping[str, Mapping[str, Any]]) -> dict[str, int]:
    """How many photos of the archive a run coloured, failed on and skipped; {} without their step."""
    coloured = steps.get(f"colorize/{ARCHIVE}", {}).get("counts")
    if coloured is None:
        return {}
    ingested = steps.get(f"ingest/{ARCHIVE}", {}).get("counts") or {}
    sums = {
        name: coloured.get(one, 0) + ingested.get(one, 0)
        for name, one in (("failed", "quarantined"), ("skipped", "filtered"))
    }
    return {"coloured": coloured["done"]} | sums


def in_words(run: Mapping[str, Any]) -> list[str]:
    """A run as lines for people: when, how long and how it ended; its photos; why each step ran."""
    took = "" if run["seconds"] is None else f", {run['seconds']:.0f} s"
    code = "" if run["exit_code"] is None else f", exit {run['exit_code']}"
    lines = [f"{run['run_id']}  {run['begun'] or ''}{took}: {run['state']}{code}"]
    photos = ", ".join(f"{count} {name}" for name, count in run["counts"].items())
    if photos:
        found = ", ".join(f"{code} {count}" for code, count in run["reasons"].items())
        lines.append(f"  {photos}{f' ({found})' if found else ''}")
    for step in run["steps"]:
        if step.get("action") != "skip":
            why = "; ".join(step.get("reasons") or ())
            waited = f", {step['error']}" if step.get("error") else ""
            computed = f": {step['computed']} computed" if "computed" in step else ""
            lines.append(f"  {step['step']}{computed}{f' ({why})' if why else ''}{waited}")
    return lines


def _take(run: dict[str, Any], steps: dict[str, dict[str, Any]], event: Mapping[str, Any]) -> None:
    """Note an event of a run."""
    kind, time = event["event"], event.get("time")
    if kind == "run_begun":
        run["begun"] = time
    elif kind == "run_ended":
        run |= {"ended": time, "state": event["state"], "exit_code": event["exit_code"]}
        run["error"] = event.get("error")
    elif "step" in event:
        step = steps.setdefault(event["step"], {"step": event["step"]})
        if kind == "step_decided":
            step |= {"action": event["action"], "reasons": event["reasons"], "decided": time}
        elif kind == "step_begun":
            step |= {"begun": time, "items": event["items"], "photos": event["photos"]}
        elif kind in ("step_published", "step_failed"):
            step |= {"ended": time}
            step |= {n: event[n] for n in ("computed", "counts", "seconds", "error") if n in event}


def _events(path: Path) -> Iterator[dict[str, Any]]:
    """The events that say something of steps and the run; a line that was cut short is none."""
    if not path.exists():
        return
    with path.open(errors="replace") as file:
        for line in file:
            if any(one in line for one in _UNREAD):
                continue
            try:
                event = json.loads(line)
            except ValueError:
                continue
            if isinstance(event, dict) and "event" in event:
                yield event


def _reasons(result: Mapping[str, Any]) -> dict[str, int]:
    """How many photos failed or were skipped, by code, failures first."""
    rows = [*result.get("quarantined", ()), *result.get("filtered", ())]
    counts = Counter(row["code"] for row in rows)
    return dict(sorted(counts.items(), key=lambda pair: (is_policy(pair[0]), -pair[1], pair[0])))


def _stamp(run_id: str) -> str | None:
    try:
        return datetime.strptime(run_id.partition("-")[0], "%Y%m%dT%H%M%S").isoformat() + "+00:00"
    except ValueError:
        return None


def _between(begun: str | None, ended: str | None) -> float | None:
    if begun is None or ended is None:
        return None
    first, last = (datetime.fromisoformat(one) for one in (begun, ended))
    return round((last - first).total_seconds(), 3)
