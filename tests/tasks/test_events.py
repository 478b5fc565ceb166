"""The event log: what a reader finds in it after kills, full disks and hostile names."""

from __future__ import annotations

import json
import os
import resource
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from storage.errors import OutputError, UsageError
from storage.records.ledger import write_json
from storage.records.names import EVENTS_NAME
from storage.records.workspace import Workspace
from tasks.engine.events import EventLog, describe, event_lines, find_run, read_events, run_summary

ROOT = Path(__file__).parents[2]
HOSTILE = "a\x1b]0;x\x07\x7f\u202ecod\u2028.png\udcff\n"


def begin(workspace: Workspace, run_id: str) -> Path:
    folder = workspace.runs / run_id
    write_json(folder / "plan.json", {"steps": []})
    return folder


def test_a_hostile_name_stays_one_line_of_ascii_and_comes_back_as_it_was(tmp_path: Path) -> None:
    with EventLog(tmp_path / EVENTS_NAME) as log:
        log.write("photo_quarantined", step="ingest/a", path=HOSTILE, code="EMPTY", detail="x")
    content = (tmp_path / EVENTS_NAME).read_bytes()
    assert content.count(b"\n") == 1 and all(32 <= byte < 127 for byte in content[:-1])
    (event,) = read_events(tmp_path)
    assert event["path"] == HOSTILE
    shown = describe(event)
    assert shown.isprintable() and "cod" in shown and "EMPTY" in shown


def test_every_event_written_before_a_kill_is_there(tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from tasks.engine.events import EventLog\n"
        "log = EventLog(Path(sys.argv[1]))\n"
        "for i in range(10**9):\n"
        "    log.write('item_done', item=i)\n"
        "    print(i, flush=True)\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code, tmp_path / EVENTS_NAME],
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        said = [int(process.stdout.readline()) for _ in range(200)]
        process.send_signal(signal.SIGKILL)
        said += [int(line) for line in process.stdout.read().splitlines()]
    assert [event["item"] for event in read_events(tmp_path)][: len(said)] == said


def test_a_line_that_the_disk_cut_short_is_left_out_and_the_next_one_is_whole(
    tmp_path: Path,
) -> None:
    with EventLog(tmp_path / EVENTS_NAME) as log:
        log.write("run_begun", run="x")
        size = (tmp_path / EVENTS_NAME).stat().st_size
        before = resource.getrlimit(resource.RLIMIT_FSIZE)
        handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (size + 20, before[1]))
        try:
            with pytest.raises(OutputError, match="Free or repair"):
                log.write("item_done", item="torn")
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, before)
            signal.signal(signal.SIGXFSZ, handler)
        assert (tmp_path / EVENTS_NAME).stat().st_size == size + 20
        log.write("item_done", item="whole")
    assert [event.get("item") for event in read_events(tmp_path)] == [None, "whole"]
    assert all(json.loads(line) for line in event_lines(tmp_path))


def test_an_unknown_run_names_the_newest_and_a_workspace_without_runs_says_so(
    tmp_path: Path,
) -> None:
    workspace = Workspace(tmp_path)
    with pytest.raises(UsageError, match="found none"):
        find_run(workspace, None)
    assert run_summary(workspace) is None
    for number in range(7):
        begin(workspace, f"20260101T00000{number}-abc")
    assert find_run(workspace, None).name == "20260101T000006-abc"
    with pytest.raises(UsageError) as error:
        find_run(workspace, "nope")
    assert "20260101T000006-abc" in str(error.value) and "000001" not in str(error.value)


def test_the_state_of_a_run_is_what_its_last_event_or_the_lock_says(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path)
    folder = begin(workspace, "20260101T000000-abc")
    with EventLog(folder / EVENTS_NAME) as log:
        log.write("run_begun", run=folder.name)
        with workspace.lock():
            assert (run_summary(workspace) or {})["state"] == "running"
        assert (run_summary(workspace) or {})["state"] == "interrupted"
        log.write("run_ended", state="failed", exit_code=5, computed=0)
    summary = run_summary(workspace)
    assert summary is not None
    assert (summary["state"], summary["exit_code"]) == ("failed", 5)
