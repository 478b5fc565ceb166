"""Batches for torch: the same steps whatever the number and kind of loader processes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader
from training_items import write_split

from colorization.training.feeding import PhotoBatch
from storage.shards.reader import ShardReader
from storage.shards.writing import ShardWriter, create_array
from tasks.jobs.training.loading import (
    MemoryBatches,
    ShardBatches,
    Split,
    epoch_batches,
    open_splits,
)


def same(one: PhotoBatch, other: PhotoBatch) -> bool:
    return torch.equal(one.stored, other.stored) and torch.equal(one.labels, other.labels)


@pytest.fixture(scope="module")
def split(tmp_path_factory: pytest.TempPathFactory) -> Split:
    store = tmp_path_factory.mktemp("loading") / "lab.zarr"
    photos = np.random.default_rng(0).integers(0, 256, (700, 3, 8, 8), np.uint8)
    create_array(store, "train", 3, 8)
    for shard in range(3):
        writer = ShardWriter(store, "train", shard)
        for row in range(256 * shard, min(256 * (shard + 1), 700)):
            writer.add(row, photos[row])
        writer.write()
    rows = np.delete(np.arange(700), [5, 300])
    return Split(ShardReader(store, "train", rows), rows % 3, ("a", "b", "c"))


@pytest.mark.filterwarnings("ignore:This DataLoader will create 2 worker")  # on one core
@pytest.mark.parametrize("start_method", ["fork", "spawn", "forkserver"])
def test_two_loader_processes_give_the_steps_of_one_in_order(
    split: Split, start_method: str
) -> None:
    split.reader.photo(0)  # an open file that a fork would share
    dataset = ShardBatches(split, 48, 7)
    loader = DataLoader(
        dataset, batch_size=None, num_workers=2, multiprocessing_context=start_method
    )
    alone = ShardBatches(split, 48, 7)
    for epoch, start in ((0, 0), (1, 5)):
        dataset.begin(epoch, start)
        alone.begin(epoch, start)
        expected = list(alone)
        assert len(expected) == len(dataset) == 15 - start
        for batch, other in zip(loader, expected, strict=True):
            assert same(batch, other)


def test_an_epoch_from_a_step_on_is_the_rest_of_the_whole_one(split: Split) -> None:
    batches = ShardBatches(split, 64, 7)
    batches.begin(2)
    whole = list(batches)
    batches.begin(2, start=8)
    assert all(same(a, b) for a, b in zip(batches, whole[8:], strict=True))
    batches.begin(3)
    assert not same(next(iter(batches)), whole[0])


def test_a_split_in_memory_gives_the_steps_of_the_stream(split: Split) -> None:
    memory = MemoryBatches(split, 50, 7)
    stream = ShardBatches(split, 50, 7)
    stream.begin(1)
    whole = list(memory.epoch(1))
    assert all(same(a, b) for a, b in zip(whole, stream, strict=True))
    assert all(same(a, b) for a, b in zip(memory.epoch(1, start=9), whole[9:], strict=True))
    stored = {photo.tobytes() for photo in split.reader.read(split.reader.rows)}
    assert {photo.numpy().tobytes() for batch in whole for photo in batch.stored} == stored


def test_labels_go_with_their_photos(split: Split) -> None:
    photos = {
        photo.tobytes(): row
        for photo, row in zip(split.reader.read(split.reader.rows), split.reader.rows, strict=True)
    }
    for batch in ShardBatches(split, 64, 7):
        rows = [photos[photo.numpy().tobytes()] for photo in batch.stored]
        assert batch.labels.tolist() == [row % 3 for row in rows]


def test_a_cpu_is_fed_as_the_stream_is(split: Split) -> None:
    batches = epoch_batches(split, 64, 7, "cpu")
    stream = ShardBatches(split, 64, 7)
    stream.begin(2, 4)
    assert all(same(a, b) for a, b in zip(batches(2, 4), stream, strict=True))


def test_a_batch_of_none_is_refused(split: Split) -> None:
    with pytest.raises(ValueError, match="1 or more"):
        ShardBatches(split, 0, 7)


@pytest.mark.gpu
def test_a_split_on_the_device_stays_there(split: Split) -> None:
    memory = MemoryBatches(split, 50, 7, device="cuda")
    assert all(batch.stored.is_cuda for batch in memory.epoch(0))
    assert Path("/dev/nvidia0").exists()


@pytest.fixture(scope="module")
def joint(tmp_path_factory: pytest.TempPathFactory) -> Split:
    """Three categories of 9, 30 and no photos, in another order than their heads."""
    folder = tmp_path_factory.mktemp("joint")
    counts = {"places": 30, "people": 9, "birds": 0}
    folders = [write_split(folder / name, n, 2, tint=n) for name, n in counts.items()]
    return open_splits(folders, "train", categories=list(counts))


def test_every_step_has_a_fixed_share_of_each_category_and_none_is_seen_less_often(
    joint: Split,
) -> None:
    assert [photos.name for photos in joint.categories] == ["people", "places"]
    stream = ShardBatches(joint, 7, 5)
    heads, rows = [], []
    for epoch in range(9):
        stream.begin(epoch)
        assert len(stream) == 6 == len(batches := list(stream))
        for batch in batches:
            assert batch.heads is not None
            heads.append(batch.heads.tolist())
            rows += [photo.numpy().tobytes() for photo in batch.stored]
    assert all(head == [0, 0, 0, 3, 3, 3, 3] for head in heads)
    visits = np.unique(rows, return_counts=True)[1]
    assert sorted(set(visits)) == [7, 8, 18], "54 steps of 4 of 30, and of 3 of 9"


def test_a_joint_epoch_from_a_step_on_is_the_rest_of_the_whole_one_from_memory_too(
    joint: Split,
) -> None:
    memory, stream = MemoryBatches(joint, 7, 5), ShardBatches(joint, 7, 5)
    stream.begin(3)
    whole = list(stream)
    stream.begin(3, 4)
    for found in (memory.epoch(3), [*memory.epoch(3, 0)][:4] + list(stream)):
        for one, other in zip(found, whole, strict=True):
            assert same(one, other) and one.heads is not None and other.heads is not None
            assert torch.equal(one.heads, other.heads)
    stored, _ = joint.batch(joint.spread(6))
    assert len(stored) == 6 and joint.heads_of(joint.spread(6)).tolist() == [0, 0, 0, 3, 3, 3]


def test_a_batch_without_one_of_each_category_is_refused(joint: Split) -> None:
    with pytest.raises(ValueError, match="batch of 2 or more, got 1"):
        list(ShardBatches(joint, 1, 5))
