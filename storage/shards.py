"""Shards: many preprocessed photos in one zarr v3 file-set.

`lab.zarr` is a group with an array a split: uint8 (N, 3, S, S), L·255/100, a+128, b+128; zarr
chunk 1 photo, zarr shard 256, zstd level 1 with checksum (facts/pipeline.md: without it, 288 of
300 flipped bits passed unseen). N is a multiple of 256, so a shard's bytes do not depend on how
many follow. Any zarr v3 library reads it; why zarr does not write it: docs/decisions/006. One writer
a zarr shard. Readers: `storage.shard_reader`.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import zarr
from zarr.codecs import ZstdCodec

from storage.ledger import FileRecord, write_recorded
from storage.shard_file import (
    PHOTOS_PER_SHARD,
    ZSTD_LEVEL,
    Stored,
    photo_encoder,
    shard_content,
)


def shard_of(row: int) -> int:
    """The shard that holds a row."""
    return row // PHOTOS_PER_SHARD


def create_array(store: Path, split: str, num_shards: int, size: int) -> None:
    """Create the metadata of one split's array, unless it is there. Writes no photo."""
    group = zarr.open_group(store, mode="a")
    if split in group:
        return
    group.create_array(
        split,
        shape=(num_shards * PHOTOS_PER_SHARD, 3, size, size),
        dtype="uint8",
        chunks=(1, 3, size, size),
        shards=(PHOTOS_PER_SHARD, 3, size, size),
        compressors=ZstdCodec(level=ZSTD_LEVEL, checksum=True),
        config={"write_empty_chunks": True},
    )


def shard_path(store: Path, split: str, shard: int) -> Path:
    """The file of one zarr shard."""
    return store / split / "c" / str(shard) / "0" / "0" / "0"


class ShardWriter:
    """Gathers the photos of one shard, compressed, and writes them at once.

    A shard file left by a killed writer is replaced, never merged.
    """

    def __init__(self, store: Path, split: str, shard: int) -> None:
        self._path, self._root = shard_path(store, split, shard), store.parent
        self._first_row = shard * PHOTOS_PER_SHARD
        self._frames: dict[int, bytes] = {}
        self._encoder = photo_encoder()

    def holds(self, row: int) -> bool:
        """Whether a row of the split belongs to this shard."""
        return 0 <= row - self._first_row < PHOTOS_PER_SHARD

    def add(self, row: int, photo: Stored) -> None:
        """Keep one photo. row: of the split. photo: uint8 (3, S, S). Rows left out are holes."""
        assert self.holds(row), row
        self._frames[row - self._first_row] = self._encoder.compress(
            np.ascontiguousarray(photo).data
        )

    def write(self) -> FileRecord:
        """Make it durable. Returns its record relative to the store's parent. Raises OutputError."""
        return write_recorded(self._root, self._path, shard_content(self._frames))
