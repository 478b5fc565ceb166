"""An archive of so many photos: time, memory of each process, files and syncs, and what looks at it.

    python benchmarks/million.py 10000 100000 1000000 [--work FOLDER]
    python benchmarks/million.py 200 --no-page   # the smallest

Draws gray JPEGs of 64 px, each with bytes of its own, straight into one tar, and runs the command on it
with jobs that read, write and record but neither decode nor colour (`tests/stub_jobs.py`): what is measured
is all around them, at a size that would take a day otherwise. With --whole the jobs are the real ones, with
experts that are one multiplication and a segmenter that names one category (`tests/quarter_segmenter.py`). Then the same command with nothing to do, twice (the first reads every output's
bytes, which nobody has hashed since it was written), then plan, status, verify and report, and opens
the page in Debian's chromium. Peak memory is each process's own (VmHWM), by what it is. The figures of a
size are kept in FOLDER/N.json as they come, photos and outputs are removed; the table is printed last, of all
sizes that FOLDER knows.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import resource
import shutil
import subprocess
import sys
import tarfile
import tempfile
import threading
import time
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import psutil
from PIL import Image

from storage.records.names import STATE_NAME

_ROOT = Path(__file__).parents[1]
_COMMAND = (sys.executable, "-P", "-c", "from flows.cli.app import main; main()")
_TEXTURES = 200
"""Different pictures; a comment makes each photo's bytes its own."""
_SIDE, _CELL = 64, 8
_PER_FOLDER = 1000
_EVERY = 0.5
"""Seconds between two looks at the processes."""
_KINDS = {
    "storage.photos.decoder_process": "decoder",
    "spawn_main": "worker",
    "multiprocessing.forkserver": "worker",
    "flows.cli": "driver",
}
_CONFIG = """
[archive]
path = "in.tar"
[colorize]
segmenter = "quarter_segmenter:One"
short_side = 32
sheet = 4
"""
_LINES = (
    *("colorize s", "ms a photo", "no-op s", "no-op again s", "plan s", "status s", "report s"),
    *("no-op cpu s", "no-op again cpu s", "plan cpu s", "status cpu s", "report cpu s"),
    *("driver MB", "driver no-op MB", "driver plan MB", "driver report MB"),
    *("worker MB", "decoder MB", "scheduler and others MB", "state files", "state MB", "page MB"),
    *("first paint s", "rows there s", "longest frame ms", "heap MB"),
)


def main() -> None:
    """Measure each size, print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("sizes", nargs="+", type=int)
    parser.add_argument("--work", type=Path, help="where photos, outputs and figures go")
    parser.add_argument("--whole", action="store_true", help="with the real jobs")
    parser.add_argument("--keep", action="store_true", help="leave photos and outputs")
    parser.add_argument("--no-page", action="store_true", help="open no browser")
    arguments = parser.parse_args()
    work = arguments.work or Path(tempfile.mkdtemp(prefix="chromaflow-million-"))
    work.mkdir(parents=True, exist_ok=True)
    try:
        for size in arguments.sizes:
            _measure(work, size, arguments)
        print(table(work))
    finally:
        if arguments.work is None:
            shutil.rmtree(work)


def _measure(work: Path, size: int, asked: argparse.Namespace) -> None:
    """One size from the photos to the page; what is done in `work` already is not done again."""
    os.environ["CHROMAFLOW_STUB"] = "networks" if asked.whole else "jobs"
    figures = _Figures(work / f"{size}.json")
    place = work / str(size)
    place.mkdir(exist_ok=True)
    (place / "models.toml").write_text(_CONFIG)
    if not (place / "in.tar").exists():
        draw_archive(place / "in.tar", size)
    colorize = ("colorize", "in.tar", "out", "--models", "models.toml")
    seconds, peaks = run(place, *colorize)
    figures.add("colorize s", seconds)
    figures.add("ms a photo", 1000 * seconds / size)
    figures.add("driver MB", peaks["driver"])
    for kind in ("worker", "decoder", "scheduler and others"):
        figures.add(f"{kind} MB", peaks.get(kind, 0.0))
    state = [path for path in (place / "out" / STATE_NAME).rglob("*") if path.is_file()]
    figures.add("state files", len(state))
    figures.add("state MB", sum(path.stat().st_size for path in state) / 1e6)
    for name in ("no-op", "no-op again"):
        seconds, peaks = run(place, *colorize)
        figures.add(f"{name} s", seconds)
        figures.add(f"{name} cpu s", peaks["cpu"])
        figures.add("driver no-op MB", peaks["driver"])
    for name, words in {
        "plan": ("plan", "out"),
        "status": ("status", "out"),
        "report": ("report", "out", "--output", "page"),
    }.items():
        seconds, peaks = run(place, *words)
        figures.add(f"{name} s", seconds)
        figures.add(f"{name} cpu s", peaks["cpu"])
        figures.add(f"driver {name} MB", peaks["driver"])
    data = [p for p in (place / "page").rglob("*") if p.is_file() and p.parent.name != "thumbnails"]
    figures.add("page MB", sum(path.stat().st_size for path in data) / 1e6)
    if not asked.no_page:
        from report import look

        seen = look(place / "page/index.html")
        for name in ("first paint s", "rows there s", "longest frame ms", "heap MB"):
            figures.add(name, seen[name])
    if not asked.keep:
        shutil.rmtree(place)


class _Figures:
    """What is known of a size, in a file from the first figure on."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._known: dict[str, float] = {}

    def add(self, name: str, value: float) -> None:
        self._known[name] = value
        self._path.write_text(json.dumps(self._known, indent=1))
        print(f"{self._path.stem}: {name} {value:,.2f}", flush=True)


def draw_archive(path: Path, size: int) -> None:
    """A tar of gray JPEGs of 64×64, a thousand a folder; whole or not there."""
    pictures = [_picture(seed) for seed in range(_TEXTURES)]
    partial = path.with_suffix(".partial")
    with tarfile.open(partial, "w", format=tarfile.GNU_FORMAT) as tar:
        for number in range(size):
            comment = f"photo {number}".encode()
            segment = b"\xff\xfe" + (len(comment) + 2).to_bytes(2, "big") + comment
            picture = pictures[number % _TEXTURES]
            content = picture[:2] + segment + picture[2:]
            member = tarfile.TarInfo(f"{number // _PER_FOLDER:04d}/{number:07d}.jpg")
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
            vars(tar)["members"] = []  # it would keep every header
    partial.replace(path)


def _picture(seed: int) -> bytes:
    cells = np.random.default_rng([3, seed]).normal(128, 50, (_SIDE // _CELL,) * 2)
    pixels = np.kron(cells, np.ones((_CELL, _CELL))).clip(0, 255).astype(np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "JPEG", quality=90)
    return buffer.getvalue()


def run(place: Path, *words: str) -> tuple[float, dict[str, float]]:
    """A command's seconds, and by kind the peak memory of its processes, MB; beside these its seconds of
    processor, "cpu". Raises where it fails."""
    folders = (_ROOT / "tests/stub_hook", _ROOT, _ROOT / "tests")
    environment = os.environ | {"PYTHONPATH": ":".join(map(str, folders))}
    started, before = time.monotonic(), _processor_seconds()
    with (place / "log").open("a") as log:
        process = subprocess.Popen(
            [*_COMMAND, *words],
            cwd=place,
            env=environment,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
        peaks: dict[str, float] = defaultdict(float)
        over = threading.Event()
        watcher = threading.Thread(target=_watch, args=(process.pid, peaks, over))
        watcher.start()
        try:
            code = process.wait()
        finally:
            over.set()
            watcher.join()
    seconds = time.monotonic() - started
    if code != 0:
        tail = (place / "log").read_text(errors="replace")[-3000:]
        raise RuntimeError(f"Expected {' '.join(words)} to end well, got {code}:\n{tail}")
    peaks["cpu"] = _processor_seconds() - before
    return seconds, peaks


def _processor_seconds() -> float:
    """Of all commands that ended, and the processes that they waited for."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _watch(leader: int, peaks: dict[str, float], over: threading.Event) -> None:
    while not over.wait(_EVERY):
        for kind, peak in _peaks(leader):
            peaks[kind] = max(peaks[kind], peak)


def _peaks(leader: int) -> Iterator[tuple[str, float]]:
    """Kind and peak so far, MB, of each process of the command's session."""
    for process in psutil.process_iter():
        try:
            if os.getsid(process.pid) != leader:
                continue
            words = " ".join(process.cmdline())
            status = Path(f"/proc/{process.pid}/status").read_text()
        except (OSError, psutil.Error):
            continue
        if "VmHWM:" in status:
            kind = next((kind for mark, kind in _KINDS.items() if mark in words), None)
            peak = int(status.partition("VmHWM:")[2].split(maxsplit=1)[0]) * 1024 / 1e6
            yield kind or "scheduler and others", peak


def table(work: Path) -> str:
    """A line a figure, a column a size."""
    known: dict[int, dict[str, Any]] = {
        int(path.stem): json.loads(path.read_text()) for path in work.glob("[0-9]*.json")
    }
    sizes = sorted(known)
    lines = [f"{'photos':<26}" + "".join(f"{size:>14,}" for size in sizes)]
    for name in _LINES:
        cells = [known[size].get(name) for size in sizes]
        shown = ["-" if cell is None else f"{cell:,.1f}" for cell in cells]
        lines.append(f"{name:<26}" + "".join(f"{text:>14}" for text in shown))
    lines.append(f"machine: {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
