"""The command as a user meets it: separate processes, exit codes, real files."""

from __future__ import annotations

import json
import os
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from command import actions, chromaflow, computed, shard_hashes, start
from PIL import Image

pytestmark = pytest.mark.usefixtures("shared_server")


def test_missing_folder_is_a_usage_error_in_under_a_second_of_processor_time(
    tmp_path: Path,
) -> None:
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    code, _, err = chromaflow("colorize", tmp_path / "nowhere", tmp_path / "out")
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert code == 2
    assert after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime < 1
    assert "nowhere" in err
    assert not (tmp_path / "out").exists()


def test_unknown_key_and_unknown_stage_name_the_allowed_ones(tmp_path: Path, project: Path) -> None:
    bad = tmp_path / "bad.toml"
    bad.write_text("[ingest]\nvalshare = 0.5\n")
    code, _, err = chromaflow("plan", "--config", bad)
    assert code == 2 and "val_share" in err and "valshare" in err
    code, _, err = chromaflow("run", "--config", project, "--from", "prepare")
    assert code == 2 and "preprocess" in err


def test_output_inside_the_archive_is_refused(tmp_path: Path, make_photo: Any) -> None:
    make_photo(tmp_path / "in" / "a.png", gray=True)
    code, _, err = chromaflow("colorize", tmp_path / "in", tmp_path / "in" / "out")
    assert code == 2 and "outside" in err


def test_missing_torchvision_weights_exit_3_with_the_command(
    tmp_path: Path, make_photo: Any
) -> None:
    make_photo(tmp_path / "in" / "a.png", gray=True)
    name = "torchvision:deeplabv3_resnet101"
    code, _, err = chromaflow("colorize", tmp_path / "in", tmp_path / "o", "--segmenter", name)
    assert code == 3 and f"chromaflow models fetch {name}" in err


def test_explain_knows_a_code_and_lists_them_for_another() -> None:
    assert "ends before" in chromaflow("explain", "truncated")[1]
    code, _, err = chromaflow("explain", "NOPE")
    assert code == 2 and "TRUNCATED" in err


def test_bad_files_are_quarantined_and_the_good_photo_is_done(
    tmp_path: Path, make_photo: Any, no_server: None
) -> None:
    source = tmp_path / "in"
    good = make_photo(source / "good.jpg", gray=True, size=(301, 211))
    (source / "empty.jpg").touch()
    (source / "text.png").write_text("no picture at all")
    (source / "cut.jpg").write_bytes(good.read_bytes()[:-600])
    before = {path: path.read_bytes() for path in source.iterdir()}
    code, out, err = chromaflow("colorize", source, tmp_path / "out", "--json")
    assert code == 6, err
    result = json.loads(out)
    codes = {row["path"]: row["code"] for row in result["quarantined"]}
    assert codes == {"empty.jpg": "EMPTY", "text.png": "NOT_A_PHOTO", "cut.jpg": "TRUNCATED"}
    with Image.open(tmp_path / "out" / "good.jpg.color.jpg") as image:
        assert image.size == (301, 211)
        assert image.mode == "RGB"
    assert {path: path.read_bytes() for path in source.iterdir()} == before


@pytest.fixture
def finished(project: Path) -> Path:
    code, out, err = chromaflow("run", "--config", project, "--json")
    assert code == 0, err
    assert json.loads(out)["computed"] > 0
    return project


def test_a_run_a_rerun_a_new_photo_a_changed_setting_and_a_deleted_shard(
    finished: Path, make_photo: Any
) -> None:
    workspace = finished.parent / "workspace"
    for i in range(3):
        with (
            Image.open(finished.parent / "gray" / f"scan{i}.png") as gray,
            Image.open(workspace / "colorized" / f"scan{i}.png.color.png") as colour,
        ):
            assert colour.size == gray.size
            luma = np.asarray(colour.convert("L")).astype(int) - np.asarray(gray)
            assert np.abs(luma).mean() < 12, "colour is added; the picture stays"
            assert np.ptp(np.asarray(colour).astype(int), axis=2).max() > 5, "it is in colour"
    with Image.open(workspace / "current/colorize/archive/report/contact-sheet.png") as sheet:
        rows = np.asarray(sheet.convert("RGB"))[60:200].astype(int)
        merged = rows[:, 8 + 3 * 232 : 8 + 3 * 232 + 224]
        assert np.ptp(merged, axis=2).max() > 5, "the merged column of the sheet is in colour"

    code, out, err = chromaflow("run", "--config", finished, "--json")
    assert code == 0 and json.loads(out)["computed"] == 0, err
    assert {action for action, _ in actions(finished).values()} == {"skip"}

    coloured = {path: path.stat().st_mtime_ns for path in workspace.glob("colorized/*")}
    make_photo(finished.parent / "gray" / "a-new-scan.png", seed=9, gray=True)
    steps = computed(finished)
    assert steps["colorize/archive"]["computed"] == 2, "the new photo and the sheet"
    assert steps["colorize/archive"]["counts"]["done"] == 4
    assert coloured == {path: path.stat().st_mtime_ns for path in coloured}
    assert (workspace / "colorized/a-new-scan.png.color.png").exists()

    shard = next(iter(shard_hashes(workspace)))
    hashes = shard_hashes(workspace)
    (workspace / shard).unlink()
    planned = actions(finished)
    damaged = {step for step, (action, _) in planned.items() if action != "skip"}
    category = shard.split("/")[2]
    assert damaged == {f"preprocess/{category}"}
    assert "is missing" in planned[f"preprocess/{category}"][1]
    code, out, err = chromaflow("run", "--config", finished, "--json")
    assert code == 0 and json.loads(out)["computed"] == 1, err
    assert shard_hashes(workspace) == hashes

    finished.write_text(finished.read_text().replace("size = 64", "size = 64\nsaturation = 1.5"))
    planned = actions(finished)
    changed = {step: action for step, (action, _) in planned.items() if action != "skip"}
    after = {f"{stage}/{key}" for stage in ("train", "evaluate") for key in ("people", "places")}
    assert changed == {
        **dict.fromkeys(("preprocess/people", "preprocess/places"), "run"),
        **dict.fromkeys(after | {"colorize/archive"}, "depends"),  # other shards, or the same ones
    }
    assert "saturation: 1.2 → 1.5" in planned["preprocess/people"][1]


@pytest.mark.slow
def test_a_stage_run_alone_reads_what_the_plan_means_not_what_ran_last(project: Path) -> None:
    workspace, text = project.parent / "workspace", project.read_text()
    folders = []
    for saturation in ("1.2", "1.5"):
        project.write_text(text.replace("size = 64", f"size = 64\nsaturation = {saturation}"))
        computed(project, "--until", "preprocess")
        folders.append((workspace / "current/preprocess/people").resolve())
    project.write_text(text)
    assert chromaflow("train", "--config", project, "--only", "people")[0] == 0
    assert (workspace / "current/preprocess/people").resolve() == folders[0] != folders[1]


@pytest.mark.slow
def test_killed_in_the_middle_of_training_a_run_goes_on_from_its_last_epoch(project: Path) -> None:
    text = project.read_text()
    project.write_text(
        text.replace("epochs = 2", "epochs = 12").replace('[archive]\npath = "gray"\n', "")
    )
    workspace = project.parent / "workspace"
    process = start("run", "--config", project, "--until", "train", "--only", "people")
    deadline = time.monotonic() + 200
    checkpoints = "stages/train/people/*/checkpoints/*.json"
    while not any(int(path.stem.split("-")[0]) >= 6 for path in workspace.glob(checkpoints)):
        assert time.monotonic() < deadline and process.poll() is None
        time.sleep(0.05)
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    before = shard_hashes(workspace)
    records = {p: p.stat().st_mtime_ns for p in workspace.glob("stages/preprocess/*/*/done/*.json")}
    code, out, err = chromaflow(
        "run", "--config", project, "--until", "train", "--only", "people", "--json"
    )
    assert code == 0, err
    steps = {step["step"]: step for step in json.loads(out)["steps"]}
    assert steps["preprocess/people"]["computed"] == 0
    assert steps["train/people"]["counts"]["epochs"] == 12
    assert shard_hashes(workspace) == before
    assert records == {p: p.stat().st_mtime_ns for p in records}


@pytest.mark.slow
def test_killed_in_the_middle_of_preprocess_finished_shards_stay(
    tmp_path: Path, many_photos: Path
) -> None:
    """That the shards are those of an uninterrupted run: tests/faults/test_killed_runs.py."""
    config = tmp_path / "chromaflow.toml"
    config.write_text(
        f'[datasets]\nbirds = "{many_photos}"\n[preprocess]\nsize = 64\nvariants = 8\n'
    )
    words = ("run", "--config", config, "--until", "preprocess", "--workers", 1)
    process = start(*words)
    done = "stages/preprocess/birds/*/done/*.json"
    workspace = tmp_path / "workspace"
    deadline = time.monotonic() + 120
    while not list(workspace.glob(done)):
        assert time.monotonic() < deadline and process.poll() is None
        time.sleep(0.005)
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    records = {path: path.stat().st_mtime_ns for path in workspace.glob(done)}
    code, out, err = chromaflow(*words, "--json")
    assert code == 0, err
    steps = {step["step"]: step for step in json.loads(out)["steps"]}
    num_shards = len(shard_hashes(workspace))
    assert 0 < len(records) < num_shards
    assert steps["preprocess/birds"]["computed"] == num_shards - len(records)
    assert records == {path: path.stat().st_mtime_ns for path in records}


def test_the_process_that_hands_work_out_does_without_torch():
    code = "import sys, flows.pipeline, flows.colorize; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120)
