"""Readers of shards: in order, through a shuffle buffer, one photo by its row, a whole split.

They read a shard file as zarr v3's sharding codec lays it out (index of offset and length at the
end, CRC-32C), one `pread` and one zstd frame a photo. zarr itself would do the same, but fancy
indexing of a sharded array is over ten times slower (zarr-python#3829) and whole shards must be
held in memory to be shuffled. Nothing is buffered here but the page cache.
"""

from __future__ import annotations

import os
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import google_crc32c
import numpy as np
from numcodecs.zstd import Zstd
from numpy.typing import NDArray

from storage.errors import DamagedError
from storage.ledger import read_json
from storage.shards import PHOTOS_PER_SHARD, Stored, shard_of, shard_path

Rows = NDArray[np.int64]
_INDEX_BYTES = PHOTOS_PER_SHARD * 16
_ABSENT = np.uint64(2**64 - 1)
"""Offset and length of a chunk that was never written."""
_MOST_OPEN = 32
_REMEDY = "Run preprocess again; it rebuilds this shard only."


class ShardReader:
    """Reads the photos of one split, as listed in rows.parquet.

    rows: those of the array that hold a photo; others are holes. May be pickled and forked.
    """

    def __init__(self, store: Path, split: str, rows: NDArray[np.integer[Any]]) -> None:
        self.rows: Rows = np.sort(rows).astype(np.int64)
        self._store, self._split = store, split
        self._open: OrderedDict[int, _ShardFile] = OrderedDict()
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

    def _shard(self, shard: int) -> _ShardFile:
        if shard in self._open:
            self._open.move_to_end(shard)
            return self._open[shard]
        if len(self._open) >= _MOST_OPEN:
            self._open.popitem(last=False)[1].close()
        self._open[shard] = _ShardFile.open(shard_path(self._store, self._split, shard))
        return self._open[shard]

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_open": OrderedDict()}  # file descriptors stay in their process


@dataclass
class _ShardFile:
    """An open shard file and its index. `pread` has no position, so a fork may share it."""

    path: Path
    descriptor: int
    index: NDArray[np.uint64]
    """(256, 2): offset and length of each row's zstd frame."""

    @classmethod
    def open(cls, path: Path) -> _ShardFile:
        """Open and check the index. Raises DamagedError."""
        try:
            descriptor = os.open(path, os.O_RDONLY)
        except (FileNotFoundError, NotADirectoryError) as error:
            raise DamagedError(f"Expected the shard {path}, found no file. {_REMEDY}") from error
        size = os.fstat(descriptor).st_size
        tail = os.pread(descriptor, _INDEX_BYTES + 4, max(0, size - _INDEX_BYTES - 4))
        index, checksum = tail[:_INDEX_BYTES], tail[_INDEX_BYTES:]
        whole = len(tail) == _INDEX_BYTES + 4
        if not whole or google_crc32c.value(index) != int.from_bytes(checksum, "little"):
            os.close(descriptor)
            raise DamagedError(f"Expected an index at the end of {path}, got bytes. {_REMEDY}")
        os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_WILLNEED)
        return cls(path, descriptor, np.frombuffer(index, "<u8").reshape(-1, 2))

    def read_into(self, place: int, out: Stored) -> None:
        """Decode one photo. place: row in the shard. out: uint8 (3, S, S), contiguous."""
        offset, length = self.index[place]
        if offset == _ABSENT:
            raise DamagedError(f"Expected a photo at row {place} of {self.path}, found a hole.")
        frame = os.pread(self.descriptor, int(length), int(offset))
        try:
            Zstd().decode(frame, out.reshape(-1))
        except (RuntimeError, ValueError) as error:  # the checksum, or a broken frame
            raise DamagedError(
                f"Expected photo {place} of {self.path} whole, got: {error}. {_REMEDY}"
            ) from error

    def close(self) -> None:
        """Give the descriptor back, once."""
        if self.descriptor >= 0:
            os.close(self.descriptor)
            self.descriptor = -1

    def __del__(self) -> None:
        self.close()


def _photo_size(store: Path, split: str) -> int:
    metadata = read_json(store / split / "zarr.json")
    if metadata is None:
        raise DamagedError(
            f"Expected shards of split {split!r} in {store}, found none. Run preprocess again."
        )
    return int(metadata["shape"][-1])
