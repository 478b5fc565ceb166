"""`retry`, `status` and `log` as a user meets them, on a colorize output and on a workspace."""

from __future__ import annotations

import json
import os
import signal
import time
from pathlib import Path
from typing import Any

import pytest
from command import actions, chromaflow, computed, planned, start

from storage.photos.samples import sample
from storage.records.names import EVENTS_NAME
from storage.records.tables import read_rows
from storage.records.workspace import Workspace
from tasks.engine.events import find_run, read_events, run_summary

pytestmark = pytest.mark.usefixtures("shared_server")


def run_json(*words: object, code: int = 0, ahead: str = "") -> Any:
    """What a command prints on stdout. Fails unless it exits with `code`."""
    found, out, err = chromaflow(*words, "--json", ahead=ahead)
    assert found == code, err
    return json.loads(out)


def planned_actions(out: Path, *words: object) -> dict[str, str]:
    """What `plan OUT` says would be done with each step."""
    return {step: action for step, (action, _) in planned(out, *words).items()}


def exchange(path: Path, content: bytes) -> bytes:
    """Put other bytes of the same length into a file, and keep its time. Returns those before."""
    before, stat = path.read_bytes(), path.stat()
    path.write_bytes(content)
    assert len(content) == len(before)
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    return before


@pytest.mark.slow
def test_a_photo_whose_codec_was_missing_is_retried_alone_in_an_output(
    tmp_path: Path, make_photo: Any
) -> None:
    source, out = tmp_path / "in", tmp_path / "out"
    for i in range(3):
        make_photo(source / f"{i}.png", seed=i, gray=True)
    (source / "0.heic").write_bytes(sample("HEIF"))
    (tmp_path / "ahead").mkdir()
    (tmp_path / "ahead/pi_heif.py").write_text("raise ImportError('not installed')\n")
    words = ("colorize", source, out, "--accept", "ALREADY_COLOR")
    first = run_json(*words, code=6, ahead=str(tmp_path / "ahead"))
    assert [row["code"] for row in first["quarantined"]] == ["CODEC_MISSING"]
    coloured = {path: path.stat().st_mtime_ns for path in out.glob("*.color.*")}
    assert len(coloured) == 3

    status = run_json("status", out)
    assert status["last_run"]["state"] == "done" and status["last_run"]["exit_code"] == 6
    assert [row["action"] for row in status["plan"]] == ["skip", "skip"]
    assert planned_actions(out) == {"ingest/archive": "skip", "colorize/archive": "skip"}
    again = planned_actions(out, "--retry")
    assert again == {"ingest/archive": "partial", "colorize/archive": "depends"}
    assert run_json(*words, code=6)["computed"] == 0, "run does not try it again"
    code, lines, err = chromaflow("log", first["run_id"], "--output", out, "--json")
    events = [json.loads(line) for line in lines.splitlines()]
    assert code == 0 and events[-1]["event"] == "run_ended", err
    refused = [event for event in events if event["event"] == "photo_quarantined"]
    assert [(event["path"], event["code"]) for event in refused] == [("0.heic", "CODEC_MISSING")]
    code, _, err = chromaflow("log", "nope", "--output", out)
    assert code == 2 and first["run_id"] in err

    again = run_json("retry", out)
    assert again["quarantined"] == []
    steps = {step["step"]: step["computed"] for step in again["steps"]}
    assert steps == {"ingest/archive": 1, "colorize/archive": 2}, "its chunk and the sheet"
    assert coloured == {path: path.stat().st_mtime_ns for path in coloured}
    assert len(list(out.glob("*.color.*"))) == 4
    code, lines, err = chromaflow("log", "--output", out, "--json")
    events = [json.loads(line) for line in lines.splitlines()]
    done = [event for event in events if event["event"] == "item_done"]
    assert [event["photos"] for event in done if event["step"] == "ingest/archive"] == [1], err
    assert run_json("retry", out)["computed"] == 0
    assert run_json("verify", out)["damaged"] == []
    assert set(planned_actions(out, "--retry").values()) == {"skip"}
    lost = sorted(out.glob("*.color.*"))[:2]
    for path in lost:
        path.unlink()
    action, reasons = planned(out)["colorize/archive"]
    assert action == "partial"
    assert f"{lost[0].name} is missing" in reasons
    damaged = run_json("verify", out, code=7)["damaged"]
    assert all(any(path.name in row["problem"] for row in damaged) for path in lost), damaged


@pytest.mark.slow
def test_what_plan_says_retry_does_and_only_the_shard_of_the_photo_is_made_again(
    project: Path,
) -> None:
    computed(project, "--until", "ingest", "--only", "people")
    manifest = read_rows(project.parent / "workspace/current/ingest/people/manifest.parquet")
    photo = project.parent / "photos/people" / manifest[0]["path"]
    until = ("--until", "preprocess", "--only", "people")
    whole = exchange(photo, bytes(photo.stat().st_size))
    steps = computed(project, *until, code=6)
    assert steps["preprocess/people"]["counts"]["quarantined"] == 1
    exchange(photo, whole)
    assert actions(project)["preprocess/people"] == ("skip", "up to date")
    rows = {row["step"]: row for row in run_json("plan", "--config", project, "--retry")["steps"]}
    assert rows["ingest/people"]["action"] == "skip"
    assert rows["preprocess/people"]["action"] == "partial"
    assert rows["preprocess/people"]["reasons"] == ["to try again: UNREADABLE 1"]
    assert rows["train/people"]["reasons"] == ["not made yet"]
    rows = {
        r["step"]: r for r in run_json("plan", "--config", project, "--reason", "CRASHED")["steps"]
    }
    assert rows["preprocess/people"]["action"] == "skip"
    code, _, err = chromaflow("retry", "--config", project, "--reason", "BAD")
    assert code == 2 and "UNREADABLE" in err

    made = run_json("retry", "--config", project, *until)
    steps = {step["step"]: step for step in made["steps"]}
    assert steps["ingest/people"]["computed"] == 0
    assert steps["preprocess/people"]["computed"] == 1, "one of the two splits"
    assert steps["preprocess/people"]["counts"]["quarantined"] == 0
    assert steps["preprocess/people"]["counts"]["done"] == len(manifest)


def test_a_killed_run_keeps_its_events_and_is_said_to_be_interrupted(
    tmp_path: Path, many_photos: Path
) -> None:
    config = tmp_path / "chromaflow.toml"
    config.write_text(
        f'[datasets]\nbirds = "{many_photos}"\n[preprocess]\nsize = 64\nvariants = 8\n'
    )
    workspace = Workspace(tmp_path / "workspace")
    process = start("run", "--config", config, "--until", "preprocess", "--workers", 1)
    deadline = time.monotonic() + 120
    done: list[dict[str, Any]] = []
    while not done:
        assert time.monotonic() < deadline and process.poll() is None
        time.sleep(0.02)
        if list(workspace.runs.glob(f"*/{EVENTS_NAME}")):
            events = read_events(find_run(workspace, None))
            done = [event for event in events if event["event"] == "item_done"]
    summary = run_summary(workspace)
    assert summary is not None and summary["state"] == "running"
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    events = read_events(find_run(workspace, None))
    assert done[0] in events and events[0]["event"] == "run_begun"
    assert done[0]["photos"] > 0 and done[0]["seconds"] > 0
    status = run_json("status", "--config", config)
    assert status["last_run"]["state"] == "interrupted"
    assert [row["action"] for row in status["plan"]][:2] in (
        ["partial", "run"],
        ["skip", "partial"],
    )
    code, said, err = chromaflow("log", "--config", config)
    assert code == 0 and "begun by process" in said and done[0]["item"] in said, err
    many_photos.rename(tmp_path / "away")
    try:
        status = run_json("status", "--config", config)
    finally:
        (tmp_path / "away").rename(many_photos)
    assert status["plan"] == [] and "Expected" in status["plan_error"]
