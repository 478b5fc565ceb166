"""Batches for torch: the same steps whatever the number and kind of loader processes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from storage.shard_reader import ShardReader
from storage.shards import ShardWriter, create_array
from tasks.jobs.loading import MemoryBatches, ShardBatches, stream_batches


@pytest.fixture(scope="module")
def reader(tmp_path_factory: pytest.TempPathFactory) -> ShardReader:
    store = tmp_path_factory.mktemp("loading") / "lab.zarr"
    photos = np.random.default_rng(0).integers(0, 256, (700, 3, 8, 8), np.uint8)
    create_array(store, "train", 3, 8)
    for shard in range(3):
        writer = ShardWriter(store, "train", shard)
        for row in range(256 * shard, min(256 * (shard + 1), 700)):
            writer.add(row, photos[row])
        writer.write()
    rows = np.delete(np.arange(700), [5, 300])
    return ShardReader(store, "train", rows)


@pytest.mark.parametrize("start_method", ["fork", "spawn", "forkserver"])
def test_two_loader_processes_give_the_steps_of_one_in_order(
    reader: ShardReader, start_method: str
) -> None:
    reader.photo(0)  # an open file that a fork would share
    dataset, loader = stream_batches(reader, 48, 7, num_workers=2, start_method=start_method)
    alone = ShardBatches(reader, 48, 7)
    for epoch, start in ((0, 0), (1, 5)):
        dataset.begin(epoch, start)
        alone.begin(epoch, start)
        expected = list(alone)
        assert len(expected) == len(dataset) == 15 - start
        for batch, other in zip(loader, expected, strict=True):
            assert torch.equal(batch, other)


def test_an_epoch_from_a_step_on_is_the_rest_of_the_whole_one(reader: ShardReader) -> None:
    batches = ShardBatches(reader, 64, 7)
    batches.begin(2)
    whole = list(batches)
    batches.begin(2, start=8)
    assert all(torch.equal(a, b) for a, b in zip(batches, whole[8:], strict=True))
    batches.begin(3)
    assert not torch.equal(next(iter(batches)), whole[0])


def test_a_split_in_memory_holds_each_photo_once_an_epoch(reader: ShardReader) -> None:
    memory = MemoryBatches(reader, 50, 7)
    whole = torch.cat(list(memory.epoch(1)))
    assert whole.shape == (698, 3, 8, 8)
    stored = {photo.tobytes() for photo in reader.load()}
    assert {photo.numpy().tobytes() for photo in whole} == stored
    assert torch.equal(torch.cat(list(memory.epoch(1, start=9))), whole[450:])


def test_a_batch_of_none_is_refused(reader: ShardReader) -> None:
    with pytest.raises(ValueError, match="1 or more"):
        ShardBatches(reader, 0, 7)


@pytest.mark.gpu
def test_a_split_on_the_device_stays_there(reader: ShardReader) -> None:
    memory = MemoryBatches(reader, 50, 7, device="cuda")
    assert all(batch.is_cuda for batch in memory.epoch(0))
    assert Path("/dev/nvidia0").exists()
