"""Batches of a split for training: a stream that several loader processes share, or all in memory.

Step k of an epoch holds the same photos in the same order, whatever the source, the number of
processes and the step at which the epoch was entered, so training resumes at a step.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import IterableDataset, get_worker_info

from colorization.categories import PAPER, Categories
from colorization.training.feeding import PhotoBatch, num_steps
from storage.records.names import ROWS_NAME, STORE_NAME
from storage.records.tables import read_table
from storage.shards.reader import JoinedReader, ShardReader
from tasks.jobs.items import spread_evenly
from tasks.jobs.training.orders import CategoryPhotos, Rows, StepOrder, step_order

EpochBatches = Callable[[int, int], Iterable[PhotoBatch]]
"""(epoch, first step) → the batches of the epoch from that step on."""
_DEVICE_SHARE = 0.5
"""Of a GPU's free memory that a split may take."""
_LOADED_AT_ONCE = 256
"""Photos on their way to a device's memory."""


@dataclass(frozen=True, slots=True)
class Split:
    """The photos of one split, their labels, and the categories that learn a head each from them."""

    reader: ShardReader | JoinedReader
    labels: NDArray[np.int64]
    """int64 (N,), as the reader's rows: index into `label_names`, −1 for a label not in it."""
    label_names: tuple[str, ...]
    heads: NDArray[np.int64] | None = None
    """int64 (N,), as the reader's rows: which head learns each photo; None: the network has one."""
    categories: tuple[CategoryPhotos, ...] = ()
    """Those of which there are photos, by their heads; none where the network has one."""

    def __len__(self) -> int:
        return len(self.reader)

    def batch(self, order: Rows) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
        """Photos and labels of some rows. Returns uint8 (n, 3, S, S) and int64 (n,)."""
        return self.reader.read(order), self.labels[np.searchsorted(self.reader.rows, order)]

    def photo_batch(self, order: Rows) -> PhotoBatch:
        """Photos of some rows as a step takes them."""
        stored, labels = self.batch(order)
        heads = self.heads_of(order)
        return PhotoBatch(
            torch.from_numpy(stored),
            torch.from_numpy(labels),
            None if heads is None else torch.from_numpy(heads),
        )

    def heads_of(self, order: Rows) -> NDArray[np.int64] | None:
        """Which heads learn the photos of some rows, int64 (n,); None: the network has one."""
        return None if self.heads is None else self.heads[np.searchsorted(self.reader.rows, order)]

    def spread(self, most: int) -> Rows:
        """At most so many rows, evenly spread; of several categories as many of each, if there are."""
        every = [photos.rows for photos in self.categories] or [self.reader.rows]
        each = max(1, most // len(every))
        return np.concatenate([rows[spread_evenly(len(rows), each)] for rows in every])


def open_split(preprocessed: Path, split: str, label_names: tuple[str, ...] = ()) -> Split:
    """The photos of one split that rows.parquet lists.

    label_names: of the training split; given none, those of this split. Raises DamagedError.
    """
    rows = read_table(preprocessed / ROWS_NAME)
    listed = rows.loc[rows["split"] == split].sort_values("row")
    found = [str(label or "") for label in listed["label"]]
    names = label_names or tuple(sorted(set(found)))
    number = {name: i for i, name in enumerate(names)}
    labels = np.array([number.get(label, -1) for label in found], np.int64)
    reader = ShardReader(preprocessed / STORE_NAME, split, listed["row"].to_numpy(np.int64))
    return Split(reader, labels, names)


def open_splits(
    folders: Sequence[Path],
    split: str,
    label_names: tuple[str, ...] = (),
    categories: Sequence[str] = (),
    every: Categories = PAPER,
) -> Split:
    """The photos of one split of one or more categories, mixed. Raises DamagedError.

    label_names: as in `open_split`; those of several categories together. categories: of each folder,
    where each learns a head of its own; none where the network has one. every: category that has a head.
    """
    if len(folders) == 1 and not categories:
        return open_split(folders[0], split, label_names)
    names = label_names or tuple(
        sorted({name for folder in folders for name in open_split(folder, split).label_names})
    )
    parts = [open_split(folder, split, names) for folder in folders]
    readers = [part.reader for part in parts if isinstance(part.reader, ShardReader)]
    joined = JoinedReader(readers)
    labels = np.concatenate([part.labels for part in parts])
    if not categories:
        return Split(joined, labels, names)
    numbers = [every.index(name) for name in categories]
    heads = np.repeat(np.array(numbers, np.int64), [len(part) for part in parts])
    reader_of = dict(zip(categories, readers, strict=True))
    photos = [
        CategoryPhotos(name, reader_of[name], joined.rows[heads == head], head)
        for head, name in enumerate(every.names)
        if len(reader_of.get(name, ()))
    ]
    return Split(joined, labels, names, heads, tuple(photos))


class ShardBatches(IterableDataset[PhotoBatch]):
    """Shuffled batches of a split, one epoch at a time.

    Of W loader processes, process w takes the steps that are w modulo W, and `DataLoader` puts them
    back in order: `DataLoader(batches, batch_size=None, num_workers=W)`, by fork, spawn or forkserver.
    """

    def __init__(self, split: Split, batch: int, seed: int) -> None:
        if batch < 1:
            raise ValueError(f"Expected a batch of 1 or more, got {batch}.")
        self._split, self._batch, self._seed = split, batch, seed
        self._epoch, self._start = 0, 0

    def __len__(self) -> int:
        """Steps left in the epoch."""
        return max(0, num_steps(len(self._split), self._batch) - self._start)

    def begin(self, epoch: int, start: int = 0) -> None:
        """Choose the epoch and the step to start at. Call it before each epoch."""
        self._epoch, self._start = epoch, start

    def __iter__(self) -> Iterator[PhotoBatch]:
        worker = get_worker_info()
        number, count = (worker.id, worker.num_workers) if worker else (0, 1)
        rows_of = _step_order(self._split, self._batch, self._seed, self._epoch)
        steps = range(self._start + number, num_steps(len(self._split), self._batch), count)
        for step in steps:
            yield self._split.photo_batch(rows_of(step))


class MemoryBatches:
    """The same batches of a split that fits, held in memory or on a device.

    device: where the split is kept, e.g. cpu or cuda; batches are yielded there.
    """

    def __init__(self, split: Split, batch: int, seed: int, device: str = "cpu") -> None:
        self._split = split
        self._photos = _load(split, device)
        self._labels = torch.from_numpy(split.labels).to(device)
        self._heads = None if split.heads is None else torch.from_numpy(split.heads).to(device)
        self._batch, self._seed = batch, seed

    def epoch(self, epoch: int, start: int = 0) -> Iterator[PhotoBatch]:
        """The batches of one epoch from a step on."""
        rows_of = _step_order(self._split, self._batch, self._seed, epoch)
        known = self._split.reader.rows
        for step in range(start, num_steps(len(known), self._batch)):
            places = torch.from_numpy(np.searchsorted(known, rows_of(step)))
            places = places.to(self._photos.device)
            heads = None if self._heads is None else self._heads[places]
            yield PhotoBatch(self._photos[places], self._labels[places], heads)


def epoch_batches(split: Split, batch: int, seed: int, device: str) -> EpochBatches:
    """How a device is fed: a GPU from its own memory where the split fits, else from the shards.

    A shard reader gives 4,000 photos a second, forty times what a CPU trains, and the page cache is
    shared by all categories. Loader processes cannot be used here: Dask's workers may have no children.
    """
    if (
        device.startswith("cuda")
        and _split_bytes(split) < _DEVICE_SHARE * torch.cuda.mem_get_info(device)[0]
    ):
        return MemoryBatches(split, batch, seed, device).epoch
    dataset = ShardBatches(split, batch, seed)

    def begin(epoch: int, start: int) -> Iterable[PhotoBatch]:
        dataset.begin(epoch, start)
        return dataset

    return begin


def _step_order(split: Split, batch: int, seed: int, epoch: int) -> StepOrder:
    return step_order(split.reader, split.categories, batch, seed, epoch)


def _load(split: Split, device: str) -> Tensor:
    """The whole split on a device, a few photos at a time. Returns uint8 (N, 3, S, S)."""
    size = split.reader.size
    photos = torch.empty(len(split), 3, size, size, dtype=torch.uint8, device=device)
    parts = split.reader.batches(_LOADED_AT_ONCE)
    for place, part in zip(photos.split(_LOADED_AT_ONCE), parts, strict=True):
        place.copy_(torch.from_numpy(part))
    return photos


def _split_bytes(split: Split) -> int:
    return len(split) * 3 * split.reader.size**2
