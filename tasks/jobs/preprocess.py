"""One shard: decode, crop, flip, saturate, Lab, write (paper sections 1.2 and 1.3)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import cv2
import numpy as np
from numpy.typing import NDArray

from colorization.colour.lab import encode_lab, rgb_to_lab
from colorization.training.augmentation import (
    Augmentation,
    centre_crop,
    crop_and_flip,
    draw_augmentation,
    saturate_hsv,
)
from storage.photos.codec import Header
from storage.photos.reduced import decode_rgb
from storage.records.manifest import HEADER_COLUMNS, Quarantined
from storage.records.names import STORE_NAME
from storage.records.tables import FLAG, REAL, TEXT, WHOLE
from storage.shards.writing import ShardWriter
from tasks.jobs.items import ItemResult, PhotoItem, commit_item, quarantine_into, read_unchanged

ROW_COLUMNS = {
    "split": TEXT,
    "row": WHOLE,
    "position": WHOLE,
    "path": TEXT,
    "label": TEXT,
    "sha256": TEXT,
    "variant": WHOLE,
    "resized": WHOLE,
    "top": WHOLE,
    "left": WHOLE,
    "size": WHOLE,
    "horizontal_flip": FLAG,
    "vertical_flip": FLAG,
    "saturation": REAL,
    "seed": WHOLE,
}
"""rows.parquet: enough to make every stored photo again from its source.

resized: short side to which the photo was resized, in whose pixels top, left and size are given.
saturation: the factor, in the space that stage.json names.
"""


@dataclass(frozen=True, kw_only=True)
class ShardItem(PhotoItem):
    """One shard of one split. Its photos' positions times `variants` are its rows."""

    job: ClassVar[str] = "tasks.jobs.preprocess:preprocess_shard"
    split: str
    shard: int


def preprocess_shard(item: ShardItem) -> ItemResult:
    """Make one shard. A photo that fails leaves a hole that rows.parquet does not list."""
    cv2.setNumThreads(1)  # one process a core already
    config = item.config
    num_variants = variants_of(item.split, config)
    writer = ShardWriter(Path(item.folder) / STORE_NAME, item.split, item.shard)
    rows: list[dict[str, Any]] = []
    quarantined: list[Quarantined] = []
    for photo in item.photos:
        with quarantine_into(quarantined, photo["path"], "preprocess"):
            content = read_unchanged(item, photo)
            rgb = decode_rgb(content, short_side=_resized(config), header=_header(photo))
            for variant in range(num_variants):
                row = photo["position"] * num_variants + variant
                if writer.holds(row):
                    augmentation = augmentation_of(rgb, photo, item.split, variant, config)
                    writer.add(row, stored_photo(rgb, augmentation, config))
                    rows.append(_row(item, photo, row, variant, augmentation))
    file = writer.write()
    return commit_item(
        item,
        files=[file],
        num_photos=len(item.photos),
        quarantined=quarantined,
        rows=rows,
    )


def _header(photo: Mapping[str, Any]) -> Header:
    """What ingest saw of these very bytes, so that they need not be inspected again."""
    return Header(**{name: photo[name] for name in HEADER_COLUMNS})


def _resized(config: Mapping[str, Any]) -> int:
    return int(config["short_side"] or config["size"])


def variants_of(split: str, config: Mapping[str, Any]) -> int:
    """Rows a photo: the config's `variants` for training, one for validation and test."""
    return int(config["variants"]) if split == "train" else 1


def augmentation_of(
    rgb: NDArray[np.uint8],
    photo: Mapping[str, Any],
    split: str,
    variant: int,
    config: Mapping[str, Any],
) -> Augmentation:
    """What is done to one decoded photo: drawn for training, a centre crop otherwise."""
    height, width = rgb.shape[:2]
    if split != "train":
        return centre_crop(height, width, config["size"])
    return draw_augmentation(
        seed=config["seed"],
        photo_hash=photo["sha256"],
        variant=variant,
        height=height,
        width=width,
        size=config["size"],
        horizontal_flip=config["horizontal_flip"],
        vertical_flip=config["vertical_flip"],
        saturation=config["saturation"],
    )


def stored_photo(
    rgb: NDArray[np.uint8], augmentation: Augmentation, config: Mapping[str, Any]
) -> NDArray[np.uint8]:
    """One row of a shard. rgb: uint8 (H, W, 3). Returns stored Lab, uint8 (3, size, size)."""
    crop = crop_and_flip(rgb, augmentation)
    if config["saturation_space"] == "hsv":
        return encode_lab(rgb_to_lab(saturate_hsv(crop, augmentation.saturation)))
    return encode_lab(rgb_to_lab(crop), augmentation.saturation)


def _row(
    item: ShardItem,
    photo: Mapping[str, Any],
    row: int,
    variant: int,
    augmentation: Augmentation,
) -> dict[str, Any]:
    """A row of rows.parquet, but for path and label: the manifest knows what they are today."""
    return {
        "split": item.split,
        "row": row,
        "position": photo["position"],
        "sha256": photo["sha256"],
        "variant": variant,
        "resized": _resized(item.config),
        "seed": item.config["seed"],
        **augmentation.to_dict(),
    }
