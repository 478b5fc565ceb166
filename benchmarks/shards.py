"""Photos a second out of shards on one core: shuffle buffer beside fancy indexing, in one run.

    python benchmarks/shards.py [FOLDER] [--photos 2048] [--stream 20000]
    python benchmarks/shards.py --photos 64 --stream 64   # the smallest

Writes shards of 256x256 crops from the photos in FOLDER (or from those that scikit-image carries),
reads them once to warm the page cache, and times in turn: in order, in the shuffled order of an epoch,
whole shards through zarr, and random batches of 64 by zarr's fancy indexing. Then streams many
photos and prints by how much the process has grown.
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import zarr
from skimage import data

from colorization.colour.lab import encode_lab, rgb_to_lab
from storage.photos.reduced import decode_rgb, resize
from storage.shards.file import Stored
from storage.shards.reader import ShardReader
from storage.shards.writing import ShardWriter, create_array, shard_of

_BATCH = 64
_FANCY_BATCHES = 4
"""Fancy indexing is slow enough to be timed on few batches."""
_ROUNDS = 5


def main() -> None:
    """Write the shards, time the ways of reading, print the figures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", nargs="?", type=Path, help="colour photos to store")
    parser.add_argument("--photos", type=int, default=2048)
    parser.add_argument("--stream", type=int, default=20_000)
    arguments = parser.parse_args()
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    work = Path(tempfile.mkdtemp(prefix="chromaflow-bench-"))
    try:
        reader = write_shards(work / "lab.zarr", arguments.folder, arguments.photos)
        faster, rate = time_readers(work / "lab.zarr", reader)
        grown = stream(reader, arguments.stream)
        print(f"memory grew by {grown:.1f} MB while {arguments.stream} photos were streamed")
        print(f"{rate:.0f} photos/s shuffled; {faster:.1f} times fancy indexing")
    finally:
        shutil.rmtree(work)


def write_shards(store: Path, folder: Path | None, count: int) -> ShardReader:
    """Store `count` crops, repeating the photos there are."""
    crops = list(_crops(folder, min(count, 1024)))
    create_array(store, "train", shard_of(count - 1) + 1, 256)
    for shard in range(shard_of(count - 1) + 1):
        writer = ShardWriter(store, "train", shard)
        for row in range(shard * 256, min((shard + 1) * 256, count)):
            writer.add(row, crops[row % len(crops)])
        writer.write()
    return ShardReader(store, "train", np.arange(count))


def time_readers(store: Path, reader: ShardReader) -> tuple[float, float]:
    """Interleave the ways. Returns the ratio to fancy indexing and the shuffled rate."""
    array: Any = zarr.open_group(store, mode="r")["train"]
    rng = np.random.default_rng(0)
    ways: dict[str, Callable[[], int]] = {
        "in order": lambda: _count(reader.batches(_BATCH)),
        "shuffled": lambda: _count(shuffled(reader, 0)),
        "zarr shards": lambda: sum(len(array[s : s + 256]) for s in range(0, len(reader), 256)),
        "zarr fancy": lambda: sum(
            len(array.oindex[np.sort(rng.choice(len(reader), _BATCH, replace=False))])
            for _ in range(_FANCY_BATCHES)
        ),
    }
    rates: dict[str, list[float]] = {name: [] for name in ways}
    _count(reader.batches(_BATCH))
    for _ in range(_ROUNDS):
        for name, read in ways.items():
            started = time.perf_counter()
            rates[name].append(read() / (time.perf_counter() - started))
    for name, found in rates.items():
        print(f"{name:<12} {statistics.median(found):7.0f} photos/s")
    ratios = [a / b for a, b in zip(rates["shuffled"], rates["zarr fancy"], strict=True)]
    return statistics.median(ratios), statistics.median(rates["shuffled"])


def shuffled(reader: ShardReader, epoch: int) -> Iterator[Stored]:
    """The batches of an epoch, as training reads them. Yields uint8 (≤ _BATCH, 3, S, S)."""
    order = reader.epoch_order((0, epoch))
    for start in range(0, len(order), _BATCH):
        yield reader.read(order[start : start + _BATCH])


def stream(reader: ShardReader, count: int) -> float:
    """Read `count` photos, epoch after epoch. Returns MB by which resident memory grew."""
    left, epoch = count, 0
    before = _resident_mb()
    largest = before
    while left > 0:
        for batch in shuffled(reader, epoch):
            left -= len(batch)
            largest = max(largest, _resident_mb())
        epoch += 1
    return largest - before


def _count(batches: Iterator[np.ndarray[Any, Any]]) -> int:
    return sum(len(batch) for batch in batches)


def _crops(folder: Path | None, count: int) -> Iterator[np.ndarray[Any, Any]]:
    if folder is not None:
        for path in sorted(folder.rglob("*.jpg"))[:count]:
            yield _stored(decode_rgb(path.read_bytes(), short_side=256), 0, 0)
        return
    photos = [resize(getattr(data, name)(), 400) for name in ("astronaut", "coffee", "chelsea")]
    rng = np.random.default_rng(0)
    for i in range(count):
        yield _stored(photos[i % 3], *rng.integers(0, 144, 2).tolist())


def _stored(rgb: np.ndarray[Any, Any], top: int, left: int) -> np.ndarray[Any, Any]:
    return encode_lab(rgb_to_lab(rgb[top : top + 256, left : left + 256]))


def _resident_mb() -> float:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


if __name__ == "__main__":
    main()
