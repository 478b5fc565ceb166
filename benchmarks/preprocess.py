"""Photos a second of preprocess beside the usual way and beside decoding alone, in one run.

    python benchmarks/preprocess.py [FOLDER] [--photos 2000]
    python benchmarks/preprocess.py --photos 8   # the smallest

Makes JPEGs of about 1.4 megapixels and quality 88 from the photos in FOLDER (or from those that
scikit-image carries), then interleaves, in blocks, four ways of treating them:

    reference   Pillow, torchvision transforms, skimage rgb2lab, np.save
    decode      decode_rgb alone: header, DCT-scaled decode, area resize
    ours        the preprocess job: whole shards, hash check, crop, flip, saturate, Lab, zarr, record
    ours x 2    the same jobs in two processes

Medians of the blocks' ratios are printed last. Each way runs on one thread, in the environment of
our Dask workers; with Dask's own environment ours took 2.1 times as long.
"""

from __future__ import annotations

import argparse
import io
import multiprocessing
import os
import random
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from PIL import Image
from skimage import data
from skimage.color import rgb2lab
from torchvision import transforms

from storage.photos.photo import inspect
from storage.photos.reduced import decode_rgb
from storage.records.fingerprint import hash_bytes
from storage.records.names import STORE_NAME
from storage.shards.writing import create_array
from tasks.compute.forks import WORKER_ENVIRONMENT
from tasks.config.model import PreprocessConfig
from tasks.jobs.preprocess import ShardItem, preprocess_shard

_SIZE = (1365, 1024)
_QUALITY = 88
_BLOCK = 256

_crop_and_flip = transforms.Compose(
    [
        transforms.Resize(256),
        transforms.RandomCrop(256),
        transforms.RandomHorizontalFlip(),
        transforms.RandomVerticalFlip(),
    ]
)


def main() -> None:
    """Make the photos, run the ways in turn, print photos a second and ratios."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", nargs="?", type=Path, help="colour photos to enlarge")
    parser.add_argument("--photos", type=int, default=2000)
    arguments = parser.parse_args()
    if not WORKER_ENVIRONMENT.items() <= os.environ.items():  # read when a process starts
        os.execve(sys.executable, [sys.executable, *sys.argv], os.environ | WORKER_ENVIRONMENT)
    _one_thread()
    work = Path(tempfile.mkdtemp(prefix="chromaflow-bench-"))
    try:
        photos = make_photos(work / "photos", arguments.folder, arguments.photos)
        measure(work, photos)
    finally:
        shutil.rmtree(work)


def make_photos(folder: Path, source: Path | None, count: int) -> list[dict[str, Any]]:
    """Write enlarged photos. Returns manifest rows."""
    folder.mkdir(parents=True)
    pictures = _pictures(source)
    rows: list[dict[str, Any]] = []
    for i in range(count):
        large = pictures[i % len(pictures)].resize(_SIZE, Image.Resampling.BICUBIC)
        buffer = io.BytesIO()
        large.save(buffer, "JPEG", quality=_QUALITY)
        content = buffer.getvalue()
        (folder / f"{i:05d}.jpg").write_bytes(content)
        known = {"path": f"{i:05d}.jpg", "offset": -1, "bytes": len(content), "position": i}
        rows.append(known | {"sha256": hash_bytes(content)} | asdict(inspect(content)))
    mean_kb = statistics.mean(row["bytes"] for row in rows) / 1e3
    print(f"{count} photos of {_SIZE[0]}x{_SIZE[1]}, {mean_kb:.0f} kB on average")
    return rows


def measure(work: Path, rows: list[dict[str, Any]]) -> None:
    """Interleave the ways over blocks of a shard, so that a busy machine slows all alike."""
    config = asdict(PreprocessConfig())
    blocks = [rows[start : start + _BLOCK] for start in range(0, len(rows), _BLOCK)]
    create_array(work / STORE_NAME, "train", len(blocks), config["size"])
    items = [_item(work, config, number, block) for number, block in enumerate(blocks)]
    seconds: dict[str, list[float]] = {"reference": [], "decode": [], "ours": []}
    for item in items:
        contents = [(work / "photos" / row["path"]).read_bytes() for row in item.photos]
        ways: dict[str, Callable[[], object]] = {
            "reference": partial(_each, partial(reference, work=work), contents),
            "decode": partial(_each, partial(decode_alone, size=config["size"]), contents),
            "ours": partial(preprocess_shard, item),
        }
        order = list(ways)
        random.Random(item.name).shuffle(order)
        for way in order:
            started = time.perf_counter()
            ways[way]()
            seconds[way].append((time.perf_counter() - started) / len(item.photos))
    for way, times in seconds.items():
        print(f"{way:<12} {1 / statistics.median(times):7.1f} photos/s")
    scaling = _two_processes(work, items)
    print(f"two processes at {scaling:.2f} times the photos/s of one")
    faster = _median_ratio(seconds["reference"], seconds["ours"])
    cost = _median_ratio(seconds["ours"], seconds["decode"])
    print(f"{faster:.2f} times the reference; {cost:.2f} times the time of decoding alone")


def _each(job: Callable[[bytes], object], contents: list[bytes]) -> None:
    for content in contents:
        job(content)


def reference(content: bytes, work: Path) -> None:
    """The usual way: whole decode, PIL transforms, float64 Lab, one .npy a photo."""
    image = _crop_and_flip(Image.open(io.BytesIO(content)).convert("RGB"))
    saturated = transforms.functional.adjust_saturation(image, 1.2)
    np.save(work / "reference.npy", rgb2lab(np.asarray(saturated)).astype(np.float32))


def decode_alone(content: bytes, size: int) -> np.ndarray[Any, Any]:
    """What ours cannot do without: header, DCT-scaled decode, area resize."""
    return decode_rgb(content, short_side=size, header=inspect(content))


def _two_processes(work: Path, items: list[ShardItem]) -> float:
    """Time of the same jobs in one process over that in two."""
    times = {}
    for workers in (1, 2):
        context = multiprocessing.get_context("spawn")
        with ProcessPoolExecutor(workers, mp_context=context, initializer=_one_thread) as pool:
            list(pool.map(preprocess_shard, items[:workers]))  # imports, tables, page cache
            started = time.perf_counter()
            list(pool.map(preprocess_shard, items))
            times[workers] = time.perf_counter() - started
    return times[1] / times[2]


def _one_thread() -> None:
    torch.set_num_threads(1)
    cv2.setNumThreads(1)


def _item(work: Path, config: dict[str, Any], number: int, rows: list[dict[str, Any]]) -> ShardItem:
    return ShardItem(
        name=f"train-{number:06d}",
        folder=str(work),
        source=str(work / "photos"),
        photos=tuple(rows),
        config=config,
        split="train",
        shard=number,
    )


def _median_ratio(above: list[float], below: list[float]) -> float:
    return statistics.median(a / b for a, b in zip(above, below, strict=True))


def _pictures(source: Path | None) -> list[Image.Image]:
    """Colour photos of a folder, or those in scikit-image's wheel."""
    if source is None:
        names = ("astronaut", "coffee", "chelsea", "rocket")
        return [Image.fromarray(getattr(data, name)()) for name in names]
    return [Image.open(path).convert("RGB") for path in sorted(source.rglob("*.jpg"))[::16]]


if __name__ == "__main__":
    main()
