"""The history of a workspace and its trainings, from what runs keep."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest
from engine import done_here, run_workflow
from published_training import publish_training

import tasks.engine.execute
from storage.records.ledger import write_json
from storage.records.names import SUCCESS_NAME
from storage.records.workspace import Workspace
from tasks.config.file import load_workflow
from tasks.engine.events import EventLog
from tasks.jobs.stage_items import METHODS
from tasks.queries.runs import history, in_words, read_run
from tasks.queries.trainings import trainings
from tasks.report.writer import write_report

RUN = "20260101T000000-aaaaaa"


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    workspace = Workspace(tmp_path / "workspace")
    workspace.create()
    return workspace


def write_run(workspace: Workspace, run_id: str, *events: tuple[str, dict[str, Any]]) -> Path:
    folder = workspace.runs / run_id
    write_json(folder / "plan.json", {"steps": [], "request": None})
    with EventLog(folder / "events.jsonl") as log:
        for name, facts in events:
            log.write(name, **facts)
    return folder


STEP = {"step": "colorize/archive"}
BEGUN = ("run_begun", {"version": 1, "run": RUN, "pid": 1, "host": "here"})
DECIDED = ("step_decided", {**STEP, "action": "run", "reasons": ["config changed: palette"]})
WORKED = ("step_begun", {**STEP, "items": 2, "photos": 5})
ITEM = ("item_done", {**STEP, "item": "000000", "photos": 5})
COUNTS = {"done": 3, "filtered": 1, "quarantined": 1}
PUBLISHED = ("step_published", {**STEP, "computed": 2, "counts": COUNTS, "seconds": 1.5})
ENDED = ("run_ended", {"state": "done", "exit_code": 6, "computed": 2})


def test_a_run_says_its_photos_times_and_reasons(workspace: Workspace) -> None:
    folder = write_run(workspace, RUN, BEGUN, DECIDED, WORKED, ITEM, PUBLISHED, ENDED)
    rows = [{"code": "TRUNCATED"}]
    result = {"quarantined": rows, "filtered": [{"code": "ALREADY_COLOR"}], "failures": []}
    write_json(folder / "run.json", {"run_id": RUN, "exit_code": 6, "steps": [], **result})
    (run,) = history(workspace)
    assert (run["state"], run["exit_code"], run["computed"]) == ("done", 6, 2)
    assert run["counts"] == {"coloured": 3, "failed": 1, "skipped": 1}
    assert run["reasons"] == {"TRUNCATED": 1, "ALREADY_COLOR": 1}
    (step,) = run["steps"]
    assert run["begun"] <= step["decided"] <= step["begun"] <= step["ended"] <= run["ended"]
    words = in_words(run)
    assert words[1] == "  3 coloured, 1 failed, 1 skipped (TRUNCATED 1, ALREADY_COLOR 1)"
    assert words[2] == "  colorize/archive: 2 computed (config changed: palette)"


def test_killed_failed_and_old_runs_are_told_apart(workspace: Workspace) -> None:
    killed = write_run(workspace, "20260102T000000-bbbbbb", BEGUN, DECIDED, WORKED)
    with (killed / "events.jsonl").open("a") as file:
        file.write('{"time": "2026-01-0')  # torn
    failed = ("step_failed", {**STEP, "error": "no disk", "kind": "OutputError"})
    ended = ("run_ended", {"state": "failed", "exit_code": 8, "computed": 0, "error": "no disk"})
    write_run(workspace, "20260103T000000-cccccc", BEGUN, DECIDED, failed, ended)
    old = workspace.runs / RUN
    write_json(old / "plan.json", {"steps": [{**STEP, "action": "run", "reasons": ["new"]}]})
    runs = {run["run_id"][-6:]: run for run in history(workspace)}
    assert list(runs) == ["cccccc", "bbbbbb", "aaaaaa"], "the newest first"
    assert [run["state"] for run in runs.values()] == ["failed", "interrupted", "interrupted"]
    assert runs["cccccc"]["steps"][0]["error"] == "no disk"
    assert runs["bbbbbb"]["ended"] is None and "ended" not in runs["bbbbbb"]["steps"][0]
    assert runs["aaaaaa"]["steps"][0]["reasons"] == ["new"]
    with workspace.lock():
        assert [run["state"] for run in history(workspace)][:1] == ["failed"]
    known = {"20260102T000000-bbbbbb": {"run_id": "as it was", "state": "done"}}
    assert history(workspace, 2, known)[1]["run_id"] == "as it was", "not read again"
    assert read_run(workspace, RUN)["begun"].startswith("2026-01-01T00:00:00")


def test_trainings_come_with_scores_and_what_was_otherwise_before(workspace: Workspace) -> None:
    before = publish_training(workspace, "people", "1" * 12, expert=9.5, learning_rate=1e-3)
    publish_training(workspace, "people", "2" * 12, expert=8.0, learning_rate=1e-4)
    os.utime(before / SUCCESS_NAME, (1e9, 1e9))
    (found,) = trainings(workspace)
    assert (found["delta_e"], found["epochs"], found["photos"]) == (8.0, 5, 17)
    assert [row["method"] for row in found["scores"]] == list(METHODS)
    assert found["curves"]["delta_e"] == [9.0, None, pytest.approx(8.3333), None, 8.2]
    (earlier,) = found["earlier"]
    assert earlier["delta_e"] == 9.5 and earlier["made"].startswith("2001-09-09")
    assert earlier["differs"] == {"learning_rate": [1e-3, 1e-4]}


@pytest.mark.slow
def test_a_real_training_is_scored_beside_the_starter_and_shown(project: Path) -> None:
    text = project.read_text().replace('places = "photos/places"\n', "")
    workspace = Workspace(project.parent / "workspace")
    with patch.object(tasks.engine.execute, "fan_out", done_here):
        for rate in ("1e-5", "2e-4"):
            project.write_text(text.replace("learning_rate = 1e-5", f"learning_rate = {rate}"))
            outcome = run_workflow(load_workflow(project), until="evaluate")
            assert not outcome.failures, outcome.failures
    (found,) = trainings(workspace)
    scores = {row["method"]: row["delta_e"] for row in found["scores"]}
    assert list(scores) == list(METHODS) and scores["starter"] != scores["expert"]
    assert len(found["earlier"]) == 1 and "learning_rate" in found["earlier"][0]["differs"]
    folder = write_report(workspace).folder
    script = (folder / "training.js").read_text()
    (shown,) = json.loads(script[script.index(" = ") + 3 : script.rindex(";")])
    assert (folder / shown["samples"]).read_bytes() == Path(found["samples"]).read_bytes()
    assert json.loads((folder / "run.json").read_text())["trainings"] == 1
