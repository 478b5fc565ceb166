"""A long archive: memory and open files of every process stay level."""

from __future__ import annotations

import io
import os
import threading
import time
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import psutil
import pytest
from command import start
from PIL import Image

pytestmark = [pytest.mark.soak, pytest.mark.timeout(12 * 3600)]
NUM_PHOTOS = int(os.environ.get("CHROMAFLOW_SOAK_PHOTOS", "20000"))
NUM_DIFFERENT = 200
MOST_SLOPE = 1.0
"""MB a thousand photos, while the second half of the archive is coloured."""
MOST_FILES = 5
"""By which the largest number of open files may grow within that half."""
EVERY = 2.0
"""Seconds between two samples."""
LEAST_PHOTOS = NUM_PHOTOS / 10
"""A process that saw fewer go by is not judged."""
INGEST_CHUNK, COLORIZE_CHUNK = 256, 32


@dataclass(frozen=True, slots=True)
class Sample:
    num_photos: int
    """Ingested and coloured at that time, summed."""
    rss: float
    """MB."""
    num_files: int


def write_archive(folder: Path, number: int) -> None:
    """Gray JPEGs of 64×64, a thousand a folder; each has a comment of its own."""
    contents = []
    for seed in range(NUM_DIFFERENT):
        cells = np.random.default_rng([3, seed]).normal(128, 50, (8, 8))
        pixels = np.kron(cells, np.ones((8, 8))).clip(0, 255).astype(np.uint8)
        buffer = io.BytesIO()
        Image.fromarray(pixels).save(buffer, "JPEG", quality=90)
        contents.append(buffer.getvalue())
    for i in range(number):
        path = folder / f"{i // 1000:03d}" / f"{i:06d}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        comment = f"photo {i}".encode()
        segment = b"\xff\xfe" + (len(comment) + 2).to_bytes(2, "big") + comment
        content = contents[i % NUM_DIFFERENT]
        path.write_bytes(content[:2] + segment + content[2:])


def progress(out: Path) -> int:
    """Photos ingested and coloured so far, by the records."""
    counts = {"ingest": INGEST_CHUNK, "colorize": COLORIZE_CHUNK}
    return sum(
        size * sum(1 for _ in out.glob(f".chromaflow/stages/{stage}/archive/*/done/0*.json"))
        for stage, size in counts.items()
    )


def sample(leader: int, num_photos: int, into: dict[str, list[Sample]]) -> None:
    """Add a sample of every process of the session that the command leads."""
    for process in psutil.process_iter():
        try:
            if os.getsid(process.pid) != leader:
                continue
            words = " ".join(process.cmdline())
            with process.oneshot():
                found = Sample(num_photos, process.memory_info().rss / 1e6, process.num_fds())
        except (ProcessLookupError, psutil.Error):
            continue
        kinds = {
            "storage.photos.decoder_process": "decoder",
            "multiprocessing.forkserver": "worker",
            "colorize": "driver",
        }
        kind = next((kind for mark, kind in kinds.items() if mark in words), "other")
        into[f"{kind} {process.pid}"].append(found)


def second_half(samples: list[Sample]) -> list[Sample]:
    """The samples from when half of the archive was coloured.

    Workers live through ingest too, and load the networks after it.
    """
    half = samples[-1].num_photos - NUM_PHOTOS / 2
    return [one for one in samples if one.num_photos >= half]


def slope(samples: list[Sample]) -> float:
    """MB a thousand photos, by least squares."""
    photos = np.array([one.num_photos for one in samples]) / 1000
    return float(np.polyfit(photos, [one.rss for one in samples], 1)[0])


def test_memory_and_open_files_stay_level(tmp_path: Path, shared_server: None) -> None:
    write_archive(tmp_path / "photos", NUM_PHOTOS)
    out = tmp_path / "out"
    samples: dict[str, list[Sample]] = defaultdict(list)
    started = time.monotonic()
    with (tmp_path / "log").open("w+") as log:
        process = start("colorize", tmp_path / "photos", out)
        assert process.stdout is not None and process.stderr is not None
        stderr = process.stderr
        reader = threading.Thread(target=lambda: log.writelines(stderr))
        reader.start()
        while process.poll() is None:
            sample(process.pid, progress(out), samples)
            time.sleep(EVERY)
        reader.join()
        process.communicate()
        log.seek(0)
        assert process.returncode == 0, log.read()[-3000:]
    seconds = time.monotonic() - started
    num_outputs = sum(1 for _ in out.glob("*/*.color.jpg"))
    assert num_outputs == NUM_PHOTOS
    judged: dict[str, tuple[float, int]] = {}
    print(f"\n{NUM_PHOTOS} photos in {seconds:.0f} s, a slope in MB a thousand photos:")
    for name, found in sorted(samples.items()):
        half = second_half(found)
        seen = found[-1].num_photos - found[0].num_photos
        if seen < LEAST_PHOTOS or len({one.num_photos for one in half}) < 3:
            continue
        files = [one.num_files for one in half]
        earlier, later = files[: len(files) // 2], files[len(files) // 2 :]
        judged[name] = slope(half), max(later) - max(earlier)  # at its end a process closes them
        print(
            f"{name:<16} saw {seen:>6} photos, {found[0].rss:>6.0f} MB at first, "
            f"{half[0].rss:>6.0f} at half, {found[-1].rss:>6.0f} at last, "
            f"slope {judged[name][0]:>7.2f}, files {min(files)}..{max(files)}"
        )
    assert {name.split()[0] for name in judged} >= {"driver", "worker", "decoder"}
    assert {name: one for name, one in judged.items() if one[0] >= MOST_SLOPE} == {}
    assert {name: one for name, one in judged.items() if one[1] > MOST_FILES} == {}
