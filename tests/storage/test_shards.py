"""Writing shards: the same bytes whenever and however often they are written."""

from __future__ import annotations

import numpy as np
import pytest

from storage.shards import create_array, shard_path, write_shard

PHOTOS = np.random.default_rng(0).integers(0, 256, (300, 3, 8, 8), np.uint8)


@pytest.mark.parametrize("count", [1, 30, 256])
def test_a_shard_has_the_same_bytes_however_many_follow_it(tmp_path, count):
    contents = set()
    for num_shards in (1, 2, 7):
        store = tmp_path / f"{num_shards}.zarr"
        create_array(store, "train", num_shards, 8)
        write_shard(store, "train", 0, PHOTOS[:count])
        contents.add(shard_path(store, "train", 0).read_bytes())
    assert len(contents) == 1


def test_writing_a_shard_again_replaces_it_with_the_same_bytes(tmp_path):
    store = tmp_path / "lab.zarr"
    create_array(store, "train", 1, 8)
    before = write_shard(store, "train", 0, PHOTOS[:30])
    write_shard(store, "train", 0, PHOTOS[30:60])
    assert write_shard(store, "train", 0, PHOTOS[:30]) == before
    assert before.path == "lab.zarr/train/c/0/0/0/0"
