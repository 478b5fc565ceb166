"""Shards: many preprocessed photos in one zarr v3 file-set, and how they are written.

`lab.zarr` is a group with an array a split: uint8 (N, 3, S, S), L·255/100, a+128, b+128; zarr
chunk 1 photo, zarr shard 256, zstd level 1 with checksum (facts/pipeline.md: without it, 288 of
300 flipped bits passed unseen). N is a multiple of 256, so a shard's bytes do not depend on how
many follow. One writer a zarr shard. Readers: `storage.shard_reader`.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import zarr
from numpy.typing import NDArray
from zarr.codecs import ZstdCodec

from storage.ledger import FileRecord, record_file, sync_file

PHOTOS_PER_SHARD = 256
Stored = NDArray[np.uint8]


def shard_of(row: int) -> int:
    """The shard that holds a row."""
    return row // PHOTOS_PER_SHARD


def first_row(shard: int) -> int:
    """The first row of a shard."""
    return shard * PHOTOS_PER_SHARD


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
        compressors=ZstdCodec(level=1, checksum=True),
        config={"write_empty_chunks": True},
    )


def shard_path(store: Path, split: str, shard: int) -> Path:
    """The file of one zarr shard."""
    return store / split / "c" / str(shard) / "0" / "0" / "0"


def write_shard(store: Path, split: str, shard: int, photos: Stored) -> FileRecord:
    """Write one whole shard and make it durable.

    photos: uint8 (n, 3, S, S), n ≤ 256, from the shard's first row on. Returns its record relative
    to the store's parent folder. A shard file left by a killed writer is replaced, never merged.
    """
    path = shard_path(store, split, shard)
    path.unlink(missing_ok=True)
    array = zarr.open_array(store / split, mode="r+")
    start = first_row(shard)
    array[start : start + len(photos)] = photos
    sync_file(path)
    return record_file(store.parent, path)
