"""Photos a second of training beside the authors' loop and beside synthetic tensors, in one run.

    python benchmarks/training.py [FOLDER] [--device auto|cpu|cuda] [--rounds 4] [--compile]
                                  [--photos 512] [--batch 64]
    python benchmarks/training.py --device cpu --rounds 1 --photos 4 --batch 2   # the smallest

Makes JPEGs of about 1.4 megapixels from the photos in FOLDER (or from those that scikit-image
carries) and takes turns, a block at a time, between processes that each train one network:

    authors        the trunk as their loop trains it: fp32, contiguous, each photo decoded, cropped,
                   brought to Lab by scikit-image at every visit, no worker
    ours           the trunk by recipe `authors`: shards, prefetch, channels_last, bf16 where native
    synthetic      the same steps on tensors that are in memory already
    paper          recipe `paper` from shards, and its own synthetic twin

Each runs in its own natural environment: ours in that of our Dask workers (docs/decisions/006).
Medians of the blocks' ratios are printed last.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from preprocess import make_photos
from skimage.color import rgb2gray, rgb2lab
from torchvision import transforms

from colorization.networks import build_network
from colorization.training.feeding import PhotoBatch
from colorization.training.loop import Position, Trainer
from colorization.training.recipes import build_recipe
from storage.records.names import STORE_NAME
from storage.records.tables import write_table
from storage.shards.writing import create_array, shard_of
from tasks.compute.forks import WORKER_ENVIRONMENT
from tasks.config.model import PreprocessConfig, canonical
from tasks.jobs.items import peak_mb
from tasks.jobs.machine import available_cores, visible_gpus
from tasks.jobs.preprocess import ROW_COLUMNS, ShardItem, preprocess_shard
from tasks.jobs.training.loading import epoch_batches, open_split

_STEPS = {"authors": 1, "cpu": 4, "cuda": 40}
"""Steps a block: the authors' loop takes seconds a step."""
_PAPER_PHOTOS = 2000 * 50
"""The recipe of the paper over 2,000 photos."""


@dataclass(frozen=True, slots=True)
class Load:
    """What every process trains on."""

    work: Path
    """Holds photos/ and a preprocess step's folder of them."""
    device: str
    photos: int
    batch: int
    compiled: bool
    """Whether torch.compile is used in `ours`."""


def main() -> None:
    """Make photos and shards, start the processes, take turns, print the figures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", nargs="?", type=Path, help="colour photos to enlarge")
    parser.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto")
    parser.add_argument("--rounds", type=int, default=4)
    parser.add_argument("--photos", type=int, default=512)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--compile", action="store_true", help="torch.compile in `ours`")
    arguments = parser.parse_args()
    device = arguments.device
    if device == "auto":
        device = "cuda" if visible_gpus() else "cpu"
    print(f"device: {torch.cuda.get_device_name() if device == 'cuda' else 'CPU, no GPU is used'}")
    work = Path(tempfile.mkdtemp(prefix="chromaflow-bench-"))
    try:
        write_shards(work, make_photos(work / "photos", arguments.folder, arguments.photos))
        load = Load(work, device, arguments.photos, arguments.batch, arguments.compile)
        measure(load, arguments.rounds)
    finally:
        shutil.rmtree(work)


def write_shards(work: Path, rows: list[dict[str, Any]]) -> None:
    """A preprocess step's folder of the photos, all for training."""
    config = PreprocessConfig()
    num_shards = shard_of(len(rows) - 1) + 1
    create_array(work / STORE_NAME, "train", num_shards, config.size)
    listed: list[dict[str, Any]] = []
    for shard in range(num_shards):
        item = ShardItem(
            name=f"train-{shard:06d}",
            folder=str(work),
            source=str(work / "photos"),
            photos=tuple(rows[256 * shard : 256 * (shard + 1)]),
            config=canonical(config),
            split="train",
            shard=shard,
        )
        preprocess_shard(item)
        record = json.loads((work / "done" / f"{item.name}.json").read_text())
        listed += [row | {"path": "", "label": ""} for row in record["rows"]]
    write_table(work / "rows.parquet", listed, ROW_COLUMNS)


def measure(load: Load, rounds: int) -> None:
    """Take turns and print."""
    ways = ["authors", "ours", "synthetic", "paper", "paper-synthetic"]
    processes = {way: _start(way, load) for way in ways}
    blocks: dict[str, list[dict[str, float]]] = {way: [] for way in ways}
    for number in range(rounds + 1):
        for way in ways:
            block = _ask(processes[way])
            if number:  # the first warms up
                blocks[way].append(block)
    for process in processes.values():
        assert process.stdin is not None
        process.stdin.close()
        process.wait()
    for way, found in blocks.items():
        rate = statistics.median(block["rate"] for block in found)
        waited = statistics.median(block["waited"] for block in found)
        peak = max(block["peak_mb"] for block in found)
        print(f"{way:<16} {rate:8.1f} photos/s, waiting {100 * waited:5.2f}%, peak {peak:,.0f} MB")
    paper = statistics.median(block["rate"] for block in blocks["paper"])
    seconds = _PAPER_PHOTOS / paper
    print(f"recipe paper, 2,000 photos x 50 epochs at that rate: {seconds / 60:.1f} min")
    print(f"paper at {_ratio(blocks, 'paper', 'paper-synthetic'):.3f} of its synthetic rate")
    waited = statistics.median(block["waited"] for block in blocks["ours"])
    print(
        f"{_ratio(blocks, 'ours', 'authors'):.2f} times the authors' loop; waiting for data "
        f"{100 * waited:.2f}% of the step; {_ratio(blocks, 'ours', 'synthetic'):.3f} of the "
        "synthetic rate"
    )


def _ratio(blocks: dict[str, list[dict[str, float]]], above: str, below: str) -> float:
    pairs = zip(blocks[above], blocks[below], strict=True)
    return statistics.median(a["rate"] / b["rate"] for a, b in pairs)


def _start(way: str, load: Load) -> subprocess.Popen[str]:
    environment = dict(os.environ)
    if way != "authors":
        environment |= WORKER_ENVIRONMENT
    words = [
        sys.executable,
        __file__,
        "--block",
        way,
        json.dumps(asdict(load) | {"work": str(load.work)}),
    ]
    return subprocess.Popen(
        words, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )


def _ask(process: subprocess.Popen[str]) -> dict[str, float]:
    assert process.stdin is not None and process.stdout is not None
    process.stdin.write("go\n")
    process.stdin.flush()
    block: dict[str, float] = json.loads(process.stdout.readline())
    return block


def serve_blocks(way: str, load: Load) -> None:
    """In a process of one way: run a block for each line on stdin, answer with its figures."""
    torch.set_num_threads(available_cores())
    blocks = authors_loop(load) if way == "authors" else our_loop(way, load)
    for _ in sys.stdin:
        started = time.perf_counter()
        num_photos, waited = next(blocks)
        seconds = time.perf_counter() - started
        peak = peak_mb()
        if load.device == "cuda":
            peak = torch.cuda.max_memory_allocated() / 1e6
        figures = {"rate": num_photos / seconds, "waited": waited / seconds, "peak_mb": peak}
        print(json.dumps(figures), flush=True)


def our_loop(way: str, load: Load) -> Iterator[tuple[int, float]]:
    """Blocks of our trainer: from shards, or from tensors in memory."""
    name = "paper" if way.startswith("paper") else "authors"
    synthetic = way.endswith("synthetic")
    overrides: dict[str, Any] = {"epochs": 10_000, "compile": load.compiled and name == "authors"}
    if synthetic:
        overrides |= {"crop": 0, "horizontal_flip": 0.0}
    recipe = build_recipe(name, overrides)
    trainer = Trainer(
        build_network(recipe.network), recipe, num_photos=load.photos, device=load.device
    )
    steps = _steps(trainer, _synthetic(name, load) if synthetic else _stored(load))
    per_block = _STEPS[load.device] if name == "authors" else max(1, _STEPS[load.device] // 2)
    while True:
        waited = sum(next(steps) for _ in range(per_block))
        if load.device == "cuda":
            torch.cuda.synchronize()
        yield per_block * load.batch, waited


def _steps(
    trainer: Trainer, batches: Callable[[Trainer, int], Iterator[PhotoBatch]]
) -> Iterator[float]:
    """One step of the real loop at a time; yields the seconds that it waited for data."""
    epoch = 0
    trainer.network.train()
    while True:
        trainer.position = Position(epoch=epoch)
        prepared = trainer.fed(batches(trainer, epoch))
        while True:
            asked = time.perf_counter()
            found = next(prepared, None)
            waited = time.perf_counter() - asked
            if found is None:
                break
            trainer._train_step(*found)
            yield waited
        epoch += 1


def _stored(load: Load) -> Callable[[Trainer, int], Iterator[PhotoBatch]]:
    batches = epoch_batches(open_split(load.work, "train"), load.batch, 0, load.device)
    return lambda trainer, epoch: iter(batches(epoch, 0))


def _synthetic(name: str, load: Load) -> Callable[[Trainer, int], Iterator[PhotoBatch]]:
    side = 224 if name == "authors" else 256
    shape = (load.batch, 3, side, side)
    stored = torch.randint(0, 256, shape, dtype=torch.uint8, device=load.device)
    batch = PhotoBatch(stored, torch.zeros(load.batch, dtype=torch.int64, device=load.device))
    return lambda trainer, epoch: iter([batch] * (load.photos // load.batch))


def authors_loop(load: Load) -> Iterator[tuple[int, float]]:
    """Blocks of the authors' loop, by its description in facts/colorization.md."""
    prepare = transforms.Compose(
        [transforms.Resize(256), transforms.RandomCrop(224), transforms.RandomHorizontalFlip()]
    )
    trunk = build_network("resnet18-trunk")
    layers = (trunk.get_submodule(name) for name in ("midlevel_resnet", "upsample"))
    network = torch.nn.Sequential(*layers).to(load.device).train()
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-4, weight_decay=1e-5)
    paths = sorted((load.work / "photos").glob("*.jpg"))
    rng = np.random.default_rng(0)
    while True:
        waited = 0.0
        for _ in range(_STEPS["authors"]):
            started = time.perf_counter()
            pairs = [_load(paths[i], prepare) for i in rng.choice(len(paths), load.batch)]
            gray = torch.stack([pair[0] for pair in pairs]).to(load.device)
            ab = torch.stack([pair[1] for pair in pairs]).to(load.device)
            waited += time.perf_counter() - started
            loss = torch.nn.functional.mse_loss(network(gray), ab)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            float(loss.detach())
        yield _STEPS["authors"] * load.batch, waited


def _load(path: Path, prepare: transforms.Compose) -> tuple[torch.Tensor, torch.Tensor]:
    image = prepare(Image.open(io.BytesIO(path.read_bytes())).convert("RGB"))
    rgb = np.asarray(transforms.functional.adjust_saturation(image, 1.5))
    ab = (rgb2lab(rgb)[:, :, 1:] + 128) / 255
    gray = torch.from_numpy(rgb2gray(rgb)).float()[None]
    return gray, torch.from_numpy(ab.transpose(2, 0, 1)).float()


if __name__ == "__main__":
    if sys.argv[1:2] == ["--block"]:
        given = json.loads(sys.argv[3])
        serve_blocks(sys.argv[2], Load(**given | {"work": Path(given["work"])}))
    else:
        main()
