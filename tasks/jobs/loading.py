"""Batches of shards for torch: a stream that several loader processes share, or a split in memory.

Step k of an epoch holds the same photos in the same order, whatever the number of processes and
wherever the epoch began, so training resumes at a step.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, IterableDataset, get_worker_info

from storage.shard_reader import ShardReader


class ShardBatches(IterableDataset[Tensor]):
    """Shuffled batches of a split, one epoch at a time.

    Yields uint8 (≤ batch, 3, S, S). Of W loader processes, process w takes the steps that are
    w modulo W, and `DataLoader` puts them back in order. Works with fork, spawn and forkserver.
    """

    def __init__(self, reader: ShardReader, batch: int, seed: int) -> None:
        if batch < 1:
            raise ValueError(f"Expected a batch of 1 or more, got {batch}.")
        self._reader, self._batch, self._seed = reader, batch, seed
        self._epoch, self._start = 0, 0

    def __len__(self) -> int:
        """Steps left in the epoch."""
        return max(0, -(-len(self._reader) // self._batch) - self._start)

    def begin(self, epoch: int, start: int = 0) -> None:
        """Choose the epoch and the step to start at. Call it before each epoch."""
        self._epoch, self._start = epoch, start

    def __iter__(self) -> Iterator[Tensor]:
        worker = get_worker_info()
        number, count = (worker.id, worker.num_workers) if worker else (0, 1)
        order = self._reader.epoch_order((self._seed, self._epoch))
        steps = range(self._start + number, -(-len(order) // self._batch), count)
        for step in steps:
            rows = order[step * self._batch : (step + 1) * self._batch]
            yield torch.from_numpy(self._reader.read(rows))


def stream_batches(
    reader: ShardReader, batch: int, seed: int, *, num_workers: int = 0, start_method: str = "spawn"
) -> tuple[ShardBatches, DataLoader[Tensor]]:
    """A dataset and its loader; call `begin` on the first before iterating over the second.

    num_workers: loader processes; 0 reads in this one. start_method: fork, spawn or forkserver.
    """
    dataset = ShardBatches(reader, batch, seed)
    options: dict[str, Any] = {"multiprocessing_context": start_method} if num_workers else {}
    return dataset, DataLoader(dataset, batch_size=None, num_workers=num_workers, **options)


class MemoryBatches:
    """Shuffled batches of a split that fits, held in memory or on a device.

    device: where the split is kept, e.g. cpu or cuda; batches are yielded there, uint8
    (≤ batch, 3, S, S). Shuffled over the whole split, not through a buffer.
    """

    def __init__(self, reader: ShardReader, batch: int, seed: int, device: str = "cpu") -> None:
        self._photos = torch.from_numpy(reader.load()).to(device)
        self._batch, self._seed = batch, seed

    def epoch(self, epoch: int, start: int = 0) -> Iterator[Tensor]:
        """The batches of one epoch from a step on."""
        order = np.random.default_rng([self._seed, epoch]).permutation(len(self._photos))
        for first in range(start * self._batch, len(order), self._batch):
            rows = torch.from_numpy(order[first : first + self._batch]).to(self._photos.device)
            yield self._photos[rows]
