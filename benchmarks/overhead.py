"""What a run costs beside its work: until the first photo, with nothing to do, and to plan.

    python benchmarks/overhead.py [--photos 100000] [--published 20000] [--rounds 3] [--only noop …]
    python benchmarks/overhead.py --published 8 --rounds 1 --only published   # the smallest

Times the real command, in turn, on photos drawn here: `colorize` of one photo until an event says that
the photo was read and until its colour copy is there, with a Prefect server of its own and with one
that runs; `run` of four categories and an archive, and `colorize` over so many published photos, when
all is done, from their second time on; `plan` when a dataset of so many photos is ingested. Each from
the start of the process. Prints the machine's load before, and last the medians.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image

ROOT = Path(__file__).parents[1]
COMMAND = [sys.executable, "-c", "from flows.cli.app import main; main()"]
_CATEGORIES = ("people", "birds", "animals", "places")
_CONFIG = """
[datasets]
{datasets}
[archive]
path = "gray"
[ingest]
twin_distance = -1
min_spread = 0
val_share = 0.3
[preprocess]
size = 64
[train]
recipe = "starter"
init = "starter"
min_photos = 2
[train.overrides]
epochs = 1
batch = 4
crop = 0
"""
_MANY = """
[datasets]
places = "many"
[ingest]
twin_distance = -1
"""


def main() -> None:
    """Draw the photos, take the times, print the medians."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--photos", type=int, default=100_000, help="rows of the large manifest")
    parser.add_argument("--published", type=int, default=20_000, help="photos of a published OUT")
    parser.add_argument("--rounds", type=int, default=3)
    parts = ("first", "noop", "published", "large")
    parser.add_argument("--only", nargs="+", choices=parts, default=parts)
    arguments = parser.parse_args()
    work = Path(tempfile.mkdtemp(prefix="chromaflow-bench-"))
    print(f"load {os.getloadavg()[0]:.1f} on {len(os.sched_getaffinity(0))} cores")
    try:
        rounds, only = arguments.rounds, arguments.only
        found = first_photo(work / "first", rounds) if "first" in only else {}
        if "noop" in only:
            found |= nothing_to_do(work / "noop", rounds)
        if "published" in only:
            found |= nothing_to_colour(work / "published", arguments.published, rounds)
        if "large" in only:
            found |= large_plan(work / "large", arguments.photos, rounds)
        for name, (seconds, limit) in found.items():
            print(f"{name:<52} {seconds:6.2f} s   (to be under {limit:g} s)")
    finally:
        shutil.rmtree(work)


def first_photo(folder: Path, rounds: int) -> dict[str, tuple[float, float]]:
    """Seconds until the first photo was read; each round has an output tree of its own."""
    _draw(folder / "in", 1, gray=True)
    _run("colorize", folder / "in", folder / "warm")  # libraries, and Prefect's migrated database
    read: dict[str, list[float]] = {"own": [], "running": [], "flow": []}
    sys.path.append(str(ROOT / "tests"))
    from prefect_server import prefect_server

    with prefect_server(folder) as address:
        for number in range(rounds):
            for kind, url in (("own", {}), ("running", {"PREFECT_API_URL": f"{address}/api"})):
                begun, first, done = _time_first(folder / "in", folder / f"{kind}{number}", url)
                read[kind].append(first)
                read["flow"].append(first - begun)
                print(
                    f"server {kind:<8} flow begun after {begun:.2f} s, photo read after {first:.2f} s, "
                    f"coloured after {done:.2f} s"
                )
    return {
        "first photo, server of its own": (statistics.median(read["own"]), 12),
        "first photo, running server": (statistics.median(read["running"]), 3),
        "first photo, after the flow has begun": (statistics.median(read["flow"]), 3),
    }


def nothing_to_do(folder: Path, rounds: int) -> dict[str, tuple[float, float]]:
    """Seconds of a `run` that finds four categories and an archive up to date."""
    for number, category in enumerate(_CATEGORIES):
        _draw(folder / category, 12, seed=100 * number)
    _draw(folder / "gray", 3, gray=True)
    datasets = "\n".join(f'{name} = "{name}"' for name in _CATEGORIES)
    (folder / "chromaflow.toml").write_text(_CONFIG.format(datasets=datasets))
    words = ("run", "--config", folder / "chromaflow.toml", "--json")
    _run(*words)
    seconds = _time_idle(words, rounds)
    return {"run of four categories with nothing to do": (seconds, 8)}


def nothing_to_colour(folder: Path, count: int, rounds: int) -> dict[str, tuple[float, float]]:
    """Seconds of a `colorize` that finds so many photos in colour."""
    from published_out import publish_out

    publish_out(folder / "in", folder / "out", count)
    seconds = _time_idle(("colorize", folder / "in", folder / "out", "--json"), rounds)
    return {f"colorize over {count:,} published photos": (seconds, 8)}


def _time_idle(words: tuple[object, ...], rounds: int) -> float:
    """Median seconds of a command that computes nothing, without its first time, which reads all."""
    times = []
    for number in range(rounds + 1):
        started, cpu = time.perf_counter(), _cpu_seconds()
        assert json.loads(_run(*words))["computed"] == 0
        times.append(time.perf_counter() - started)
        cpu = _cpu_seconds() - cpu
        first = "" if number else ", the first time"
        print(f"{words[0]} with nothing to do {times[-1]:.2f} s, {cpu:.2f} s of processors{first}")
    return statistics.median(times[1:])


def _cpu_seconds() -> float:
    """Of all commands so far, user and system."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def large_plan(folder: Path, num_photos: int, rounds: int) -> dict[str, tuple[float, float]]:
    """Seconds of a `plan` over a manifest of so many rows, whose preprocess is to be done."""
    _draw(folder / "many", num_photos, size=40)
    (folder / "chromaflow.toml").write_text(_MANY)
    config = ("--config", folder / "chromaflow.toml")
    _run("run", *config, "--until", "ingest")
    times = []
    for _ in range(rounds):
        started = time.perf_counter()
        rows = {row["step"]: row for row in json.loads(_run("plan", *config, "--json"))["steps"]}
        times.append(time.perf_counter() - started)
        assert rows["ingest/places"]["action"] == "skip"
        assert rows["preprocess/places"]["photos"] == num_photos
        print(f"plan of {num_photos} rows {times[-1]:.2f} s")
    return {f"plan of {num_photos:,} rows": (statistics.median(times), 5)}


def _time_first(photos: Path, output: Path, url: dict[str, str]) -> tuple[float, float, float]:
    """Seconds until the flow began, until the photo was read, until its colour copy was there."""
    started = time.perf_counter()
    process = _start("colorize", photos, output, environment=url)
    begun = _wait(lambda: "run_begun" in _events(output), process, started)
    read = _wait(lambda: "item_done" in _events(output), process, started)
    done = _wait(lambda: any(output.glob("*.png")), process, started)
    _, err = process.communicate()
    assert process.returncode == 0, err
    return begun, read, done


def _wait(holds: Callable[[], bool], process: subprocess.Popen[str], started: float) -> float:
    while not holds():
        assert process.poll() in (None, 0), process.communicate()
        time.sleep(0.01)
    return time.perf_counter() - started


def _events(output: Path) -> str:
    found = [path.read_text() for path in output.glob(".chromaflow/runs/*/events.jsonl")]
    return "".join(found)


def _run(*words: object) -> str:
    process = _start(*words)
    out, err = process.communicate()
    assert process.returncode in (0, 6), err
    return out


def _start(*words: object, environment: dict[str, str] | None = None) -> subprocess.Popen[str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PREFECT_")}
    # an installed package is compiled once, not at every start
    kept.pop("PYTHONDONTWRITEBYTECODE", None)
    return subprocess.Popen(
        [*COMMAND, *map(str, words)],
        env=kept | {"PYTHONPATH": str(ROOT)} | (environment or {}),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def _draw(folder: Path, count: int, *, seed: int = 0, size: int = 96, gray: bool = False) -> None:
    """Small photos of coloured noise, all different, in folders of 1,000."""
    rng = np.random.default_rng(seed)
    for number in range(count):
        path = (
            folder / f"{number // 1000:03d}" / f"{number:06d}.png"
            if count > 1000
            else folder / f"{number}.png"
        )
        path.parent.mkdir(parents=True, exist_ok=True)
        cells = rng.integers(30, 225, (5, 5, 3), dtype=np.uint8)
        image = Image.fromarray(cells).resize((size, size), Image.Resampling.BILINEAR)
        (image.convert("L") if gray else image).save(path)


if __name__ == "__main__":
    main()
