"""What `plan` says an archive costs: before anything is known, and after a run has measured it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from command import chromaflow


def cost_of(config: Path) -> dict[str, float]:
    code, out, err = chromaflow("plan", "--config", config, "--json")
    assert code == 0, err
    (row,) = (row for row in json.loads(out)["steps"] if row["step"] == "colorize/archive")
    found: dict[str, float] = row["cost"]
    return found


@pytest.mark.slow
@pytest.mark.usefixtures("shared_server")
def test_plan_says_the_core_hours_of_an_archive_and_of_a_million_photos(
    tmp_path: Path, make_photo: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CHROMAFLOW_CACHE", str(tmp_path / "cache"))
    for number in range(5):
        make_photo(tmp_path / "in" / f"{number}.png", number, gray=True)
    config = tmp_path / "chromaflow.toml"
    config.write_text('[archive]\npath = "in"\n[compute]\nworkers = 3\nthreads = 2\n')
    before = cost_of(config)
    assert (before["photos"], before["measured_photos"], before["cores"]) == (5, 0, 6)
    assert 0.01 < before["core_seconds_a_photo"] < 60  # a photo of 1.4 megapixels, timed now
    kept = json.loads((tmp_path / "cache/speed.json").read_text())["figures"]
    assert before["core_seconds_a_photo"] == pytest.approx(kept["colorize"], abs=1e-4)
    code, said, err = chromaflow("plan", "--config", config)
    assert code == 0 and "core-hours (measured on a photo of 1.4 megapixels)" in said, err
    code, _, err = chromaflow("run", "--config", config, "--workers", "1")
    assert code == 0, err
    after = cost_of(config)
    assert (after["photos"], after["measured_photos"]) == (5, 5)
    folder = max((tmp_path / "workspace" / "runs").iterdir())
    lines = [json.loads(line) for line in (folder / "events.jsonl").read_text().splitlines()]
    items = [line for line in lines if line["event"] == "item_done"]
    seconds = sum(item["seconds"] for item in items if item["item"] != "sheet")
    assert after["core_seconds_a_photo"] == pytest.approx(2 * seconds / 5, rel=1e-3)
    code, _, err = chromaflow("run", "--config", config)  # has nothing to do, and measures nothing
    assert code == 0 and cost_of(config) == after
    kept = json.loads((folder / "plan.json").read_text())["compute"]
    assert (kept["workers"], kept["threads"]) == (1, 2) and "cluster_options" not in kept


def test_a_plan_without_an_archive_names_no_cost_but_what_every_step_takes(
    project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CHROMAFLOW_CACHE", str(tmp_path / "cache"))
    project.write_text(project.read_text().replace('[archive]\npath = "gray"\n', ""))
    code, said, err = chromaflow("plan", "--config", project)
    assert code == 0 and "core-hours" not in said, err
    kept = (tmp_path / "cache/speed.json").read_text()
    code, out, err = chromaflow("plan", "--config", project, "--json")
    assert code == 0 and (tmp_path / "cache/speed.json").read_text() == kept, "measured once"
    steps = json.loads(out)["steps"]
    assert {row["step"].split("/")[0] for row in steps} >= {"train", "evaluate"}
    assert all(row["photos"] > 0 and "seconds" in row for row in steps), steps
    trained = [row["seconds"] for row in steps if row["step"].startswith("train/")]
    assert min(trained) > 0, steps
