"""Readers of shards: photos in order, in the order of an epoch, or any by their rows.

An epoch is an order of rows: shards are shuffled, then rows among a few shards, and each
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
from storage.records.ledger import read_json
from storage.shards.file import PHOTOS_PER_SHARD, ShardFile, Stored
from storage.shards.writing import shard_of, shard_path

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
        for first in range(0, len(self.rows), batch):
            yield self.read(self.rows[first : first + batch])

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


class JoinedReader:
    """Several readers of equal photos as one; their rows are counted on from one to the next.

    Raises DamagedError where they hold photos of different sizes.
    """

    def __init__(self, readers: Sequence[ShardReader]) -> None:
        self._readers = list(readers)
        sizes = {reader.size for reader in readers if len(reader)}
        if len(sizes) > 1:
            raise DamagedError(
                f"Expected photos of one size to join, got sides of {sorted(sizes)} pixels. Run "
                "preprocess again."
            )
        self.size = max(sizes, default=0)
        spans = [int(reader.rows.max(initial=-1)) + 1 for reader in readers]
        self._offsets = np.concatenate([[0], np.cumsum(spans)]).astype(np.int64)
        shifted = [r.rows + offset for r, offset in zip(readers, self._offsets, strict=False)]
        self.rows: Rows = np.concatenate(shifted) if shifted else np.empty(0, np.int64)

    def __len__(self) -> int:
        return len(self.rows)

    def read(self, rows: Sequence[int] | Rows) -> Stored:
        """Photos in any order. Returns uint8 (n, 3, S, S). Raises DamagedError."""
        wanted = np.asarray(rows, np.int64)
        owners = np.searchsorted(self._offsets, wanted, side="right") - 1
        photos = np.empty((len(wanted), 3, self.size, self.size), np.uint8)
        for owner in np.unique(owners):
            mine = owners == owner
            photos[mine] = self._readers[owner].read(wanted[mine] - self._offsets[owner])
        return photos

    def batches(self, batch: int) -> Iterator[Stored]:
        """All photos in order of their rows. Yields uint8 (≤ batch, 3, S, S)."""
        for first in range(0, len(self.rows), batch):
            yield self.read(self.rows[first : first + batch])

    def epoch_order(self, seed: Sequence[int], buffer_shards: int = 4) -> Rows:
        """All rows in the order of one epoch: each reader's own, shuffled together like cards."""
        orders = [
            reader.epoch_order((*seed, i), buffer_shards) + offset
            for i, (reader, offset) in enumerate(zip(self._readers, self._offsets, strict=False))
        ]
        turns = np.repeat(np.arange(len(orders)), [len(order) for order in orders])
        turns = np.random.default_rng(list(seed)).permutation(turns)
        mixed = np.empty(len(turns), np.int64)
        for i, order in enumerate(orders):
            mixed[turns == i] = order
        return mixed


def _photo_size(store: Path, split: str) -> int:
    metadata = read_json(store / split / "zarr.json")
    if metadata is None:
        raise DamagedError(
            f"Expected shards of split {split!r} in {store}, found none. Run preprocess again."
        )
    return int(metadata["shape"][-1])
