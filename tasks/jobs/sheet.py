"""The contact sheet of an archive: gray | mask | single expert | merged | variants | truth."""

from __future__ import annotations

from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from chromaflow.library.looking import look_at
from colorization.categories import CATEGORY_NAMES
from colorization.colour.full_size import full_size_strips, reduced_L
from colorization.colour.lab import Float, lab_to_rgb
from colorization.merging.inference import MergedColorizer
from colorization.merging.sizes import network_size
from colorization.networks.palette_choice import PaletteChoice
from storage.errors import PhotoError
from storage.photos.decoder import shared_decoder
from storage.photos.reduced import decode_rgb
from storage.pictures.sheets import contact_sheet
from storage.records.ledger import record_file, write_bytes
from storage.records.names import SHEET_NAME
from tasks.jobs.colouring.archive_photos import reading, unwanted
from tasks.jobs.items import ItemResult, commit_item, read_photo
from tasks.jobs.models import load_merged
from tasks.jobs.stage_items import SheetItem

MASK_COLOURS = {
    "people": (220, 90, 80),
    "birds": (90, 150, 230),
    "animals": (240, 180, 70),
    "places": (110, 170, 110),
}
_SIDE = 448
"""Photos on the sheet are coloured at about this size, twice a cell."""


def draw_sheet(item: SheetItem) -> ItemResult:
    """Draw the sheet; a photo that cannot be decoded has no row (its chunk quarantined it)."""
    colorizer = load_merged(item.models)
    rows = []
    for photo in item.photos:
        try:
            content = read_photo(item, photo)
            pages = shared_decoder().pages(content, max_megapixels=float("inf"), **reading(item))
            first = next(pages)
            wanted = (
                page
                for page in chain([first], pages)
                if not unwanted(item, photo, page, look_at(page))
            )
            page = next(wanted, first)
            height, width = page.pixels.shape[:2]
            L = reduced_L(page.pixels, page.alpha, network_size(height, width, _SIDE // 2))
        except PhotoError:
            continue
        palette = item.models.palette_of_photo(photo)
        pictures, caption = _row(colorizer, L, palette)
        truth = _truth(item, photo["path"])
        rows.append((f"{photo['path']}   {caption}", [*pictures, truth]))
    variants = [f"v{number}" for number in range(1, item.models.variants + 1)]
    headings = ["gray", "mask", "single expert", "merged", *variants]
    headings.append("truth" if item.truth else "")
    folder = Path(item.folder)
    write_bytes(folder / SHEET_NAME, contact_sheet(headings, rows))
    sheet = record_file(folder, folder / SHEET_NAME)
    return commit_item(item, files=[], extras=[sheet], num_photos=len(item.photos), quarantined=[])


def _row(
    colorizer: MergedColorizer, L: Float, palette: PaletteChoice | None
) -> tuple[list[NDArray[Any] | None], str]:
    prediction = colorizer.predict(L, palette=palette)
    gray = _colours(L, prediction.ab * 0)
    mask = weight_colours(prediction.weight[0].cpu().numpy())
    present = sorted(prediction.shares.items(), key=lambda pair: -pair[1])
    caption = " · ".join(f"{name} {share:.0%}" for name, share in present if share >= 0.01)
    others = [_colours(L, variant.ab) for variant in prediction.variants]
    missing: list[NDArray[Any] | None] = [None] * (colorizer.num_variants - len(others))
    coloured = [_colours(L, prediction.single), _colours(L, prediction.ab)]
    return [gray, mask, *coloured, *others, *missing], caption


def weight_colours(weight_KHW: Float) -> NDArray[np.uint8]:
    """Each pixel's weights as a mixture of the categories' colours. Returns uint8 (H, W, 3)."""
    palette = np.array([MASK_COLOURS[name] for name in CATEGORY_NAMES], np.float32)
    return (weight_KHW.transpose(1, 2, 0) @ palette).astype(np.uint8)


def _colours(L: Float, ab: Tensor) -> NDArray[Any]:
    rgb = np.empty((*L.shape, 3), np.uint8)
    for rows, strip in full_size_strips(ab, L.shape):
        rgb[rows] = lab_to_rgb(L[rows], strip, fit=True)
    return rgb


def _truth(item: SheetItem, path: str) -> NDArray[Any] | None:
    """The colour original; None where there is none, or none that can be decoded."""
    if item.truth is None:
        return None
    try:
        return decode_rgb(Path(item.truth, path).read_bytes(), short_side=256)
    except (OSError, PhotoError):
        return None
