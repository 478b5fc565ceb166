"""One zarr v3 shard file: a zstd frame a photo, then an index of offsets and lengths, then its CRC-32C.

This is the layout of zarr's `sharding_indexed` codec with its default index (zarr v3 specification,
codecs/sharding-indexed/v1.0), which zarr itself reads; tests hold both to it. zarr would write it
at twice the processor time, and reads rows out of order ten times slower (zarr-python#3829).
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import google_crc32c
import numpy as np
import zstandard
from numpy.typing import NDArray

from storage.errors import DamagedError

PHOTOS_PER_SHARD = 256
ZSTD_LEVEL = 1
Stored = NDArray[np.uint8]
_INDEX_BYTES = PHOTOS_PER_SHARD * 16
_CHECKSUM_BYTES = 4
_ABSENT = 2**64 - 1
"""Offset and length of a row that holds no photo."""
_REMEDY = "Run preprocess again; it rebuilds this shard only."


def photo_encoder() -> zstandard.ZstdCompressor:
    """What makes a photo, uint8 (3, S, S), one zstd frame with a checksum. Use it for many."""
    return zstandard.ZstdCompressor(level=ZSTD_LEVEL, write_checksum=True)


def shard_index(places: Mapping[int, tuple[int, int]]) -> bytes:
    """What ends a shard file, after its frames. places: 0..255 → offset and length; else holes."""
    index = np.full((PHOTOS_PER_SHARD, 2), _ABSENT, "<u8")
    for place, extent in places.items():
        index[place] = extent
    tail = index.tobytes()
    checksum: int = google_crc32c.value(tail)
    return tail + checksum.to_bytes(_CHECKSUM_BYTES, "little")


@dataclass
class ShardFile:
    """An open shard file and its index. `pread` has no position, so a fork may share it."""

    path: Path
    descriptor: int
    index: NDArray[np.uint64]
    """(256, 2): offset and length of each place's zstd frame."""
    decoder: zstandard.ZstdDecompressor = field(default_factory=zstandard.ZstdDecompressor)

    @classmethod
    def open(cls, path: Path) -> ShardFile:
        """Open and check the index. Raises DamagedError."""
        try:
            descriptor = os.open(path, os.O_RDONLY)
        except (FileNotFoundError, NotADirectoryError) as error:
            raise DamagedError(f"Expected the shard {path}, found no file. {_REMEDY}") from error
        length = _INDEX_BYTES + _CHECKSUM_BYTES
        tail = os.pread(descriptor, length, max(0, os.fstat(descriptor).st_size - length))
        index, checksum = tail[:_INDEX_BYTES], tail[_INDEX_BYTES:]
        if len(tail) < length or google_crc32c.value(index) != int.from_bytes(checksum, "little"):
            os.close(descriptor)
            raise DamagedError(f"Expected an index at the end of {path}, got bytes. {_REMEDY}")
        os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_WILLNEED)
        return cls(path, descriptor, np.frombuffer(index, "<u8").reshape(-1, 2))

    def read_into(self, place: int, out: Stored) -> None:
        """Decode one photo. place: 0..255. out: uint8 (3, S, S), contiguous. Raises DamagedError."""
        offset, length = (int(number) for number in self.index[place])
        if offset == _ABSENT:
            raise DamagedError(f"Expected a photo at place {place} of {self.path}, found a hole.")
        frame = os.pread(self.descriptor, length, offset)
        try:
            size = zstandard.frame_content_size(frame)
            if size != out.nbytes:
                raise ValueError(f"{size} bytes instead of {out.nbytes}")
            content = self.decoder.decompress(frame)
            out[...] = np.frombuffer(content, np.uint8).reshape(out.shape)
        except (zstandard.ZstdError, ValueError) as error:  # the checksum, or a broken frame
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
