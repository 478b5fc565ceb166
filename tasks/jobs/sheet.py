"""The contact sheet of an archive: gray | mask | single expert | merged | variants | truth."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from chromaflow.library.looking import look_at
from colorization.categories import category_colours
from colorization.colour.full_size import full_size_strips, reduced_L
from colorization.colour.lab import Float, lab_to_rgb
from colorization.merging.hinting import Hint
from colorization.merging.inference import MergedColorizer
from colorization.merging.sizes import network_size
from colorization.networks.palette_choice import PaletteChoice
from storage.errors import PhotoError
from storage.photos.decoder import shared_decoder
from storage.photos.reduced import decode_rgb
from storage.pictures.lettering import undrawn
from storage.pictures.sheets import contact_sheet
from storage.records.fingerprint import hash_bytes
from storage.records.ledger import record_file, write_bytes
from storage.records.names import SHEET_NAME
from tasks.jobs.colouring.archive_photos import reading, unwanted
from tasks.jobs.colouring.coloured_pages import hints_of
from tasks.jobs.items import ItemResult, commit_item, read_photo
from tasks.jobs.models import load_merged
from tasks.jobs.stage_items import SheetItem

_SIDE = 448
"""Photos on the sheet are coloured at about this size, twice a cell."""


def draw_sheet(item: SheetItem) -> ItemResult:
    """Draw the sheet; a photo that cannot be decoded or is skipped has no row (its chunk quarantined it)."""
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
            page = next(wanted, None)
            if page is None:
                continue
            height, width = page.pixels.shape[:2]
            L = reduced_L(page.pixels, page.alpha, network_size(height, width, _SIDE // 2))
        except PhotoError:
            continue
        palette = item.models.palette_of_photo(photo)
        hints = hints_of(photo, (height, width)) if page is first else ()
        pictures, caption = _row(colorizer, L, hints, palette, _as_it_stays(photo, min(L.shape)))
        pictures += [_truth(item, photo["path"])] if item.truth else []
        rows.append((f"{photo['path']}   {caption}", pictures))
    variants = [f"v{number}" for number in range(1, item.models.variants + 1)]
    headings = ["gray", "mask", "single expert", "merged", *variants]
    headings += ["truth"] if item.truth else []
    folder = Path(item.folder)
    write_bytes(folder / SHEET_NAME, contact_sheet(headings, rows))
    sheet = record_file(folder, folder / SHEET_NAME)
    escaped = sorted({one for caption, _ in rows for one in undrawn(caption)})
    return commit_item(
        item,
        files=[],
        extras=[sheet],
        num_photos=len(item.photos),
        quarantined=[],
        **({"undrawn": escaped} if escaped else {}),
    )


def _row(
    colorizer: MergedColorizer,
    L: Float,
    hints: Sequence[Hint],
    palette: PaletteChoice | None,
    stays: NDArray[Any] | None,
) -> tuple[list[NDArray[Any] | None], str]:
    """stays: what is merged instead of what the networks would make now; None for nothing."""
    prediction = colorizer.predict(L, hints, palette)
    gray = _colours(L, prediction.ab * 0)
    mask = weight_colours(prediction.weight[0].cpu().numpy(), prediction.shares)
    present = sorted(prediction.shares.items(), key=lambda pair: -pair[1])
    caption = " · ".join(f"{name} {share:.0%}" for name, share in present if share >= 0.01)
    others = [_colours(L, variant.ab) for variant in prediction.variants]
    missing: list[NDArray[Any] | None] = [None] * (colorizer.num_variants - len(others))
    merged = _colours(L, prediction.ab) if stays is None else stays
    return [gray, mask, _colours(L, prediction.single), merged, *others, *missing], caption


def weight_colours(weight_KHW: Float, names: Iterable[str]) -> NDArray[np.uint8]:
    """Each pixel's weights as a mixture of the categories' colours. Returns uint8 (H, W, 3).

    names: of the K categories, in their order.
    """
    palette = np.array(list(category_colours(names).values()), np.float32)
    return (weight_KHW.transpose(1, 2, 0) @ palette).astype(np.uint8)


def _colours(L: Float, ab: Tensor) -> NDArray[Any]:
    rgb = np.empty((*L.shape, 3), np.uint8)
    for rows, strip in full_size_strips(ab, L.shape):
        rgb[rows] = lab_to_rgb(L[rows], strip, fit=True)
    return rgb


def _as_it_stays(photo: Mapping[str, Any], short_side: int) -> NDArray[Any] | None:
    """What lies in the file of a photo that an earlier run coloured by other settings; None for others, and
    where it is no longer what its record says."""
    if "stays" not in photo:
        return None
    try:
        content = Path(photo["stays"]["path"]).read_bytes()
        if hash_bytes(content) != photo["stays"]["sha256"]:
            return None
        return decode_rgb(content, short_side=short_side, max_megapixels=float("inf"))
    except (OSError, PhotoError):
        return None


def _truth(item: SheetItem, path: str) -> NDArray[Any] | None:
    """The colour original; None where there is none, or none that can be decoded."""
    if item.truth is None:
        return None
    try:
        return decode_rgb(Path(item.truth, path).read_bytes(), short_side=256)
    except (OSError, PhotoError):
        return None
