"""How fast this machine trains and colours, until a run here has shown it: measured in seconds, once, and
kept in the user's cache."""

from __future__ import annotations

import platform
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from colorization.training.recipe_fields import Recipe
from storage.records.ledger import read_json, write_json
from tasks.compute.slots import Slots
from tasks.jobs.machine import available_cores
from tasks.weights.models import cache_folder

_SECONDS = 1.5
"""That the steps of a measurement take, at least."""
_MOST_BATCH = 8
"""Photos of a step that is measured; larger batches are not much faster, but take their time."""
_PHOTO = (1024, 1365)
"""Height and width of the photo that is coloured: 1.4 megapixels."""


def trained_photos_a_second(recipe: Recipe, size: int, slots: Slots) -> float:
    """Photos a second that one training sees. size: of a photo that the network sees, pixels a side."""
    threads = min(slots.threads or available_cores(), available_cores())
    key = f"train {recipe.network} {size} {min(recipe.batch, _MOST_BATCH)} {recipe.precision}"
    return _kept(
        f"{key} {slots.device} {threads}", lambda: _train_rate(recipe, size, slots.device, threads)
    )


def core_seconds_to_colour() -> float:
    """Of one core, for a photo of 1.4 megapixels by the starter, from file to file."""
    return _kept("colorize", _colour_seconds)


def _kept(key: str, measure: Callable[[], float]) -> float:
    """A figure of this machine from the cache, or measured and put there."""
    path = cache_folder() / "speed.json"
    machine = f"{platform.node()} {platform.machine()}, torch {version('torch')}"
    kept: dict[str, Any] = read_json(path) or {}
    figures: dict[str, float] = kept["figures"] if kept.get("machine") == machine else {}
    if key not in figures:
        figures[key] = measure()
        path.parent.mkdir(parents=True, exist_ok=True)
        write_json(path, {"machine": machine, "figures": figures})
    return figures[key]


def _train_rate(recipe: Recipe, size: int, device: str, threads: int) -> float:
    """Steps on a made-up batch: forward, backward and Adam's, as the loop's but for reading."""
    import torch

    from colorization.compute import autocast, place, resolve_device, resolve_precision
    from colorization.networks import build_network
    from colorization.networks.contract import PaletteColorizer

    device = resolve_device(device)
    precision = resolve_precision(recipe.precision, device)
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    network = place(build_network(recipe.network), device).train()
    optimizer = torch.optim.Adam(network.parameters())
    batch = min(recipe.batch, _MOST_BATCH)
    L_norm = torch.rand(batch, 1, size, size, device=device) - 0.5
    passes = 2 if isinstance(network, PaletteColorizer) else 1  # with the palette and without
    steps, started = -1, 0.0
    while steps < 1 or time.perf_counter() - started < _SECONDS:
        if steps == 0:
            started = time.perf_counter()
        for _ in range(passes):
            with autocast(precision, device):
                ab = network.outputs(L_norm).ab
            ab.float().abs().mean().backward()
        optimizer.step()
        optimizer.zero_grad()
        if device != "cpu":
            torch.cuda.synchronize()
        steps += 1
    torch.set_num_threads(before)
    return batch * steps / (time.perf_counter() - started)


def _colour_seconds() -> float:
    """The library on one thread, files included."""
    import numpy as np
    import torch
    from PIL import Image

    from chromaflow.library.colorizer import Colorizer

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        colorizer = Colorizer(device="cpu")
        rng = np.random.default_rng(0)
        coarse = Image.fromarray(rng.integers(40, 220, (24, 32), dtype=np.uint8))
        gray = coarse.resize(_PHOTO[::-1], Image.Resampling.BICUBIC)
        with TemporaryDirectory() as folder:
            path = Path(folder, "gray.jpg")
            gray.save(path, quality=90)
            times = []
            for number in range(3):
                started = time.perf_counter()
                colorizer.colorize(path, output=Path(folder, f"{number}.jpg"))
                times.append(time.perf_counter() - started)
    finally:
        torch.set_num_threads(before)
    return min(times[1:])
