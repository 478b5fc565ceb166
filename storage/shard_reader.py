"""Readers of shards: in order, through a shuffle buffer, one photo by its row, a whole split.

The shuffle buffer is an order of rows: shards are shuffled, then rows among a few shards, and each
photo is read when its turn comes. So nothing is held in memory but the page cache, and an epoch can
begin at any step.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from storage.errors import DamagedError
from storage.ledger import read_json
from storage.shard_file import PHOTOS_PER_SHARD, ShardFile, Stored
from storage.shards import shard_of, shard_path

Rows = NDArray[np.int64]
_MOST_OPEN = 32
"""Shard files open at a time; each takes a descriptor and 4 KB."""


class ShardReader:
    """Reads the photos of one split, as listed in rows.parquet.

    rows: those of the array that hold a photo; others are holes. May be pickled and forked.
    """

    def __init__(self, store: Path, split: str, rows: NDArray[np.integer[Any]]) -> None:
        self.rows: Rows = np.sort(rows).astype(np.int64)
        self._store, self._split = store, split
        self._open: OrderedDict[int, ShardFile] = OrderedDict()
        self._size = _photo_size(store, split) if len(rows) else 0

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def size(self) -> int:
        """Side of a stored photo in pixels; 0 for an empty split."""
        return self._size

    def photo(self, row: int) -> Stored:
        """One photo by its row. Returns uint8 (3, S, S). Raises DamagedError."""
        photo: Stored = self.read([row])[0]
        return photo

    def read(self, rows: Sequence[int] | Rows) -> Stored:
        """Photos in any order. Returns uint8 (n, 3, S, S). Raises DamagedError."""
        photos = np.empty((len(rows), 3, self._size, self._size), np.uint8)
        for i, row in enumerate(rows):
            self._shard(shard_of(int(row))).read_into(int(row) % PHOTOS_PER_SHARD, photos[i])
        return photos

    def batches(self, batch: int) -> Iterator[Stored]:
        """All photos in order of their rows. Yields uint8 (≤ batch, 3, S, S)."""
        yield from self._batches(self.rows, batch, 0)

    def shuffled_batches(
        self, batch: int, seed: Sequence[int], *, start: int = 0, buffer_shards: int = 4
    ) -> Iterator[Stored]:
        """One epoch in random order, through a shuffle buffer.

        seed: e.g. (seed, epoch); the same gives the same order. start: steps to leave out, without
        reading them. Yields uint8 (batch, 3, S, S); what is left over comes as a smaller batch.
        """
        yield from self._batches(self.epoch_order(seed, buffer_shards), batch, start)

    def epoch_order(self, seed: Sequence[int], buffer_shards: int = 4) -> Rows:
        """All rows in the order of one epoch: shards shuffled, then rows within every few shards.

        buffer_shards: rows are shuffled among so many shards, which bounds how far the disk jumps.
        """
        rng = np.random.default_rng(list(seed))
        shards = self.rows // PHOTOS_PER_SHARD
        starts = np.flatnonzero(np.diff(shards, prepend=-1))
        groups = np.split(self.rows, starts[1:])
        order = rng.permutation(len(groups))
        windows = []
        for first in range(0, len(order), buffer_shards):
            window = np.concatenate([groups[i] for i in order[first : first + buffer_shards]])
            windows.append(rng.permutation(window))
        return np.concatenate(windows) if windows else self.rows

    def load(self) -> Stored:
        """The whole split in memory. Returns uint8 (N, 3, S, S), in order of the rows."""
        return self.read(self.rows)

    def _batches(self, order: Rows, batch: int, start: int) -> Iterator[Stored]:
        for first in range(start * batch, len(order), batch):
            yield self.read(order[first : first + batch])

    def _shard(self, shard: int) -> ShardFile:
        if shard in self._open:
            self._open.move_to_end(shard)
            return self._open[shard]
        if len(self._open) >= _MOST_OPEN:
            self._open.popitem(last=False)[1].close()
        self._open[shard] = ShardFile.open(shard_path(self._store, self._split, shard))
        return self._open[shard]

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_open": OrderedDict()}  # file descriptors stay in their process


def _photo_size(store: Path, split: str) -> int:
    metadata = read_json(store / split / "zarr.json")
    if metadata is None:
        raise DamagedError(
            f"Expected shards of split {split!r} in {store}, found none. Run preprocess again."
        )
    return int(metadata["shape"][-1])
