"""From Enter to the first words and to the first colour photo on disk, for small and large archives.

    python benchmarks/start.py [--photos 20 5000] [--rounds 3] [--against CHECKOUT] [--only plain …]
    python benchmarks/start.py --photos 3 --rounds 1 --only plain                    # the smallest

Runs the real command `colorize` into an empty folder, in turn without a server (`plain`), with a running
one (PREFECT_API_URL, `running`) and with one of its own that is asked for (`own`), on gray photos of 112
px drawn here, and kills it at its first photo. A checkout that was never run is run once before, to
compile its modules. --against: another checkout, whose command is timed in between, on the same photos and with
this Python's packages; ratios are of medians. Beside the time stand the processor's seconds of all processes
of the command until then, which hang less on what else the machine does. Prints its load before each
time, and last the medians.
"""

from __future__ import annotations

import argparse
import os
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections import defaultdict
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import psutil

ROOT = Path(__file__).parents[1]
COMMAND = [sys.executable, "-P", "-c", "from flows.cli.app import main; main()"]
KINDS = ("plain", "running", "own")
LIMITS = {"plain": 8.0, "running": 3.0, "own": 8.0}
_SIDE = 112
_PATIENCE = 600.0


@dataclass(frozen=True, slots=True)
class Start:
    """Seconds after Enter."""

    words: float
    """Until anything is on stderr."""
    photo: float
    """Until the first colour photo lies under its name."""
    cpu: float
    """Of processors, by all processes of the command until then."""


def main() -> None:
    """Draw the photos, take the times, print the medians."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--photos", type=int, nargs="+", default=[20, 5000])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--against", type=Path, help="another checkout")
    parser.add_argument("--only", nargs="+", choices=KINDS, default=KINDS[:2])
    arguments = parser.parse_args()
    work = Path(tempfile.mkdtemp(prefix="chromaflow-bench-"))
    roots = {"now": ROOT} | ({"before": arguments.against} if arguments.against else {})
    try:
        with ExitStack() as stack:
            variables = {"plain": {}, "own": {"PREFECT_SERVER_ALLOW_EPHEMERAL_MODE": "true"}}
            if "running" in arguments.only:
                sys.path.append(str(ROOT / "tests"))
                from prefect_server import prefect_server

                address = stack.enter_context(prefect_server(work))
                variables["running"] = {"PREFECT_API_URL": f"{address}/api"}
            for size in arguments.photos:
                draw(work / f"in{size}", size)
            for root in roots.values():
                if not (root / "flows/cli/__pycache__").is_dir():
                    first_photo(root, work / f"in{arguments.photos[0]}", work / "warm", {})
            found: dict[tuple[str, int, str], list[Start]] = defaultdict(list)
            for _ in range(arguments.rounds):
                for kind in arguments.only:
                    for size in arguments.photos:
                        for name, root in roots.items():
                            source = work / f"in{size}"
                            start = first_photo(root, source, work / "out", variables[kind])
                            found[kind, size, name].append(start)
                            print(
                                f"load {os.getloadavg()[0]:.1f}  {kind:<7} {size:>6} photos  {name:<6} "
                                f"words {start.words:6.2f} s  photo {start.photo:6.2f} s  "
                                f"{start.cpu:6.2f} s of processors",
                                flush=True,
                            )
            say_medians(found, arguments.only, arguments.photos)
    finally:
        shutil.rmtree(work)


def say_medians(
    found: dict[tuple[str, int, str], list[Start]], kinds: list[str], sizes: list[int]
) -> None:
    """A line for each server and size, with what was before and the ratio where both were timed."""
    cores = len(os.sched_getaffinity(0))
    print(f"medians; load {os.getloadavg()[0]:.1f} on {cores} cores")
    for kind in kinds:
        for size in sizes:
            words, photo, cpu = _median(found[kind, size, "now"])
            line = (
                f"{kind:<7} {size:>6} photos: words {words:.2f} s (1), first photo {photo:.2f} s "
                f"({LIMITS[kind]:g}), {cpu:.2f} s of processors"
            )
            if found[kind, size, "before"]:
                words_before, before, cpu_before = _median(found[kind, size, "before"])
                line += (
                    f"; before {words_before:.2f} s, {before:.2f} s and {cpu_before:.2f} s; photo "
                    f"{photo / before:.2f} and processors {cpu / cpu_before:.2f} of it"
                )
            print(line)


def _median(starts: list[Start]) -> tuple[float, float, float]:
    return (
        statistics.median(start.words for start in starts),
        statistics.median(start.photo for start in starts),
        statistics.median(start.cpu for start in starts),
    )


def first_photo(root: Path, source: Path, out: Path, variables: dict[str, str]) -> Start:
    """Start the command of a checkout, and kill it at its first colour photo."""
    shutil.rmtree(out, ignore_errors=True)
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PREFECT_")}
    kept.pop("PYTHONDONTWRITEBYTECODE", None)  # an installed package is compiled once
    begun = time.perf_counter()
    process = subprocess.Popen(
        [*COMMAND, "colorize", str(source), str(out)],
        env=kept | {"PYTHONPATH": str(root)} | variables,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )
    said: list[tuple[float, bytes]] = []
    listener = threading.Thread(target=_listen, args=(process, said))
    listener.start()
    try:
        while not any(out.glob("*.color.*")):
            assert process.poll() in (None, 0), b"".join(line for _, line in said)
            assert time.perf_counter() - begun < _PATIENCE
            time.sleep(0.01)
        photo, cpu = time.perf_counter(), _cpu_seconds(process.pid)
    finally:
        _end(process)
        listener.join()
    return Start(said[0][0] - begun if said else photo - begun, photo - begun, cpu)


def _cpu_seconds(leader: int) -> float:
    """User and system, of all living processes of a session and their children that are gone."""
    seconds = 0.0
    for process in psutil.process_iter():
        try:
            if os.getsid(process.pid) == leader:
                seconds += sum(process.cpu_times()[:4])
        except (ProcessLookupError, psutil.Error):
            continue
    return seconds


def _listen(process: subprocess.Popen[bytes], into: list[tuple[float, bytes]]) -> None:
    assert process.stderr is not None
    into.extend((time.perf_counter(), line) for line in process.stderr)


def _end(process: subprocess.Popen[bytes]) -> None:
    """Kill the command and all processes of its session; a guard of another ends its server."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def draw(folder: Path, count: int) -> None:
    """So many small gray photos, all different."""
    folder.mkdir(parents=True)
    rng = np.random.default_rng(0)
    for number in range(count):
        cells = rng.integers(0, 255, (8, 8), dtype=np.uint8)
        photo = cv2.resize(cells, (_SIDE, _SIDE), interpolation=cv2.INTER_CUBIC)
        cv2.imwrite(str(folder / f"{number:06d}.jpg"), photo)


if __name__ == "__main__":
    main()
