"""Readers on a real disk: order, resuming, processes, and damage that must not pass as black."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pytest
import zarr

from storage.errors import DamagedError
from storage.shards.reader import JoinedReader, ShardReader
from storage.shards.writing import ShardWriter, create_array, shard_of, shard_path

SIZE = 8


def stored_photos(count: int) -> np.ndarray:
    photos = np.random.default_rng(0).integers(0, 256, (count, 3, SIZE, SIZE), np.uint8)
    number = np.arange(count, dtype=np.uint32)
    photos[:, 0, 0, 0], photos[:, 0, 0, 1] = number % 256, number // 256
    return photos


def epoch(reader: ShardReader, seed: int, buffer_shards: int = 4) -> list[int]:
    """The numbers of the photos in the order of an epoch."""
    return numbers([reader.read(reader.epoch_order((seed,), buffer_shards))])


def numbers(batches) -> list[int]:
    return [int(p[0, 0, 0]) + 256 * int(p[0, 0, 1]) for batch in batches for p in batch]


@pytest.fixture(scope="module")
def filled(tmp_path_factory) -> tuple[Path, np.ndarray]:
    return fill(tmp_path_factory.mktemp("shards"), 600)


def fill(folder: Path, count: int) -> tuple[Path, np.ndarray]:
    store, photos = folder / "lab.zarr", stored_photos(count)
    num_shards = shard_of(count - 1) + 1
    create_array(store, "train", num_shards, SIZE)
    for shard in range(num_shards):
        writer = ShardWriter(store, "train", shard)
        for row in range(256 * shard, min(256 * (shard + 1), count)):
            writer.add(row, photos[row])
        writer.write()
    return store, photos


def test_photos_come_back_byte_for_byte_and_in_order(filled):
    store, photos = filled
    reader = ShardReader(store, "train", np.arange(600))
    np.testing.assert_array_equal(np.concatenate(list(reader.batches(100))), photos)
    np.testing.assert_array_equal(reader.photo(599), photos[599])


def test_rows_that_are_holes_are_skipped(filled):
    store, _ = filled
    rows = np.array([599, 3, 255, 256])
    reader = ShardReader(store, "train", rows)
    assert len(reader) == 4
    assert numbers(reader.batches(2)) == [3, 255, 256, 599]
    assert sorted(epoch(reader, 0)) == sorted(rows)


@pytest.mark.parametrize("buffer_shards", [1, 2, 4])
def test_an_epoch_visits_each_photo_once_in_an_order_set_by_the_seed(filled, buffer_shards):
    reader = ShardReader(filled[0], "train", np.arange(600))
    first = epoch(reader, 1, buffer_shards)
    assert sorted(first) == list(range(600)) != first
    assert epoch(reader, 1, buffer_shards) == first != epoch(reader, 2, buffer_shards)


def test_a_shard_of_holes_only_does_not_end_the_epoch(filled):
    reader = ShardReader(filled[0], "train", np.arange(512, 600))
    for seed in range(4):
        assert sorted(epoch(reader, seed, 1)) == list(range(512, 600))


def test_no_rows_at_all_give_no_batches(filled):
    reader = ShardReader(filled[0], "val", np.array([], np.int64))
    assert list(reader.batches(4)) == list(reader.epoch_order((0,))) == []


@pytest.mark.parametrize("position", [0.1, 0.5, 0.9, 0.9999])
def test_a_flipped_bit_in_a_shard_is_found(tmp_path, position):
    store, _ = fill(tmp_path, 30)
    path = shard_path(store, "train", 0)
    content = bytearray(path.read_bytes())
    content[int(len(content) * position)] ^= 8
    path.write_bytes(content)
    with pytest.raises(DamagedError, match="Run preprocess again"):
        list(ShardReader(store, "train", np.arange(30)).batches(8))


@pytest.mark.parametrize("kept", [0, 10, 5000])
def test_a_shard_cut_short_is_found(tmp_path, kept):
    store, _ = fill(tmp_path, 30)
    path = shard_path(store, "train", 0)
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(DamagedError):
        list(ShardReader(store, "train", np.arange(30)).batches(8))


def test_a_missing_shard_file_is_not_read_as_black_photos(tmp_path):
    store, _ = fill(tmp_path, 30)
    shard_path(store, "train", 0).unlink()
    with pytest.raises(DamagedError):
        list(ShardReader(store, "train", np.arange(30)).batches(8))


def test_a_missing_store_or_split_is_damage(tmp_path):
    with pytest.raises(DamagedError, match="found none"):
        ShardReader(tmp_path / "lab.zarr", "train", np.arange(3))
    create_array(tmp_path / "lab.zarr", "val", 1, SIZE)
    with pytest.raises(DamagedError, match="found none"):
        ShardReader(tmp_path / "lab.zarr", "train", np.arange(3))


def test_rows_are_shuffled_across_the_shards_of_the_buffer(filled):
    reader = ShardReader(filled[0], "train", np.arange(600))
    order = reader.epoch_order((0,), buffer_shards=3)
    assert len(set(order[:64] // 256)) == 3
    alone = reader.epoch_order((0,), buffer_shards=1)
    assert len(set(alone[:64] // 256)) == 1


def test_a_reader_may_be_pickled_while_it_holds_open_files(filled):
    reader = ShardReader(filled[0], "train", np.arange(600))
    first = reader.photo(300)
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(reader)).photo(300), first)


def test_more_shards_than_may_be_open_at_once(tmp_path, monkeypatch):
    monkeypatch.setattr("storage.shards.reader._MOST_OPEN", 2)
    store, photos = fill(tmp_path, 1100)
    reader = ShardReader(store, "train", np.arange(1100))
    for row in (0, 300, 600, 900, 1, 1099):
        np.testing.assert_array_equal(reader.photo(row), photos[row])
    np.testing.assert_array_equal(reader.read(reader.rows), photos)


def test_zarr_itself_reads_the_same_photos(filled):
    store, photos = filled
    np.testing.assert_array_equal(zarr.open_group(store, mode="r")["train"][:600], photos)


def test_joined_readers_are_one_in_rows_batches_and_order(tmp_path):
    (tmp_path / "a").mkdir(), (tmp_path / "b").mkdir()
    (first, photos), (second, _) = fill(tmp_path / "a", 300), fill(tmp_path / "b", 40)
    rows = np.array([299, 0, 7, 256])
    joined = JoinedReader(
        [
            ShardReader(first, "train", rows),
            ShardReader(second, "train", np.array([39, 5])),
            ShardReader(second, "train", np.array([], int)),
        ]
    )
    assert len(joined) == 6 and joined.size == SIZE
    assert joined.rows.tolist() == [0, 7, 256, 299, 305, 339]
    assert numbers(joined.batches(4)) == [0, 7, 256, 299, 5, 39]
    np.testing.assert_array_equal(joined.read([339, 7, 305]), photos[[39, 7, 5]])
    pickle.loads(pickle.dumps(joined)).read([339])

    whole = JoinedReader([ShardReader(first, "train", np.arange(300))] * 2)
    order = whole.epoch_order((1, 0))
    assert sorted(order) == list(range(600))
    np.testing.assert_array_equal(order, whole.epoch_order((1, 0)))
    assert (order != whole.epoch_order((1, 1))).any()
    assert 100 < (order[:300] < 300).sum() < 200  # mixed, not one after the other


def test_photos_of_different_sizes_are_not_joined(tmp_path):
    store, _ = fill(tmp_path, 3)
    create_array(store, "val", 1, 2 * SIZE)
    readers = [ShardReader(store, split, np.array([0])) for split in ("train", "val")]
    with pytest.raises(DamagedError, match=r"sides of \[8, 16\]"):
        JoinedReader(readers)
