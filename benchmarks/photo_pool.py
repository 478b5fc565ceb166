"""Photos of data/photos and of the further pool: where they come from, which ones are held out.

away: whole sources of a category that no network learns from. home: the product's validation split of
data/photos. train: the rest.
"""

from __future__ import annotations

import csv
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from colorization.categories import CATEGORY_NAMES
from colorization.colour.lab import encode_lab, rgb_to_lab
from storage.records.manifest import split_of

VAL_SHARE = 0.1
AWAY = {
    "people": ("thunderInfy/imagenette",),
    "birds": ("RlNZLER/Image-Text-Matching",),
    "animals": ("thunderInfy/imagewoof",),
    "places": ("RlNZLER/Image-Text-Matching",),
}
"""Category → repositories of the further pool whose photos of it are never trained on."""
LESS = {"afroozsheikh/Intel-Image-Classifier": 0.7}
"""Factors on a source's share: 150 pixels, upscaled."""
HOME_FACTOR = 1.25
"""On the share of the sources of data/photos, so that they stay in."""


@dataclass(frozen=True, slots=True)
class PoolPhoto:
    """One photo file."""

    path: Path
    category: str
    source: str
    at_home: bool
    """Whether it is of data/photos."""
    split: str
    """train, home or away."""


def read_pool(photos: Path, more: Path) -> list[PoolPhoto]:
    """All photos of both folders, in the order of their origins.csv."""
    found = []
    for row in _rows(photos):
        split = split_of(hashlib.sha256((photos / row[0]).read_bytes()).hexdigest(), VAL_SHARE)
        found.append(_photo(photos, row, True, "home" if split == "val" else "train"))
    for row in _rows(more):
        held = row[1] in AWAY[row[0].partition("/")[0]]
        found.append(_photo(more, row, False, "away" if held else "train"))
    return found


def _rows(folder: Path) -> list[list[str]]:
    with (folder / "origins.csv").open(encoding="utf-8", newline="") as lines:
        return list(csv.reader(lines))[1:]


def _photo(folder: Path, row: Sequence[str], at_home: bool, split: str) -> PoolPhoto:
    return PoolPhoto(folder / row[0], row[0].partition("/")[0], row[1], at_home, split)


def source_weights(photos: Sequence[PoolPhoto]) -> NDArray[np.float64]:
    """Of each photo of one category, sum 1: a source weighs as the square root of its photos."""
    names = [(p.source, p.at_home) for p in photos]
    counts = {name: names.count(name) for name in set(names)}
    weight = {
        (source, home): count**0.5 * LESS.get(source, 1.0) * (HOME_FACTOR if home else 1.0) / count
        for (source, home), count in counts.items()
    }
    each = np.array([weight[name] for name in names])
    shares: NDArray[np.float64] = each / each.sum()
    return shares


def by_category(photos: Sequence[PoolPhoto], split: str) -> dict[str, list[PoolPhoto]]:
    """The photos of one split, by category."""
    return {
        name: [p for p in photos if p.split == split and p.category == name]
        for name in CATEGORY_NAMES
    }


def read_rgb(path: Path) -> NDArray[np.uint8]:
    """uint8 (H, W, 3). Raises ValueError for what is no picture."""
    bgr = cv2.imdecode(np.frombuffer(path.read_bytes(), np.uint8), cv2.IMREAD_COLOR)
    if bgr is None:
        raise ValueError(f"Expected a photo, got {path}.")
    return np.ascontiguousarray(bgr[..., ::-1])


def resized(rgb: NDArray[np.uint8], short_side: int) -> NDArray[np.uint8]:
    """With a short side of that many pixels, the aspect kept."""
    height, width = rgb.shape[:2]
    scale = short_side / min(height, width)
    if scale == 1:
        return rgb
    size = (max(short_side, round(width * scale)), max(short_side, round(height * scale)))
    how = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
    return np.asarray(cv2.resize(rgb, size, interpolation=how), np.uint8)


def centre_lab(path: Path, side: int = 256) -> NDArray[np.uint8]:
    """Stored Lab of the centre, as validation photos are. Returns uint8 (3, side, side)."""
    rgb = resized(read_rgb(path), side)
    top, left = ((length - side) // 2 for length in rgb.shape[:2])
    return encode_lab(rgb_to_lab(np.ascontiguousarray(rgb[top : top + side, left : left + side])))


def random_lab(path: Path, crop: int, rng: np.random.Generator) -> NDArray[np.uint8]:
    """Stored Lab of a random part, mirrored half of the times. Returns uint8 (3, crop, crop).

    The photo is shown with a short side of 1 to 1.6 times `crop`, but never enlarged by over a third
    where it need not be.
    """
    rgb = read_rgb(path)
    most = max(crop, min(1.6 * crop, 1.35 * min(rgb.shape[:2])))
    rgb = resized(rgb, round(rng.uniform(crop, most)))
    top, left = (int(rng.integers(0, length - crop + 1)) for length in rgb.shape[:2])
    rgb = rgb[top : top + crop, left : left + crop]
    if rng.random() < 0.5:
        rgb = rgb[:, ::-1]
    return encode_lab(rgb_to_lab(np.ascontiguousarray(rgb)))
