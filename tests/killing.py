"""Kill a run of the whole pipeline, and see that the next one ends as one that nobody killed."""

from __future__ import annotations

import hashlib
import json
import os
import random
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import pandas as pd
import psutil
from command import start
from conftest import draw_photo, write_textured
from PIL import Image

from storage.records.ledger import PARTIAL, read_json
from storage.records.names import EVENTS_NAME, SUCCESS_NAME
from tasks.config.file import load_workflow
from tasks.engine.verification import read_success
from tasks.graph import build_steps, plan
from tasks.stage_table import STAGE_NAMES

HOOK = Path(__file__).parent / "kill_hook"
CATEGORIES = ("animals", "birds", "places")
NUM_TRAINING, NUM_GRAY = 60, 20
"""Photos of each category, and of the archive: 200 in all."""
_TIMES = ["seconds", "wait_share"]
"""Columns of metrics.parquet that no two runs share."""
_CONFIG = """
[datasets]
animals = "photos/animals"
birds = "photos/birds"
places = "photos/places"
[archive]
path = "photos/gray"
output = "colour"
[ingest]
val_share = 0.2
[preprocess]
size = 32
[train]
min_photos = 4
[train.overrides]
network = "resnet18-trunk"
epochs = 2
batch = 32
crop = 0
precision = "fp32"
[colorize]
short_side = 32
chunk = 4
sheet = 2
[compute]
cores = 1
checkpoint_seconds = 0
sheet_every = 9
"""


@dataclass(frozen=True, kw_only=True)
class KillPoint:
    """Where in its own work a process is killed."""

    role: str
    """driver, or worker: the first Dask worker that gets there."""
    when: str
    """`temporary written`: before the rename to the final name. `renamed`: after it. `opening`:
    before a file is opened."""
    path: str
    """Regular expression that the file's path matches."""
    occurrence: int = 1


def make_project(folder: Path) -> Path:
    """Three categories of 60 photos and an archive of 20. Returns the config."""
    for number, category in enumerate(CATEGORIES):
        (folder / "photos" / category).mkdir(parents=True)
        for i in range(NUM_TRAINING):
            path = folder / "photos" / category / f"{i:03d}.jpg"
            write_textured(path, NUM_TRAINING * number + i)
    (folder / "photos/gray").mkdir()
    for i in range(NUM_GRAY):
        photo = Image.fromarray(draw_photo(i, 48, 40)).convert("L")
        photo.save(folder / "photos/gray" / f"{i:03d}.png")
    config = folder / "chromaflow.toml"
    config.write_text(_CONFIG)
    return config


def tree(folder: Path) -> dict[str, str]:
    """What the outputs of a project are: SHA-256 by path, links by target.

    Without runs, locks, times and what was written for people while training.
    """
    found = {}
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        if path.is_symlink():
            found[name] = f"→ {path.readlink()}"
        elif path.is_file() and _is_output(path.relative_to(folder)):
            found[name] = hashlib.sha256(_lasting(path)).hexdigest()
    return found


def _is_output(path: Path) -> bool:
    inside = path.parts[1:] if path.parts[0] == "workspace" else path.parts
    if inside[0] not in ("stages", "current", "colour") or path.name.startswith("."):
        return False
    trained = inside[:2] == ("stages", "train")
    return not (trained and {"tensorboard", "done"} & set(inside))


def _lasting(path: Path) -> bytes:
    """A file's bytes, without the times in it."""
    if path.name == "metrics.parquet":
        return pd.read_parquet(path).drop(columns=_TIMES).to_json().encode()
    if {"colorize", "done"} <= set(path.parts):
        record = json.loads(path.read_bytes())
        for photo in record.get("outputs", ()):  # the sheet's record has none
            photo.pop("seconds", None)
        return json.dumps(record, sort_keys=True).encode()
    if path.name != SUCCESS_NAME:
        return path.read_bytes()
    success = read_success(path.parent)
    assert success is not None, path
    keep = ("root", "fingerprint", "digest", "counts")
    names = [output.path for output in success.outputs]
    kept = {key: getattr(success, key) for key in keep} | {"items": sorted(success.items)}
    return json.dumps([kept, names], sort_keys=True).encode()


def records(workspace: Path) -> dict[Path, int]:
    """Of every item that is done, with their times."""
    found = workspace.glob("stages/*/*/*/done/*.json")
    return {path.relative_to(workspace): path.stat().st_mtime_ns for path in found}


def events(workspace: Path) -> list[dict[str, Any]]:
    """Of the newest run; none before it begins."""
    logs = sorted(workspace.glob(f"runs/*/{EVENTS_NAME}"))
    if not logs:
        return []
    lines = logs[-1].read_bytes().split(b"\n")
    return [json.loads(line) for line in lines if line.endswith(b"}")]


def session(leader: int) -> list[psutil.Process]:
    """Living processes of the session that a command leads: its workers and decoders too."""
    found = []
    for process in psutil.process_iter():
        try:
            if os.getsid(process.pid) == leader and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
        except (ProcessLookupError, psutil.Error):
            continue
    return found


def see_all_gone(leader: int, ports: set[int], seconds: float = 10.0) -> None:
    """No process of a session is left, and nobody listens on its ports."""
    deadline = time.monotonic() + seconds
    while left := [str(process) for process in session(leader)]:
        assert time.monotonic() < deadline, left
        time.sleep(0.1)
    listening = {c.laddr.port for c in psutil.net_connections("tcp") if c.status == "LISTEN"}
    assert not listening & ports


def listening_ports(leader: int) -> set[int]:
    """Ports that a session listens on; all on loopback."""
    ports = set()
    for process in session(leader):
        try:
            found = process.net_connections("tcp")
        except psutil.Error:
            continue
        for connection in found:
            if connection.status == psutil.CONN_LISTEN:
                assert connection.laddr.ip in ("127.0.0.1", "::1"), connection
                ports.add(connection.laddr.port)
    return ports


@dataclass(frozen=True, kw_only=True)
class Golden:
    """A run that nobody killed."""

    tree: dict[str, str]
    originals: dict[str, str]
    num_items: int
    item_of: dict[str, str]
    """Written file → its item's record, relative to the workspace."""
    offsets: list[float]
    """Seconds of each event after the start of the command, from 0."""


class Project:
    """One project folder, used again and again: absolute paths are part of fingerprints."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.config = folder, make_project(folder)
        self.workspace = folder / "workspace"
        self._kept = folder.with_name(f"{folder.name}-golden")
        self.golden = self._make_golden()

    def start(self, *words: object, points: Sequence[KillPoint] = ()) -> subprocess.Popen[str]:
        """`chromaflow run`, leader of a session of its own. points: where it is killed."""
        wanted = [
            {**asdict(point), "marker": str(self._marker(i))} for i, point in enumerate(points)
        ]
        return start(
            *("run", "--config", self.config, "--json", *words),
            ahead=str(HOOK),
            variables={"CHROMAFLOW_KILL": json.dumps(wanted)},
        )

    def _marker(self, number: int) -> Path:
        """A file that says that a process was killed at a point; only one is."""
        return self.folder.with_name(f"{self.folder.name}-killed-{number}")

    def empty(self) -> None:
        """As if nothing had ever run."""
        shutil.rmtree(self.workspace, ignore_errors=True)
        shutil.rmtree(self.folder / "colour", ignore_errors=True)

    def before(self, stage: str) -> None:
        """As the run that nobody killed was before this stage."""
        self.empty()
        shutil.copytree(self._kept / "workspace", self.workspace, symlinks=True)
        shutil.rmtree(self.workspace / "runs")
        for later in STAGE_NAMES[STAGE_NAMES.index(stage) :]:
            for kind in ("stages", "current"):
                shutil.rmtree(self.workspace / kind / later, ignore_errors=True)

    def finish(self, *words: object, workers: int = 1) -> str:
        """Run to the end after a kill, and hold the outcome to the golden one. Returns figures."""
        before = records(self.workspace)
        begun = self._num_begun(before)
        assert begun <= workers, "at most one item a worker was under way"
        process = self.start(*words, "--workers", workers)
        out, err = process.communicate(timeout=400)
        assert process.returncode == 0, err[-3000:]
        after = records(self.workspace)
        assert before.items() <= after.items(), "what was done was done again"
        assert json.loads(out)["computed"] == len(after) - len(before)
        see_all_gone(process.pid, set())
        self.hold_to_golden()
        return f"{len(before)} of {len(after)} items kept, {begun} begun in vain"

    def hold_to_golden(self) -> None:
        """Outputs and originals are those of the run that nobody killed; nothing is left to do."""
        found, golden = tree(self.folder), self.golden.tree
        names = found.keys() | golden.keys()
        differing = {name for name in names if found.get(name) != golden.get(name)}
        assert not differing, sorted(differing)
        assert tree_of_photos(self.folder) == self.golden.originals
        assert [str(path) for path in self.folder.rglob(f"*{PARTIAL}")] == []
        decisions = plan(build_steps(load_workflow(self.config)))
        assert {d.step.label: d.action for d in decisions.values() if d.action != "skip"} == {}

    def kill_at(self, *points: KillPoint) -> None:
        """Run until the driver is killed at one of the points, or to the end after others were."""
        markers = [self._marker(i) for i in range(len(points))]
        for marker in markers:
            marker.unlink(missing_ok=True)
        process = self.start(points=points)
        _, err = process.communicate(timeout=400)
        missed = [
            point for point, marker in zip(points, markers, strict=True) if not marker.exists()
        ]
        assert not missed, f"nobody came to {missed}: {err[-3000:]}"
        dies = any(point.role == "driver" for point in points)
        assert process.returncode == (-signal.SIGKILL if dies else 0), err[-3000:]
        see_all_gone(process.pid, set())

    def kill_after(self, share: float, *words: object) -> bool:
        """SIGKILL of the process group at a share, 0..1, of the golden run's time.

        Waits for as many events as the golden run had by then, so that a busy machine does not
        move the point. Returns whether the run had ended before.
        """
        offsets = self.golden.offsets
        wanted = share * offsets[-1]
        passed = max(i for i, offset in enumerate(offsets) if offset <= wanted)
        runs = len(list(self.workspace.glob("runs/*")))
        process = self.start(*words)
        while process.poll() is None and self._num_events(runs) < passed:
            time.sleep(0.02)
        return self.kill_within(process, wanted - offsets[passed])

    def kill_within(self, process: subprocess.Popen[str], seconds: float) -> bool:
        """SIGKILL of the process group after so long. Returns whether it had ended before."""
        try:
            process.communicate(timeout=seconds)
            return True
        except subprocess.TimeoutExpired:
            ports = listening_ports(process.pid)
            os.killpg(process.pid, signal.SIGKILL)
            process.communicate()
        see_all_gone(process.pid, ports)
        return False

    def kill_chain(self, rng: random.Random, num_kills: int, *words: object) -> int:
        """One kill after another, each some items into the work that is left; one in ten before the
        run begins. Returns how many fell before the end."""
        mean = self.golden.num_items / (num_kills + 1)
        landed = 0
        for _ in range(num_kills):
            wanted = len(records(self.workspace)) + rng.randint(0, round(2 * mean))
            runs = len(list(self.workspace.glob("runs/*")))
            process = self.start(*words)
            begins = rng.random() < 0.9
            while begins and process.poll() is None:
                if self._num_events(runs) and len(records(self.workspace)) >= wanted:
                    break
                time.sleep(0.02)
            landed += not self.kill_within(process, rng.uniform(0, 1))
        return landed

    def _num_events(self, runs_before: int) -> int:
        """Of the run that was started last; 0 while it has no folder."""
        if len(list(self.workspace.glob("runs/*"))) <= runs_before:
            return 0
        return len(events(self.workspace))

    def _num_begun(self, done: dict[Path, int]) -> int:
        """Items of which a file is written but no record."""
        known = {self.golden.item_of.get(name) for name in tree(self.folder)}
        return len(known - {None} - {str(path) for path in done})

    def _make_golden(self) -> Golden:
        began = time.time()
        process = self.start()
        _, err = process.communicate(timeout=400)
        assert process.returncode == 0, err[-3000:]
        item_of = {}
        for path in records(self.workspace):
            step = self.workspace / path.parents[1]
            for file in (read_json(self.workspace / path) or {})["files"]:
                root = self.folder / "colour" if step.parts[-3] == "colorize" else step
                item_of[(root / file["path"]).relative_to(self.folder).as_posix()] = str(path)
        shutil.copytree(self.folder, self._kept, symlinks=True)
        times = [pd.Timestamp(event["time"]).timestamp() for event in events(self.workspace)]
        offsets = [0.0, *(moment - began for moment in times)]
        assert all(a <= b + 0.01 for a, b in pairwise(offsets))
        return Golden(
            tree=tree(self.folder),
            originals=tree_of_photos(self.folder),
            num_items=len(records(self.workspace)),
            item_of=item_of,
            offsets=offsets,
        )


def tree_of_photos(folder: Path) -> dict[str, str]:
    """SHA-256 of every original."""
    paths: Iterator[Path] = (path for path in sorted(folder.glob("photos/**/*")) if path.is_file())
    return {str(path): hashlib.sha256(path.read_bytes()).hexdigest() for path in paths}
