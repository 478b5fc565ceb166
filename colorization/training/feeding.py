"""What is fed to a network while it learns: batches of photos, cropped, mirrored, ready in time."""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import TypeVar

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from colorization.colour.lab import AB_OFFSET, L_CENTRE, L_MAX, L_SPREAD
from colorization.training.recipe_fields import Recipe
from colorization.training.wear import Wear, wear

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class PhotoBatch:
    """Photos of one step, on any device."""

    stored: Tensor
    """uint8 (N, 3, S, S): stored Lab."""
    labels: Tensor
    """int64 (N,)."""
    heads: Tensor | None = None
    """int64 (N,): which head of the network learns each photo; None: its first."""

    def __len__(self) -> int:
        return len(self.stored)


def num_steps(num_photos: int, batch: int) -> int:
    """Steps of an epoch. A photo that would be alone in the last one joins the step before.

    BatchNorm has nothing to normalise a single photo of 32 × 32 pixels by.
    """
    return max(1, -(-num_photos // batch) - (num_photos % batch == 1))


def step_rows(num_photos: int, batch: int, step: int) -> slice:
    """Which places in an epoch's order a step takes."""
    last = step == num_steps(num_photos, batch) - 1
    return slice(step * batch, num_photos if last else (step + 1) * batch)


def to_tensors(stored: Tensor) -> tuple[Tensor, Tensor]:
    """Stored Lab to network tensors, on its own device.

    stored: uint8 (N, 3, H, W). Returns L_norm float32 (N, 1, H, W), channels_last, and ab float32
    (N, 2, H, W).
    """
    lab = stored.float()
    L_norm = (lab[:, :1] * (L_MAX / 255) - L_CENTRE) / L_SPREAD
    return L_norm.contiguous(memory_format=torch.channels_last), lab[:, 1:] - AB_OFFSET


def augment(batch: PhotoBatch, recipe: Recipe, rng: np.random.Generator) -> PhotoBatch:
    """The recipe's random crop, mirror, lightness and wear of each photo."""
    side = batch.stored.shape[-1]
    size = min(recipe.crop or side, side)
    cut = _cut_side(side, size, recipe.smallest_crop, rng)
    stored = batch.stored
    if cut < side or recipe.horizontal_flip:
        stored = _crop_and_flip(stored, cut, recipe.horizontal_flip, rng)
    if cut != size:
        stored = _resize(stored, size)
    if recipe.lightness_jitter:
        stored = _jitter_lightness(stored, recipe.lightness_jitter, rng)
    if recipe.wear:
        stored = _wear(stored, recipe.wear, rng)
    return replace(batch, stored=stored)


def _cut_side(side: int, size: int, smallest: float, rng: np.random.Generator) -> int:
    """Side of the batch's crops in the photos, which are resized to `size` where it is another."""
    return round(side * rng.uniform(smallest, 1)) if smallest else size


def _crop_and_flip(
    stored: Tensor, size: int, horizontal_flip: float, rng: np.random.Generator
) -> Tensor:
    """stored: uint8 (N, 3, S, S). Returns uint8 (N, 3, size, size)."""
    photos, _, side, _ = stored.shape
    corners = rng.integers(0, side - size + 1, (photos, 2)).tolist()
    mirrored = (rng.random(photos) < horizontal_flip).tolist()
    out = stored.new_empty(photos, 3, size, size)
    for i, ((top, left), mirror) in enumerate(zip(corners, mirrored, strict=True)):
        crop = stored[i, :, top : top + size, left : left + size]
        out[i] = crop.flip(-1) if mirror else crop
    return out


def _resize(stored: Tensor, size: int) -> Tensor:
    """uint8 (N, 3, S, S). Returns uint8 (N, 3, size, size), antialiased.

    In float: CUDA has no kernel that resizes bytes with antialias.
    """
    resized = F.interpolate(stored.float(), (size, size), mode="bilinear", antialias=True)
    return resized.round().clamp(0, 255).to(torch.uint8)


def _jitter_lightness(stored: Tensor, strength: float, rng: np.random.Generator) -> Tensor:
    """Another gamma and contrast of each photo's L; its colours stay. uint8 (N, 3, S, S), both."""
    gamma, contrast = np.exp(rng.uniform(-strength, strength, (2, len(stored), 1)))
    level = np.arange(256) / 255
    curves = 0.5 + (level**gamma - 0.5) * contrast
    table = torch.from_numpy((curves.clip(0, 1) * 255).round().astype(np.uint8)).to(stored.device)
    out = stored.clone()
    for photo, curve in zip(out, table, strict=True):
        photo[0] = curve[photo[0].long()]
    return out


def _wear(stored: Tensor, share: float, rng: np.random.Generator) -> Tensor:
    """L of a share of the photos as old ones have it. uint8 (N, 3, S, S), both."""
    L = stored[:, :1].float() * (L_MAX / 255)
    worn = wear(L, Wear(share=share), rng)
    if worn is L:
        return stored
    return torch.cat([(worn * (255 / L_MAX)).round().to(torch.uint8), stored[:, 1:]], dim=1)


def prefetch(items: Iterable[T], depth: int = 2) -> Iterator[T]:
    """The items, made ready by a thread while the caller works; at most `depth` wait.

    An error of the iterable is raised where the item would have come. Leaving the iteration early
    stops the thread.
    """
    ready: queue.Queue[tuple[str, object]] = queue.Queue(maxsize=depth)
    stopped = threading.Event()

    def put(kind: str, value: object) -> bool:
        while not stopped.is_set():
            try:
                ready.put((kind, value), timeout=0.1)
                return True
            except queue.Full:
                continue
        return False

    def work() -> None:
        try:
            for item in items:
                if not put("item", item):
                    return
            put("end", None)
        except BaseException as error:  # noqa: BLE001 - raised again by the consumer
            put("error", error)

    thread = threading.Thread(target=work, daemon=True, name="prefetch")
    thread.start()
    try:
        while True:
            kind, value = ready.get()
            if kind == "end":
                return
            if isinstance(value, BaseException):
                raise value
            yield value  # type: ignore[misc]
    finally:
        stopped.set()
        thread.join()
