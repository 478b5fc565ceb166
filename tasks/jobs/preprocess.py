"""One shard: decode, crop, flip, saturate, Lab, write (paper sections 1.2 and 1.3)."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from colorization.augmentation import (
    Augmentation,
    centre_crop,
    crop_and_flip,
    draw_augmentation,
    saturate,
)
from colorization.lab import encode_lab, rgb_to_lab
from storage.errors import PhotoError
from storage.fingerprint import hash_bytes
from storage.manifest import Quarantined
from storage.photos import decode_rgb
from storage.shards import shard_range, write_shard
from tasks.jobs.items import ItemResult, PhotoItem, commit_item, quarantine_into, read_photo

STORE_NAME = "lab.zarr"
ROW_COLUMNS = (
    "split",
    "row",
    "path",
    "sha256",
    "top",
    "left",
    "size",
    "horizontal_flip",
    "vertical_flip",
    "saturation",
    "seed",
)
"""rows.parquet: enough to make every stored photo again from its source."""


@dataclass(frozen=True, kw_only=True)
class ShardItem(PhotoItem):
    """One shard of one split."""

    split: str
    shard: int
    num_photos: int
    """Of the whole split."""


def preprocess_shard(item: ShardItem) -> ItemResult:
    """Make one shard. A photo that fails leaves a hole that rows.parquet does not list."""
    cv2.setNumThreads(1)  # one process a core already
    size = item.config["size"]
    stored = np.zeros((len(item.photos), 3, size, size), np.uint8)
    rows: list[dict[str, Any]] = []
    quarantined: list[Quarantined] = []
    first = shard_range(item.shard, item.num_photos).start
    for i, photo in enumerate(item.photos):
        with quarantine_into(quarantined, photo["path"], "preprocess"):
            stored[i], augmentation = _preprocess_photo(item, photo)
            rows.append(
                {
                    "split": item.split,
                    "row": first + i,
                    "path": photo["path"],
                    "sha256": photo["sha256"],
                    "seed": item.config["seed"],
                    **augmentation.to_dict(),
                }
            )
    folder = Path(item.folder)
    file = write_shard(folder / STORE_NAME, item.split, item.shard, stored)
    return commit_item(
        folder,
        item.name,
        files=[file],
        num_photos=len(item.photos),
        quarantined=quarantined,
        rows=rows,
    )


def _preprocess_photo(
    item: ShardItem, photo: dict[str, Any]
) -> tuple[NDArray[np.uint8], Augmentation]:
    content = read_photo(item, photo["path"])
    if hash_bytes(content) != photo["sha256"]:
        raise PhotoError("UNREADABLE", "the file changed since it was ingested; run again")
    config = item.config
    rgb = decode_rgb(content, short_side=config["size"], max_megapixels=float("inf"))
    height, width = rgb.shape[:2]
    if item.split == "train":
        augmentation = draw_augmentation(
            seed=config["seed"],
            photo_hash=photo["sha256"],
            variant=0,
            height=height,
            width=width,
            size=config["size"],
            horizontal_flip=config["horizontal_flip"],
            vertical_flip=config["vertical_flip"],
            saturation=config["saturation"],
        )
    else:
        augmentation = centre_crop(height, width, config["size"])
    lab = rgb_to_lab(crop_and_flip(rgb, augmentation))
    return encode_lab(saturate(lab, augmentation.saturation)), augmentation
