"""The demo's data: colour photos that scikit-image's wheel carries, all public domain or CC0.

astronaut: NASA; rocket: SpaceX; chelsea: Stefan van der Walt; coffee: Rachel Michetti.

Each photo is cut into overlapping tiles, so that two categories have enough to fine-tune on; the
archive is gray copies of whole photos.
"""

from __future__ import annotations

from importlib.resources import as_file, files
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from storage.records.ledger import atomic_path, write_bytes

PHOTOS = {
    "people": ("astronaut.png",),
    "places": ("rocket.jpg", "coffee.png"),
}
ARCHIVE = ("astronaut.png", "chelsea.png", "coffee.png", "rocket.jpg")
_TILE, _STEP = 288, 56
CONFIG = """# Written by `chromaflow demo`: the main job in small, on photos from scikit-image's wheel.
workspace = "workspace"

[datasets]
people = "photos/people"
places = "photos/places"

[archive]
path = "gray"
output = "colorized"
truth = "truth"

[ingest]
val_share = 0.2

[preprocess]
saturation = 1.1
vertical_flip = 0.0

[colorize]
variants = 3

[train]
recipe = "starter"
init = "starter"

[train.overrides]
epochs = 2
batch = 8
learning_rate = 1e-4
final_learning_rate = 1e-5
"""


def write_demo(folder: Path) -> Path:
    """Write photos, gray archive, truth and config below a folder, once. Returns the config."""
    for category, names in PHOTOS.items():
        for name in names:
            _write_tiles(_load(name), folder / "photos" / category, Path(name).stem)
    for name in ARCHIVE:
        image, written = Image.fromarray(_load(name)), f"{Path(name).stem}.png"
        _save(image, folder / "truth" / written)
        _save(image.convert("L"), folder / "gray" / written)
    config = folder / "chromaflow.toml"
    if not config.exists():
        write_bytes(config, CONFIG.encode())
    return config


def _load(name: str) -> NDArray[np.uint8]:
    with as_file(files("skimage") / "data" / name) as path, Image.open(path) as image:
        return np.asarray(image.convert("RGB"))


def _write_tiles(rgb: NDArray[np.uint8], folder: Path, stem: str) -> None:
    height, width = rgb.shape[:2]
    for top in range(0, height - _TILE + 1, _STEP):
        for left in range(0, width - _TILE + 1, _STEP):
            tile = Image.fromarray(rgb[top : top + _TILE, left : left + _TILE])
            _save(tile, folder / f"{stem}-{top:03d}-{left:03d}.png")


def _save(image: Image.Image, path: Path) -> None:
    """Save unless it is there: a later demo run must find the same files, times included."""
    if not path.exists():
        with atomic_path(path) as temporary:
            image.save(temporary, "PNG")
