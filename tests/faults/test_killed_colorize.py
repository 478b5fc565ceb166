"""`chromaflow colorize` killed at random points, again and again: OUT is that of a whole run."""

from __future__ import annotations

import hashlib
import json
import os
import random
import signal
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from command import start
from conftest import draw_photo
from killing import see_all_gone
from PIL import Image

from storage.records.ledger import PARTIAL, read_json

pytestmark = pytest.mark.usefixtures("shared_server")
SEED = int(os.environ.get("CHROMAFLOW_FAULT_SEED", "20261124"))
WORKERS, CHUNK = 2, 8
STATE = ".chromaflow"


def write_photos(folder: Path, number: int) -> Path:
    """Gray photos of three kinds in folders: PNG, JPEG and 16-bit TIFF."""
    for i in range(number):
        path = folder / f"box{i % 4}" / f"{i:04d}"
        path.parent.mkdir(parents=True, exist_ok=True)
        photo = Image.fromarray(draw_photo(i, 72, 56)).convert("L")
        if i % 3 == 2:
            tifffile.imwrite(path.with_suffix(".tif"), np.asarray(photo).astype(np.uint16) * 257)
        else:
            photo.save(path.with_suffix((".png", ".jpg")[i % 3]))
    return folder


def tree(folder: Path) -> dict[str, str]:
    """SHA-256 of every file below a folder but the state, by path."""
    paths = [path.relative_to(folder) for path in sorted(folder.rglob("*")) if path.is_file()]
    shown = [path for path in paths if path.parts[0] != STATE]
    return {str(p): hashlib.sha256((folder / p).read_bytes()).hexdigest() for p in shown}


def records(out: Path) -> dict[Path, int]:
    """Records of chunks that are done, with their times."""
    paths = out.glob(f"{STATE}/stages/colorize/archive/*/done/0*.json")
    return {path: path.stat().st_mtime_ns for path in paths}


def kill_when(num_records: int, out: Path, seconds: float, *words: object) -> bool:
    """Start `chromaflow`; so long after that many records are there, kill its process group.

    Sees that all of it died. Returns whether it had ended before.
    """
    process = start(*words)
    while len(records(out)) < num_records and process.poll() is None:
        time.sleep(0.02)
    try:
        process.communicate(timeout=seconds)
        return True
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
    see_all_gone(process.pid, set())
    return False


@dataclass(frozen=True)
class Whole:
    """A run that nobody killed."""

    tree: dict[str, str]
    chunk_of: dict[str, str]
    """Output → its chunk."""
    first: float
    """Seconds until the first record."""
    seconds: float


def small_chunks(folder: Path) -> Path:
    """A config with chunks of 8 small photos, so that a run has many."""
    config = folder / "models.toml"
    config.write_text(f'[archive]\npath = "photos"\n[colorize]\nchunk = {CHUNK}\n')
    return config


def run_whole(photos: Path, out: Path) -> Whole:
    started = time.monotonic()
    process = start(
        "colorize", photos, out, "--workers", WORKERS, "--models", small_chunks(out.parent)
    )
    while not records(out) and process.poll() is None:
        time.sleep(0.02)
    first = time.monotonic() - started
    _, err = process.communicate(timeout=600)
    assert process.returncode == 0, err
    seconds = time.monotonic() - started
    chunk_of = {}
    for path in records(out):
        record = read_json(path)
        assert record is not None
        chunk_of |= {file["path"]: path.stem for file in record["files"]}
    return Whole(tree(out), chunk_of, first, seconds)


def redone(out: Path, whole: Whole) -> int:
    """Chunks of which a photo is written but no record: the next run makes them again."""
    recorded = {path.stem for path in records(out)}
    written = [str(path.relative_to(out)) for path in out.rglob("*.color.*")]
    return len({whole.chunk_of[name] for name in written if name in whole.chunk_of} - recorded)


def killed_and_resumed(tmp_path: Path, num_photos: int, num_kills: int) -> None:
    rng = random.Random(SEED + num_kills)
    photos = write_photos(tmp_path / "photos", num_photos)
    originals = tree(photos)
    whole = run_whole(photos, tmp_path / "whole")
    num_chunks = -(-num_photos // CHUNK)
    out = tmp_path / "killed"
    words = ("colorize", photos, out, "--workers", WORKERS, "--models", small_chunks(tmp_path))
    pause = (whole.seconds - whole.first) / num_chunks
    kills, landed, most_redone = 0, 0, 0
    before: dict[Path, int] = {}
    while kills < num_kills:
        step_on = rng.choice((0, 1, 1, 2))
        wait = rng.uniform(0.3, 1.2) * whole.first if not step_on else rng.uniform(0, 2 * pause)
        ended = kill_when(min(len(before) + step_on, num_chunks), out, wait, *words)
        kills += 1
        now = records(out)
        assert before.items() <= now.items(), f"a chunk that was done was done again, seed {SEED}"
        landed += not ended and len(now) < num_chunks
        most_redone = max(most_redone, redone(out, whole))
        before = now
    last = start(*words, "--json")
    printed, err = last.communicate(timeout=600)
    assert last.returncode == 0, err
    step: dict[str, Any] = json.loads(printed)["steps"][-1]
    print(
        f"seed {SEED}: {landed} of {num_kills} kills before the last chunk, {len(before)} of "
        f"{num_chunks} chunks were done, {step['computed']} items computed by the last run, at "
        f"most {most_redone} chunks begun a kill"
    )
    assert before.items() <= records(out).items(), f"seed {SEED}"
    assert step["computed"] in (0, num_chunks - len(before), num_chunks - len(before) + 1)
    assert most_redone <= WORKERS, f"seed {SEED}"
    assert tree(out) == whole.tree, f"seed {SEED}"
    assert not list(out.rglob(f"*{PARTIAL}")), f"seed {SEED}"
    see_all_gone(last.pid, set())
    assert landed >= min(num_kills, 2) / 2, "the kills fell into the work"
    assert tree(photos) == originals


@pytest.mark.timeout(600)
@pytest.mark.slow
def test_killed_twice_the_output_is_that_of_a_whole_run(tmp_path: Path) -> None:
    killed_and_resumed(tmp_path, num_photos=60, num_kills=2)


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_killed_20_times_the_output_is_that_of_a_whole_run(tmp_path: Path) -> None:
    killed_and_resumed(tmp_path, num_photos=200, num_kills=20)


@pytest.mark.slow
def test_what_a_killed_writer_left_in_the_output_is_removed(tmp_path: Path) -> None:
    photos = write_photos(tmp_path / "photos", 12)
    out = tmp_path / "out"
    left = out / "box0" / f".{'0' * 16}{PARTIAL}"
    left.parent.mkdir(parents=True)
    left.write_bytes(b"half a photo")
    process = start("colorize", photos, out)
    _, err = process.communicate(timeout=240)
    assert process.returncode == 0, err
    assert not left.exists()
