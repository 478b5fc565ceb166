"""Shards: many preprocessed photos in one zarr v3 file-set, and the readers that stream them.

`lab.zarr` is a group with an array a split: uint8 (N, 3, S, S), L·255/100, a+128, b+128; zarr
chunk 1 photo, zarr shard 256, zstd level 1 with checksum (facts/pipeline.md: without it, 288 of
300 flipped bits passed unseen). One writer a zarr shard.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import zarr
from numpy.typing import NDArray
from zarr.codecs import ZstdCodec

from storage.errors import DamagedError
from storage.ledger import FileRecord, record_file, sync_file

PHOTOS_PER_SHARD = 256
Stored = NDArray[np.uint8]


def num_shards(num_photos: int) -> int:
    """How many shards hold `num_photos`."""
    return math.ceil(num_photos / PHOTOS_PER_SHARD)


def shard_range(shard: int, num_photos: int) -> range:
    """The rows of one shard of an array of `num_photos`."""
    first = shard * PHOTOS_PER_SHARD
    return range(first, min(first + PHOTOS_PER_SHARD, num_photos))


def create_array(store: Path, split: str, num_photos: int, size: int) -> None:
    """Create the metadata of one split's array, unless it is there. Writes no photo."""
    group = zarr.open_group(store, mode="a")
    if split in group:
        return
    group.create_array(
        split,
        shape=(num_photos, 3, size, size),
        dtype="uint8",
        chunks=(1, 3, size, size),
        shards=(PHOTOS_PER_SHARD, 3, size, size),
        compressors=ZstdCodec(level=1, checksum=True),
        config={"write_empty_chunks": True},
    )


def shard_path(store: Path, split: str, shard: int) -> Path:
    """The file of one zarr shard."""
    return store / split / "c" / str(shard) / "0" / "0" / "0"


def write_shard(store: Path, split: str, shard: int, photos: Stored) -> FileRecord:
    """Write one whole shard and make it durable.

    photos: uint8 (n, 3, S, S), n as `shard_range` says. Returns its record relative to the
    store's parent folder. A shard file left by a killed writer is replaced, never merged.
    """
    path = shard_path(store, split, shard)
    path.unlink(missing_ok=True)
    array = _open(store, split, mode="r+")
    rows = shard_range(shard, array.shape[0])
    array[rows.start : rows.stop] = photos
    sync_file(path)
    return record_file(store.parent, path)


class ShardReader:
    """Reads the photos of one split, as listed in rows.parquet.

    rows: positions in the array that hold a photo; a photo that failed to decode leaves a hole,
    which zarr would return as black, so readers go by this list.
    """

    def __init__(self, store: Path, split: str, rows: NDArray[np.int64]) -> None:
        self.rows = np.sort(rows)
        self._store, self._split = store, split
        self._array = _open(store, split, mode="r") if len(rows) else None

    def __len__(self) -> int:
        return len(self.rows)

    def photo(self, row: int) -> Stored:
        """One photo by its position in the array. Returns uint8 (3, S, S)."""
        assert self._array is not None
        photo: Stored = _read(self._array, slice(row, row + 1))[0]
        return photo

    def batches(self, batch: int) -> Iterator[Stored]:
        """All photos in order of position. Yields uint8 (≤ batch, 3, S, S)."""
        for photos in self._shards(np.arange(self._num_shards())):
            for start in range(0, len(photos), batch):
                yield photos[start : start + batch]

    def shuffled_batches(
        self, batch: int, rng: np.random.Generator, buffer_shards: int = 4
    ) -> Iterator[Stored]:
        """One epoch in random order: whole shards in random order through a shuffle buffer.

        rng: seed it by (seed, epoch) and the order repeats. Yields uint8 (batch, 3, S, S); what
        is left over at the end comes as a smaller batch. Holds `buffer_shards` shards.
        """
        order = rng.permutation(self._num_shards())
        pending: list[Stored] = []
        for start in range(0, len(order), buffer_shards):
            read = list(self._shards(order[start : start + buffer_shards]))
            if not read:
                continue
            window = np.concatenate(pending + read)
            rng.shuffle(window)
            whole = len(window) // batch * batch
            for first in range(0, whole, batch):
                yield window[first : first + batch]
            pending = [window[whole:]]
        if pending and len(pending[0]):
            yield pending[0]

    def _num_shards(self) -> int:
        return 0 if self._array is None else num_shards(self._array.shape[0])

    def _shards(self, order: NDArray[Any]) -> Iterator[Stored]:
        if self._array is None:
            return
        for shard in order:
            rows = shard_range(int(shard), self._array.shape[0])
            wanted = self.rows[(self.rows >= rows.start) & (self.rows < rows.stop)]
            if not len(wanted):
                continue
            if not shard_path(self._store, self._split, int(shard)).exists():
                raise DamagedError(  # zarr would return black photos without an error
                    f"Expected shard {shard} of {self._store}/{self._split}, found no file. "
                    "Run preprocess again; it rebuilds this shard only."
                )
            # whole shards, never fancy indexing: 20× faster (zarr-python#3829)
            yield _read(self._array, slice(rows.start, rows.stop))[wanted - rows.start]


def _open(store: Path, split: str, mode: Any) -> Any:
    try:
        return zarr.open_group(store, mode=mode)[split]
    except (FileNotFoundError, KeyError) as error:
        raise DamagedError(
            f"Expected shards of split {split!r} in {store}, found none. Run preprocess again."
        ) from error


def _read(array: Any, rows: slice) -> Stored:
    try:
        photos: Stored = array[rows]
    except (RuntimeError, ValueError) as error:  # zstd's checksum, or a broken shard index
        raise DamagedError(
            f"Expected photos {rows.start}..{rows.stop - 1} of {array.store_path}, got: {error}. "
            "Run preprocess again; it rebuilds this shard only."
        ) from error
    return photos
