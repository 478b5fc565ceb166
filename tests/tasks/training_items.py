"""Small preprocessed splits and training items, for tests and for the process that they kill."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from colorization.categories import Categories
from colorization.training.recipes import build_recipe
from storage.records.names import STORE_NAME
from storage.records.tables import write_table
from storage.shards.writing import ShardWriter, create_array
from tasks.jobs.preprocess import ROW_COLUMNS
from tasks.jobs.stage_items import TrainItem
from tasks.jobs.training.train import train_network

SIDE = 32
ROOT = Path(__file__).parents[2]


def write_split(folder: Path, num_train: int, num_val: int = 6, *, tint: int = 0) -> Path:
    """A preprocess step's folder: photos whose colour follows from their lightness, two labels.

    tint: added to a of every photo, which gray does not show.
    """
    rows: list[dict[str, Any]] = []
    rng = np.random.default_rng(3)
    for split, count in (("train", num_train), ("val", num_val)):
        create_array(folder / STORE_NAME, split, 1, SIDE)
        writer = ShardWriter(folder / STORE_NAME, split, 0)
        for row in range(count):
            L = rng.integers(0, 256, (1, SIDE // 4, SIDE // 4)).repeat(4, 1).repeat(4, 2)
            stored = np.concatenate([L, 128 + tint + L // 8, 158 - L // 8]).astype(np.uint8)
            writer.add(row, stored)
            rows.append({"split": split, "row": row, "label": "ab"[row % 2]})
        writer.write()
    write_table(folder / "rows.parquet", rows, ROW_COLUMNS)
    return folder


def training_item(folder: Path, *shards: Path, **changes: Any) -> TrainItem:
    """Four epochs of a small network in fp32; `changes` are of the item or of its recipe."""
    recipe = {
        "network": "unet18-layer3",
        "precision": "fp32",
        "epochs": 4,
        "batch": 4,
        "crop": 0,
        "ema": 0.9,
    }
    fields: dict[str, Any] = {
        "name": "weights",
        "folder": str(folder),
        "category": "birds",
        "shards": tuple(map(str, shards)),
        "data_digest": "0" * 64,
        "seed": 5,
        "init": "scratch",
        "init_weights": None,
        "perceptual_weights": None,
        "license": "CC0-1.0",
        "min_photos": 8,
        "num_threads": 1,
        "device": "cpu",
        "checkpoint_seconds": 60.0,
        "sheet_every": 2,
        "categories": (),
    }
    own = {key: value for key, value in changes.items() if key in fields}
    recipe |= {key: value for key, value in changes.items() if key not in fields}
    built = build_recipe("default", {"network": "unet18-layer3"} | recipe).to_dict()
    return TrainItem(recipe=built, **(fields | own))


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def train_and_die(item: TrainItem, after_steps: int) -> bool:
    """Train in a process that dies after so many steps; whether it did."""
    values = asdict(item) | {"every": item.every.to_json()}
    words = [sys.executable, __file__, json.dumps(values), str(after_steps)]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(words, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode in (0, -signal.SIGKILL), done.stderr
    return done.returncode != 0


def main() -> None:
    """Train the item of the first argument; SIGKILL this process after so many steps of its own."""
    from colorization.training.loop import Trainer

    values, deadly = json.loads(sys.argv[1]), int(sys.argv[2])
    item = TrainItem(**(values | {"every": Categories.from_json(values["every"])}))
    steps, train_step = 0, Trainer._train_step

    def counted(self: Trainer, *args: Any) -> float:
        nonlocal steps
        if steps == deadly:
            os.kill(os.getpid(), signal.SIGKILL)
        steps += 1
        return train_step(self, *args)

    Trainer._train_step = counted  # type: ignore[method-assign]
    train_network(item)


if __name__ == "__main__":
    main()
