"""The first photos of a large archive are in colour before all of it is read, and nothing hangs on it."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import subprocess
import sys
import time
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from conftest import draw_photo
from engine import write_expert
from killing import see_all_gone
from PIL import Image

from storage.records.workspace import Workspace
from tasks.ahead import _entangled
from tasks.engine.events import find_run, read_events

NUM_PHOTOS = 41
SMALL = """
from tasks.control import go_without_prefect
go_without_prefect()
import tasks.ingest
tasks.ingest._PHOTOS_PER_CHUNK, tasks.ingest._FIRST_PHOTOS = {chunk}, 2
from flows.cli.app import main
main()
"""
"""The command, where {chunk} photos make a large archive."""
MODELS = """
[archive]
path = "in"
[experts]
people = "expert.safetensors"
birds = "expert.safetensors"
animals = "expert.safetensors"
places = "expert.safetensors"
[colorize]
segmenter = "quarter_segmenter:Quarters"
chunk = 16
"""
"""Of the smallest network, and no segmenter."""

pytestmark = pytest.mark.usefixtures("no_server")


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    """Small gray photos; the first one's name is another's but for its case, the second has an XMP file,
    the fourth is cut short."""
    folder = tmp_path / "in"
    folder.mkdir()
    for i in range(NUM_PHOTOS):
        Image.fromarray(draw_photo(i, 48, 40)).convert("L").save(folder / f"p{i:02d}.png")
    (folder / "P00.png").write_bytes((folder / "p40.png").read_bytes())
    (folder / "p01.xmp").write_text("<x:xmpmeta xmlns:x='adobe:ns:meta/'/>")
    (folder / "p03.png").write_bytes((folder / "p03.png").read_bytes()[:-50])
    write_expert(tmp_path / "expert.safetensors")
    (tmp_path / "models.toml").write_text(MODELS)
    return folder


def start(archive: Path, out: Path, chunk: int = 2) -> subprocess.Popen[str]:
    models = archive.parent / "models.toml"
    words = ("colorize", archive, out, "--models", models, "--workers", 1, "--json")
    root = Path(__file__).parents[1]
    return subprocess.Popen(
        [sys.executable, "-P", "-c", SMALL.format(chunk=chunk), *map(str, words)],
        env={**os.environ, "PYTHONPATH": f"{root}:{root.parent}"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def finished(process: subprocess.Popen[str]) -> dict[str, Any]:
    out, err = process.communicate(timeout=280)
    assert process.returncode == 6, (
        f"{err[-3000:]}\n{out[-3000:]}"
    )  # for the photo that is cut short
    result: dict[str, Any] = json.loads(out)
    return result


def coloured(out: Path) -> dict[str, str]:
    """SHA-256 of every output."""
    return {p.name: hashlib.sha256(p.read_bytes()).hexdigest() for p in out.glob("*.color.png")}


def step_folders(out: Path) -> list[str]:
    folders = (out / ".chromaflow/stages/colorize/archive").iterdir()
    return sorted(folder.name for folder in folders)


@pytest.mark.timeout(900)
def test_photos_are_in_colour_before_ingest_ends_and_the_outcome_is_the_same(
    archive: Path, tmp_path: Path
) -> None:
    ahead, plain = tmp_path / "ahead", tmp_path / "plain"
    result = finished(start(archive, ahead))
    same = finished(start(archive, plain, chunk=256))
    first = min(path.stat().st_mtime for path in ahead.glob("*.color.png"))
    events = read_events(find_run(Workspace(ahead / ".chromaflow"), None))
    read = next(e["time"] for e in events if e["event"] == "step_published")
    assert first < datetime.fromisoformat(read).timestamp()
    done = [e["step"] for e in events if e["event"] == "item_done"]
    assert done.count("ingest/archive") > 20

    assert coloured(ahead) == coloured(plain) and len(coloured(ahead)) == NUM_PHOTOS
    for key in ("quarantined", "outputs"):
        assert result[key] == same[key]
    steps = [{step["step"]: step for step in one["steps"]} for one in (result, same)]
    assert steps[0]["colorize/archive"]["counts"] == steps[1]["colorize/archive"]["counts"]
    assert steps[0]["colorize/archive"]["computed"] == steps[1]["colorize/archive"]["computed"]
    assert step_folders(ahead) == step_folders(plain), "what was done ahead is the step's own now"
    times = {path: path.stat().st_mtime_ns for path in ahead.glob("*.color.png")}
    again = finished(start(archive, ahead))
    assert again["computed"] == 0
    assert times == {path: path.stat().st_mtime_ns for path in times}


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_kill_while_both_are_under_way_costs_nothing_that_was_recorded(
    archive: Path, tmp_path: Path
) -> None:
    out, plain = tmp_path / "out", tmp_path / "plain"
    process = start(archive, out)
    deadline = time.monotonic() + 200
    while not list(out.glob(".chromaflow/stages/colorize/archive/*/done/ahead-*.json")):
        assert process.poll() is None and time.monotonic() < deadline, process.communicate()
        time.sleep(0.02)
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    see_all_gone(process.pid, set())
    before = {path: path.stat().st_mtime_ns for path in out.glob("*.color.png")}
    assert before
    finished(start(archive, out))
    finished(start(archive, plain, chunk=256))
    assert coloured(out) == coloured(plain)
    assert step_folders(out) == step_folders(plain)
    assert before == {path: path.stat().st_mtime_ns for path in before}, "taken over, not made anew"


def test_photos_whose_names_or_sidecars_hang_on_others_wait() -> None:
    listed = ["a.png", "A.png", "b.png", "b.xmp", "c.png", "c.png.XMP", "d.png", "d.txt", "e/a.png"]
    assert set(_entangled(["a.png", "b.png", "c.png", "d.png"], listed)) == {
        "a.png",
        "b.png",
        "c.png",
    }
