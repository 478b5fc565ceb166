"""The run report as a user meets it: written by `colorize`, renewed and compared by `report`."""

from __future__ import annotations

import json
import os
import urllib.request
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from command import chromaflow
from PIL import Image

pytestmark = pytest.mark.usefixtures("shared_server")


def artifacts(key: str) -> list[dict[str, Any]]:
    request = urllib.request.Request(
        f"{os.environ['PREFECT_API_URL']}/artifacts/filter",
        data=json.dumps({"artifacts": {"key": {"any_": [key]}}}).encode(),
        headers={"Content-Type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=20) as response:
        found: list[dict[str, Any]] = json.load(response)
    return found


def test_colorize_leaves_a_report_that_is_linked_kept_and_compared(
    tmp_path: Path, make_photo: Any
) -> None:
    source, out = tmp_path / "in", tmp_path / "out"
    for i in range(3):
        make_photo(source / f"{i}.png", seed=i, gray=True)
    (source / "broken.jpg").write_bytes(b"no photo")
    code, stdout, err = chromaflow("colorize", source, out, "--json")
    assert code == 6, err
    page = Path(json.loads(stdout)["report"])
    assert page == out / ".chromaflow/report/index.html" and page.exists()
    (artifact,) = [a for a in artifacts("report") if str(page) in a["data"]]
    assert page.as_uri() in artifact["data"]

    run = json.loads((page.parent / "run.json").read_text())
    assert run["run"]["exit_code"] == 6 and run["run"]["state"] == "done"
    assert run["counts"] == {"coloured": 3, "failed": 1, "skipped": 0, "waiting": 0}
    assert run["commands"]["reproduce"] == f"chromaflow colorize {source} {out}"
    events = (page.parent / "events.jsonl").read_text().splitlines()
    assert json.loads(events[-1])["event"] == "run_ended"

    before = (page.parent / "run.json").stat().st_mtime_ns
    code, stdout, err = chromaflow("colorize", source, out, "--json")
    assert (code, json.loads(stdout)["report"]) == (6, str(page)), err
    assert (page.parent / "run.json").stat().st_mtime_ns == before
    assert chromaflow("verify", out)[0] == 0

    code, stdout, err = chromaflow("report", out, "--output", tmp_path / "copy", "--json")
    assert (code, json.loads(stdout)["report"]) == (0, str(tmp_path / "copy/index.html")), err
    assert chromaflow("report", tmp_path / "nothing")[0] == 2
    code, _, err = chromaflow("report", out, "--against", tmp_path / "nothing")
    assert code == 2 and "to be an OUT" in err
    code, stdout, err = chromaflow("report", out, "--against", out, "--json")
    assert (code, json.loads(stdout)["changes"]["equal"]) == (0, 3), err


def test_numbers_and_words_agree_and_runs_are_compared(tmp_path: Path, make_photo: Any) -> None:
    """A run, `status`, `history` and the report of an archive with failures and a photo in colour."""
    source, out = tmp_path / "in", tmp_path / "out"
    for i in range(3):
        make_photo(source / f"{i}.png", seed=i, gray=True)
    colour = np.zeros((80, 96, 3), np.uint8)
    colour[:, :48], colour[:, 48:], colour[::9] = (200, 40, 30), (20, 60, 210), (40, 190, 60)
    Image.fromarray(colour).save(source / "colour.png")
    (source / "broken.jpg").write_bytes(b"no photo")
    code, _, err = chromaflow("colorize", source, out)
    assert code == 6, err
    line = "5 photos of the archive: 3 coloured, 1 failed, 1 skipped, 0 waiting"
    assert line in err.splitlines() and "failed broken.jpg: NOT_A_PHOTO" in err
    assert "skipped: ALREADY_COLOR 1" in err and "quarantined" not in err
    _, status, _ = chromaflow("status", out)
    assert line in status.splitlines() and "quarantined" not in status
    assert run_of(out)["counts"] == {"coloured": 3, "failed": 1, "skipped": 1, "waiting": 0}
    _, stdout, _ = chromaflow("history", out, "--json")
    (first,) = json.loads(stdout)["runs"]
    assert first["counts"] == {"coloured": 3, "failed": 1, "skipped": 1}
    assert first["reasons"] == {"NOT_A_PHOTO": 1, "ALREADY_COLOR": 1}

    (source / "broken.jpg").unlink()
    code, _, err = chromaflow("colorize", source, out, "--palette", "5")
    assert code == 0, "what is skipped is no failure"
    assert "4 photos of the archive: 3 coloured, 0 failed, 1 skipped, 0 waiting" in err
    _, stdout, _ = chromaflow("history", out, "--json")
    runs = json.loads(stdout)["runs"]
    assert [run["exit_code"] for run in runs] == [0, 6] and runs[1] == first
    told = json.loads((out / ".chromaflow/report/history.json").read_text())["runs"]
    assert [run["counts"] for run in told] == [run["counts"] for run in runs]
    code, stdout, _ = chromaflow("history", out)
    assert (
        code == 0 and "  3 coloured, 0 failed, 1 skipped (ALREADY_COLOR 1)" in stdout.splitlines()
    )

    words = ("report", out, "--against", first["run_id"])
    code, stdout, err = chromaflow(*words, "--run", runs[0]["run_id"], "--json")
    changes = json.loads(stdout)["changes"]
    assert (code, changes["colours"], changes["removed"]) == (0, 3, 1), err
    assert changes["mean_dE00"] > 0.5 and changes["against"] == f"run {first['run_id']}"
    code, stdout, err = chromaflow(*words, "--json")
    assert (code, json.loads(stdout)["changes"]["colours"]) == (0, 3), err
    code, _, err = chromaflow(*words, "--run", first["run_id"])
    assert code == 2 and "the later over the earlier" in err
    code, _, err = chromaflow("report", out, "--run", first["run_id"])
    assert code == 2 and "--against" in err


def run_of(out: Path) -> dict[str, Any]:
    """run.json of the report."""
    found: dict[str, Any] = json.loads((out / ".chromaflow/report/run.json").read_text())
    return found
