"""Shards as zarr itself reads and writes them; the same bytes whenever they are written."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import zarr

from storage.errors import DamagedError
from storage.records.ledger import FileRecord
from storage.shards.reader import ShardReader
from storage.shards.writing import ShardWriter, create_array, shard_path

PHOTOS = np.random.default_rng(0).integers(0, 256, (300, 3, 8, 8), np.uint8)


def write(store: Path, photos: np.ndarray, rows: range | list[int] | None = None) -> FileRecord:
    writer = ShardWriter(store, "train", 0)
    for row in range(len(photos)) if rows is None else rows:
        writer.add(row, photos[row])
    return writer.write()


@pytest.mark.parametrize("count", [1, 30, 256])
def test_a_shard_has_the_same_bytes_however_many_follow_it(tmp_path, count):
    contents = set()
    for num_shards in (1, 2, 7):
        store = tmp_path / f"{num_shards}.zarr"
        create_array(store, "train", num_shards, 8)
        write(store, PHOTOS[:count])
        contents.add(shard_path(store, "train", 0).read_bytes())
    assert len(contents) == 1


def test_zarr_reads_what_is_written_and_holes_as_zeros(tmp_path):
    store = tmp_path / "lab.zarr"
    create_array(store, "train", 2, 8)
    write(store, PHOTOS, rows=[0, 7, 255])
    array = zarr.open_group(store, mode="r")["train"]
    assert array.shape == (512, 3, 8, 8)
    np.testing.assert_array_equal(array[:256][[0, 7, 255]], PHOTOS[[0, 7, 255]])
    assert not array[1:7].any() and not array[256:].any()


def test_what_zarr_writes_is_read(tmp_path):
    store = tmp_path / "lab.zarr"
    create_array(store, "train", 2, 8)
    zarr.open_array(store / "train", mode="r+")[:256] = PHOTOS[:256]
    reader = ShardReader(store, "train", np.arange(256))
    np.testing.assert_array_equal(reader.read(reader.rows), PHOTOS[:256])


def test_a_hole_is_not_read_as_a_black_photo(tmp_path):
    store = tmp_path / "lab.zarr"
    create_array(store, "train", 1, 8)
    write(store, PHOTOS, rows=[0, 7])
    reader = ShardReader(store, "train", np.array([0, 1, 7]))
    with pytest.raises(DamagedError, match="hole"):
        reader.read(reader.rows)


def test_writing_a_shard_again_replaces_it_with_the_same_bytes(tmp_path):
    store = tmp_path / "lab.zarr"
    create_array(store, "train", 1, 8)
    before = write(store, PHOTOS[:30])
    write(store, PHOTOS[30:60])
    assert write(store, PHOTOS[:30]) == before
    assert before.path == "lab.zarr/train/c/0/0/0/0"


def test_a_row_of_another_shard_is_refused(tmp_path):
    """Not by an assert, which `python -O` drops: it would write over other rows' places."""
    create_array(tmp_path, "train", 2, 8)
    writer = ShardWriter(tmp_path, "train", 1)
    for row in (255, 512):
        with pytest.raises(ValueError, match=str(row)):
            writer.add(row, PHOTOS[0])
