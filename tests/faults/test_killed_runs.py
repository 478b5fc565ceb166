"""SIGKILL at random points, again and again: the shards are those of a run that nobody killed."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import time
from pathlib import Path

import pytest
from command import computed, shard_hashes, start

SEED = int(os.environ.get("CHROMAFLOW_FAULT_SEED", "20261124"))


def write_config(folder: Path, photos: Path) -> Path:
    folder.mkdir()
    config = folder / "chromaflow.toml"
    config.write_text(f'[datasets]\nbirds = "{photos}"\n[preprocess]\nsize = 64\nvariants = 3\n')
    return config


def kill_after(config: Path, seconds: float) -> None:
    process = start("run", "--config", config, "--until", "preprocess", "--workers", 2)
    try:
        process.communicate(timeout=seconds)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()


@pytest.mark.slow
@pytest.mark.parametrize("num_kills", [2, 10])
@pytest.mark.timeout(900)
def test_shards_are_the_same_for_one_worker_two_workers_and_a_killed_run(
    tmp_path: Path, many_photos: Path, num_kills: int
) -> None:
    rng = random.Random(SEED + num_kills)
    hashes = []
    for workers in (1, 2):
        config = write_config(tmp_path / f"{workers}", many_photos)
        started = time.monotonic()
        computed(config, "--until", "preprocess", "--workers", workers)
        whole = time.monotonic() - started
        hashes.append(shard_hashes(config.parent / "workspace"))
    killed = write_config(tmp_path / "killed", many_photos)
    for _ in range(num_kills):
        kill_after(killed, rng.uniform(0.3, 0.95) * whole)
    computed(killed, "--until", "preprocess", "--workers", 2)
    hashes.append(shard_hashes(killed.parent / "workspace"))
    assert len(hashes[0]) > 20
    assert hashes[0] == hashes[1] == hashes[2], f"seed {SEED}"
    assert not list(killed.parent.rglob("*.partial"))
