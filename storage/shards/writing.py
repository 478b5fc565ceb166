"""Shards: many preprocessed photos in one zarr v3 file-set.

`lab.zarr` is a group with an array a split: uint8 (N, 3, S, S), L·255/100, a+128, b+128; zarr
chunk 1 photo, zarr shard 256, zstd level 1 with checksum (facts/pipeline.md: without it, 288 of
300 flipped bits passed unseen). N is a multiple of 256, so a shard's bytes do not depend on how
many follow. Any zarr v3 library reads it; why zarr does not write it: docs/decisions/006. One writer
a zarr shard. Readers: `storage.shards.reader`.
"""

from __future__ import annotations

import hashlib
import os
import secrets
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import numpy as np

from storage.records.ledger import PARTIAL, FileRecord, atomic_path
from storage.shards.file import (
    PHOTOS_PER_SHARD,
    ZSTD_LEVEL,
    Stored,
    photo_encoder,
    shard_index,
)

_WRITE_BYTES = 4 << 20
"""Frames are written in pieces of about this size."""


def shard_of(row: int) -> int:
    """The shard that holds a row."""
    return row // PHOTOS_PER_SHARD


def create_array(store: Path, split: str, num_shards: int, size: int) -> None:
    """Create the metadata of one split's array, unless it is there. Writes no photo."""
    import zarr  # only here, where the metadata is made: it takes 0.2 s
    from zarr.codecs import ZstdCodec

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
    """Compresses the photos of one shard and writes them while more are made.

    Frames go to a temporary file in the order in which they are added, so add rows in order; a
    thread writes and syncs them, so that the disk works while the processor does. A shard file left
    by a killed writer is replaced, never merged.
    """

    def __init__(self, store: Path, split: str, shard: int) -> None:
        self._path, self._root = shard_path(store, split, shard), store.parent
        self._first_row = shard * PHOTOS_PER_SHARD
        self._encoder = photo_encoder()
        self._places: dict[int, tuple[int, int]] = {}
        self._waiting: list[bytes] = []
        self._length = self._num_waiting = 0
        self._digest = hashlib.sha256()
        self._temporary = self._path.with_name(f".{secrets.token_hex(8)}{PARTIAL}")
        self._disk = ThreadPoolExecutor(1, "shard")
        self._jobs: list[Future[None]] = []

    def holds(self, row: int) -> bool:
        """Whether a row of the split belongs to this shard."""
        return 0 <= row - self._first_row < PHOTOS_PER_SHARD

    def add(self, row: int, photo: Stored) -> None:
        """Keep one photo. row: of the split. photo: uint8 (3, S, S). Rows left out are holes."""
        if not self.holds(row):
            raise ValueError(f"Expected a row of this shard, got {row}.")
        frame = self._encoder.compress(np.ascontiguousarray(photo).data)
        self._places[row - self._first_row] = self._length, len(frame)
        self._queue(frame)
        if self._num_waiting >= _WRITE_BYTES:
            self._send()

    def write(self) -> FileRecord:
        """Make it durable. Returns its record relative to the store's parent. Raises OutputError."""
        self._queue(shard_index(self._places))
        self._send()
        with atomic_path(self._path) as temporary, self._disk:
            for job in self._jobs:
                job.result()
            self._temporary.replace(temporary)
        name = self._path.relative_to(self._root).as_posix()
        return FileRecord(name, self._length, self._digest.hexdigest())

    def _queue(self, content: bytes) -> None:
        self._waiting.append(content)
        self._length += len(content)
        self._num_waiting += len(content)

    def _send(self) -> None:
        content, self._waiting, self._num_waiting = b"".join(self._waiting), [], 0
        self._jobs.append(self._disk.submit(self._put, content))

    def _put(self, content: bytes) -> None:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        with self._temporary.open("ab") as file:
            file.write(content)
            file.flush()
            os.fdatasync(file.fileno())
        self._digest.update(content)
