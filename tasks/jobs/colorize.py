"""One chunk of an archive: decode → L at full size → colours → encode as the original was."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from colorization.inference import MergedColorizer
from colorization.lab import Float, gray_to_L, rgb_to_L
from storage.ledger import FileRecord
from storage.manifest import Quarantined
from storage.outputs import write_output
from storage.photos import Photo, decode, encode
from tasks.jobs.items import ItemResult, PhotoItem, commit_item, quarantine_into, read_unchanged
from tasks.jobs.models import ModelSpec, load_merged


@dataclass(frozen=True, kw_only=True)
class ColorizeItem(PhotoItem):
    """One chunk of photos."""

    models: ModelSpec
    output: str
    """Root of the output tree."""


def colorize_chunk(item: ColorizeItem) -> ItemResult:
    """Colour every photo of the chunk; each ends as one output file or one quarantine row."""
    colorizer = load_merged(item.models)
    files: list[FileRecord] = []
    quarantined: list[Quarantined] = []
    for row in item.photos:
        with quarantine_into(quarantined, row["path"], "colorize"):
            content = read_unchanged(item, row)
            encoded = colorize_photo(colorizer, decode(content, max_megapixels=float("inf")))
            files.append(write_output(Path(item.output), row["path"], encoded))
    return commit_item(
        item,
        files=files,
        num_photos=len(item.photos),
        quarantined=quarantined,
    )


def colorize_photo(colorizer: MergedColorizer, photo: Photo) -> bytes:
    """One decoded photo to the bytes of its coloured derivative, at the same size and depth."""
    dtype = np.uint16 if photo.pixels.dtype == np.uint16 else np.uint8
    return encode(colorizer.colorize(photo_lightness(photo), dtype), photo)


def photo_lightness(photo: Photo) -> Float:
    """L of a gray photo, or of one stored as RGB (sepia included). Returns float32 (H, W)."""
    return gray_to_L(photo.pixels) if photo.pixels.ndim == 2 else rgb_to_L(photo.pixels)
