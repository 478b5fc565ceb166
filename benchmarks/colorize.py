"""Photos a second of colorize beside its own stages, two processes, siggraph17, and the bare jobs.

    python benchmarks/colorize.py [FOLDER] [--photos 200] [--small 5000]
    python benchmarks/colorize.py --photos 2 --small 0   # the smallest

Makes gray JPEGs of about 1.4 megapixels from the photos in FOLDER (or from those that scikit-image
carries) and runs, in turn and in blocks, with one thread for the networks of a process:

    decode, network, encode   each stage alone; encode computes the colours at full size, too
    ours                      the colorize job: read, decode, check, network, encode, write
    ours on a core            the same job where its process may use one core only
    two processes             the same work in two such processes, a core each
    siggraph17                the same job with siggraph17 at 256x256 in place of segmenter and
                              experts: as released (fp32), and as we would run it (bf16 where there is)

Then it makes small photos and runs `chromaflow colorize` on them beside the same ingest and colorize
jobs called directly in two processes, both from the start of the first process to the end of the
last: what is left is the price of flow, Dask and records.
Medians of the blocks' ratios are printed last.
"""

from __future__ import annotations

import argparse
import io
import multiprocessing
import os
import random
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import torch
from PIL import Image
from skimage import data

import tasks.jobs.colorize
from colorization.colour.full_size import colour_strips, reduced_L
from colorization.colour.lab import Float
from colorization.compute import resolve_precision
from colorization.merging.inference import MergedColorizer, single_expert_segmenter
from colorization.merging.options import MergeOptions
from colorization.merging.prediction import Asked, Prediction
from colorization.merging.sizes import network_size
from colorization.networks import build_network
from storage.metadata.derivative import Placement, Provenance, derivative
from storage.photos.decoder import shared_decoder
from storage.photos.encoding import ColoredPage, encode
from storage.photos.photo import Photo, decode
from storage.records.fingerprint import hash_bytes
from tasks.compute.forks import WORKER_ENVIRONMENT
from tasks.config.model import ColorizeConfig, IngestConfig
from tasks.jobs.colorize import colorize_chunk
from tasks.jobs.ingest import IngestItem, ingest_chunk
from tasks.jobs.models import load_merged
from tasks.jobs.stage_items import ColorizeItem, ModelSpec

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
from starter import starter_models  # noqa: E402

_SIZE = (1365, 1024)
_SMALL = (48, 40)
_BLOCK, _FEW = 20, 4
"""Photos of a block, and those of them that the slow siggraph17 gets."""
_CHUNK = ColorizeConfig().chunk
_INGEST_CHUNK = 256
_TEXTURES = 64
"""Different small photos; the others differ by a comment."""


def main() -> None:
    """Make the photos, run the ways in turn, print photos a second and ratios."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", nargs="?", type=Path, help="colour photos to enlarge")
    parser.add_argument("--photos", type=int, default=200)
    parser.add_argument("--small", type=int, default=5000, help="photos; 0: without this part")
    arguments = parser.parse_args()
    if not WORKER_ENVIRONMENT.items() <= os.environ.items():  # read when a process starts
        os.execve(sys.executable, [sys.executable, *sys.argv], os.environ | WORKER_ENVIRONMENT)
    torch.set_num_threads(1)
    work = Path(tempfile.mkdtemp(prefix="chromaflow-bench-"))
    try:
        rows = make_photos(work / "in", arguments.folder, arguments.photos)
        ratios = measure(work, rows)
        overhead = measure_overhead(work / "small", arguments.small) if arguments.small else {}
    finally:
        shared_decoder().close()
        shutil.rmtree(work)
    for name, milliseconds in overhead.items():
        print(
            f"overhead of flow and Dask, {name}: {milliseconds:.2f} ms a photo, "
            f"{arguments.small} small photos"
        )
    for name, ratio in ratios.items():
        print(f"{name}: {ratio:.2f}")


def make_photos(folder: Path, source: Path | None, count: int) -> list[dict[str, Any]]:
    """Write gray JPEGs. Returns rows as a manifest has them."""
    folder.mkdir(parents=True)
    pictures = _pictures(source)
    rows = []
    for i in range(count):
        large = pictures[i % len(pictures)].convert("L").resize(_SIZE, Image.Resampling.BICUBIC)
        buffer = io.BytesIO()
        large.save(buffer, "JPEG", quality=90, comment=f"{i}".encode())
        rows.append(_row(folder, f"{i:05d}.jpg", buffer.getvalue()))
    return rows


def _pictures(source: Path | None) -> list[Image.Image]:
    if source is None:
        return [Image.fromarray(picture()) for picture in (data.astronaut, data.cat, data.coffee)]
    paths = sorted(p for p in source.rglob("*") if p.suffix.lower() in (".jpg", ".jpeg", ".png"))
    return [Image.open(path) for path in paths[:: max(1, len(paths) // 100)][:100]]


def _row(folder: Path, name: str, content: bytes) -> dict[str, Any]:
    (folder / name).write_bytes(content)
    return {
        "path": name,
        "offset": -1,
        "bytes": len(content),
        "sha256": hash_bytes(content),
        "output": f"{name}.color",
        "key": "",
    }


def measure(work: Path, rows: list[dict[str, Any]]) -> dict[str, float]:
    """Interleave the ways over blocks, so that a busy machine slows all alike. Returns ratios."""
    spec = starter_models(short_side=256)
    merged = load_merged(spec)
    released, ours_bf16 = _siggraph("fp32"), _siggraph("auto")
    seconds: dict[str, list[float]] = {}
    context = multiprocessing.get_context("spawn")
    with ExitStack() as stack:
        pools = [
            stack.enter_context(ProcessPoolExecutor(1, context, stay_on, (core,)))
            for core in sorted(os.sched_getaffinity(0))[:2]
        ]
        for pool in pools:
            pool.submit(load, spec).result()
        for start in range(0, len(rows), _BLOCK):
            block = rows[start : start + _BLOCK]
            items = _items(work, block, spec, f"{start:05d}")
            contents = [(work / "in" / row["path"]).read_bytes() for row in block]
            photos = [decode(content) for content in contents]
            coloured = [_ab(merged, photo) for photo in photos]
            few = [_item(work, block[:_FEW], spec, f"{start:05d}-few")]
            ways: dict[str, Callable[[], object]] = {
                "decode": partial(_each, _decode, contents),
                "network": partial(_each, partial(_ab, merged), photos),
                "encode": partial(
                    _each, lambda pair: _encode(*pair), list(zip(photos, coloured, strict=True))
                ),
                "ours": partial(_colorize, merged, items),
                "ours on a core": partial(_in_processes, pools[:1] * len(items), items),
                "two processes": partial(_in_processes, pools, items),
                "siggraph17": partial(_colorize, released, few),
                "siggraph17, ours": partial(_colorize, ours_bf16, few),
            }
            order = list(ways)
            random.Random(start).shuffle(order)
            for way in order:
                started = time.perf_counter()
                ways[way]()
                count = _FEW if way.startswith("siggraph17") else len(block)
                seconds.setdefault(way, []).append((time.perf_counter() - started) / count)
    for way, times in seconds.items():
        print(f"{way:<16} {1 / statistics.median(times):8.2f} photos/s")
    return _ratios(seconds)


def _ratios(seconds: dict[str, list[float]]) -> dict[str, float]:
    alone = [
        max(stages)
        for stages in zip(*(seconds[s] for s in ("decode", "network", "encode")), strict=True)
    ]

    def median(above: Iterable[float], below: Iterable[float]) -> float:
        return statistics.median(a / b for a, b in zip(above, below, strict=True))

    return {
        "share of what the slowest stage alone allows": median(alone, seconds["ours"]),
        "two processes to one, a core each": median(
            seconds["ours on a core"], seconds["two processes"]
        ),
        f"times siggraph17 in {ours_precision()}": median(
            seconds["siggraph17, ours"], seconds["ours"]
        ),
        "times siggraph17 as released": median(seconds["siggraph17"], seconds["ours"]),
    }


def _items(
    work: Path, rows: list[dict[str, Any]], spec: ModelSpec, name: str
) -> list[ColorizeItem]:
    """Two items, so that two processes have one each."""
    half = -(-len(rows) // 2)
    parts = [rows[:half], rows[half:]]
    return [_item(work, part, spec, f"{name}-{k}") for k, part in enumerate(parts) if part]


def _item(work: Path, rows: list[dict[str, Any]], spec: ModelSpec, name: str) -> ColorizeItem:
    return ColorizeItem(
        name=name,
        folder=str(work / "state"),
        source=str(work / "in"),
        photos=tuple(rows),
        config=ColorizeConfig().output_parts() | {"version": "benchmark"},
        models=spec,
        output=str(work / "out"),
    )


def stay_on(core: int) -> None:
    """Let this process, and its decoder, use one core only."""
    os.sched_setaffinity(0, {core})


def load(spec: ModelSpec) -> None:
    """Load the models and start the decoder."""
    load_merged(spec)
    shared_decoder().inspect(_tiny_jpeg())


def _tiny_jpeg() -> bytes:
    buffer = io.BytesIO()
    Image.new("L", (64, 64)).save(buffer, "JPEG")
    return buffer.getvalue()


def _each(job: Callable[[Any], object], things: list[Any]) -> None:
    for thing in things:
        job(thing)


def _in_processes(pools: list[ProcessPoolExecutor], items: list[ColorizeItem]) -> None:
    """Each item in the process at its place, all at once."""
    pairs = zip(pools, items, strict=True)
    for future in [pool.submit(colorize_chunk, item) for pool, item in pairs]:
        future.result()


def _decode(content: bytes) -> Photo:
    return next(shared_decoder().pages(content))


def _colorize(colorizer: MergedColorizer, items: list[ColorizeItem]) -> None:
    with mock.patch.object(tasks.jobs.colorize, "load_merged", lambda spec: colorizer):
        for item in items:
            colorize_chunk(item)


def _ab(merged: MergedColorizer, photo: Photo) -> torch.Tensor:
    size = network_size(photo.header.height, photo.header.width, merged.short_side)
    return merged.predict(reduced_L(photo.pixels, photo.alpha, size)).ab


def _encode(photo: Photo, ab: torch.Tensor) -> bytes:
    strips = colour_strips(photo.pixels, ab, photo.dtype)
    said = Provenance(system="Chromaflow", version="0", original_sha256="0", checkpoints=())
    shape = (photo.header.height, photo.header.width)
    placed = Placement(orientation=photo.header.orientation, photo=shape[::-1], size=shape[::-1])
    metadata = derivative(photo.metadata, said, placement=placed)
    buffer = io.BytesIO()
    page = ColoredPage(photo=photo, strips=strips, shape=shape, metadata=metadata)
    encode(buffer, [page], photo.header.format)
    return buffer.getvalue()


class _Square(MergedColorizer):
    """As siggraph17's demo does it: lightness at 256x256, ab back at full size."""

    def predict_many(self, photos: Sequence[Asked]) -> list[Prediction]:
        return super().predict_many([replace(photo, L=_square(photo.L)) for photo in photos])


def _square(L: Float) -> Float:
    square = torch.nn.functional.interpolate(
        torch.from_numpy(L)[None, None], size=(256, 256), mode="bilinear", antialias=True
    )
    resized: Float = square[0, 0].numpy()
    return resized


def _siggraph(precision: str) -> MergedColorizer:
    torch.manual_seed(0)
    network = {"places": build_network("siggraph17")}
    return _Square(
        network, single_expert_segmenter, merge=MergeOptions(mode="hard"), precision=precision
    )


def ours_precision() -> str:
    """What `auto` means on this machine."""
    return resolve_precision("auto", "cpu")


def measure_overhead(work: Path, count: int) -> dict[str, float]:
    """Milliseconds a photo that `chromaflow colorize` takes beyond its jobs, one run of each."""
    rows = _small_photos(work / "in", count)
    spec = starter_models(short_side=32)
    config = work / "models.toml"
    config.write_text('[archive]\npath = "in"\n[colorize]\nshort_side = 32\nsheet = 0\n')
    context = multiprocessing.get_context("spawn")
    started = time.perf_counter()
    with ProcessPoolExecutor(2, context) as pool:
        list(pool.map(ingest_chunk, _ingest_items(work, rows)))
        chunks = [rows[start : start + _CHUNK] for start in range(0, count, _CHUNK)]
        items = [_item(work, chunk, spec, f"{k:06d}") for k, chunk in enumerate(chunks)]
        list(pool.map(colorize_chunk, items))
    direct = time.perf_counter() - started
    from prefect_server import prefect_server

    own = _seconds_of_command(work / "in", work / "own", config, {})
    with prefect_server(work) as address:
        url = {"PREFECT_API_URL": f"{address}/api"}
        served = _seconds_of_command(work / "in", work / "served", config, url)
    print(
        f"{count} small photos: {direct:.1f} s by the jobs; by the command {own:.1f} s with a Prefect "
        f"server and database of its own, {served:.1f} s with a running server"
    )
    return {
        "server and database of its own": (own - direct) / count * 1e3,
        "with a running Prefect server": (served - direct) / count * 1e3,
    }


def _seconds_of_command(
    source: Path, out: Path, config: Path, environment: dict[str, str]
) -> float:
    command = [sys.executable, "-c", "from flows.cli.app import main; main()"]
    words = ["colorize", source, out, "--models", config]
    started = time.perf_counter()
    subprocess.run(
        [*command, *map(str, words)],
        check=True,
        stderr=subprocess.DEVNULL,
        env=os.environ | environment,
    )
    return time.perf_counter() - started


def _small_photos(folder: Path, count: int) -> list[dict[str, Any]]:
    folder.mkdir(parents=True)
    rng = np.random.default_rng(0)
    textures = [
        Image.fromarray(rng.integers(0, 256, _SMALL[::-1], np.uint8)) for _ in range(_TEXTURES)
    ]
    rows = []
    for i in range(count):
        buffer = io.BytesIO()
        textures[i % _TEXTURES].save(buffer, "JPEG", quality=90, comment=f"{i}".encode())
        rows.append(_row(folder, f"{i:05d}.jpg", buffer.getvalue()))
    return rows


def _ingest_items(work: Path, rows: list[dict[str, Any]]) -> list[IngestItem]:
    facts = {"stamp": "", "label": "", "official_split": "", "check_below": 1.0}
    photos = [{name: row[name] for name in ("path", "offset", "bytes")} | facts for row in rows]
    return [
        IngestItem(
            name=f"i{start:06d}",
            folder=str(work / "state"),
            source=str(work / "in"),
            photos=tuple(photos[start : start + _INGEST_CHUNK]),
            config=asdict(IngestConfig()) | {"training": False},
        )
        for start in range(0, len(photos), _INGEST_CHUNK)
    ]


if __name__ == "__main__":
    main()
