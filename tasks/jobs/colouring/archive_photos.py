"""Photos of an archive, one decoded while another is coloured, and the checks that skip some."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import chain
from typing import Any

import numpy as np

from colorization.colour.lab import rgb_to_lab
from colorization.colour.own_colour import LOOK_SIDE, OwnColour, own_colour
from colorization.colour.toning import COLOUR, tone_of
from storage.errors import PhotoError
from storage.photos.decoder import Decoder, shared_decoder
from storage.photos.photo import Photo
from storage.photos.reduced import thumbnail
from tasks.jobs.items import PhotoItem, read_unchanged
from tasks.jobs.machine import memory_limit

_LEAST_CHROMA = 3.0
"""Lab units: what JPEG leaves of neutral has less, at the next side."""
_OPAQUE = 127
_LOOK_SIDE = 128
"""Short side at which toning is judged, pixels."""
_ALONE_MEGAPIXELS = 30.0
"""Larger photos, and those of several pages, are coloured without another one in memory."""


@dataclass(frozen=True, slots=True)
class Opened:
    """A photo whose first page is decoded."""

    row: dict[str, Any]
    pages: Iterator[Photo]
    """All pages, the first included."""
    first: Photo
    sidecar: bytes = b""
    """The XMP file beside it."""
    content: bytes = b""
    """The file, where it has several pages: those that are not coloured are copied."""

    @property
    def alone(self) -> bool:
        """Whether no other photo is decoded before this one is done."""
        header = self.first.header
        return header.num_pages > 1 or header.largest_page > _ALONE_MEGAPIXELS * 1e6


def open_ahead(
    item: PhotoItem, rows: Sequence[dict[str, Any]]
) -> Iterator[tuple[dict[str, Any], Future[Opened]]]:
    """Each of these rows of the item with its photo, the next one decoded in the meantime.

    The futures are done. Their exceptions are PhotoError for what cannot be used.
    """
    decoder = shared_decoder()
    with ThreadPoolExecutor(1) as reader:
        upcoming = [reader.submit(_open, item, row, decoder) for row in rows[:1]]
        for number, row in enumerate(rows):
            current = upcoming.pop()
            error = current.exception()
            following = rows[number + 1 : number + 2]
            alone = error is None and current.result().alone
            if not alone:
                upcoming = [reader.submit(_open, item, next_row, decoder) for next_row in following]
            yield row, current
            if alone:
                upcoming = [reader.submit(_open, item, next_row, decoder) for next_row in following]


@dataclass(frozen=True, slots=True)
class Look:
    """What is seen of a photo whose pixels have three channels."""

    small: Any
    """Reduced, (h, w, 3) of its dtype; white where it is transparent."""
    tone: str
    """Of `colorization.colour.toning`, by what is not transparent."""
    chroma: float
    """The largest of a still smaller picture."""

    def own_colour(self) -> OwnColour | None:
        """What of its colours is no toning; None for a colour photo, which is to be coloured anew."""
        if self.tone == COLOUR or self.chroma < _LEAST_CHROMA:
            return None
        return own_colour(rgb_to_lab(self.small))


def look_at(photo: Photo) -> Look | None:
    """None for one channel, which has no colour."""
    if photo.pixels.ndim == 2:
        return None
    small: Any = thumbnail(photo.pixels, LOOK_SIDE)
    opaque = None
    if photo.alpha is not None:
        opacity: Any = thumbnail(photo.alpha, LOOK_SIDE)
        opaque = opacity >= np.iinfo(opacity.dtype).max // 2
        small = np.where(opaque[..., None], small, np.iinfo(small.dtype).max).astype(small.dtype)
        opaque = thumbnail(opaque.astype(np.uint8) * 255, _LOOK_SIDE) > _OPAQUE
    lab = rgb_to_lab(thumbnail(small, _LOOK_SIDE))
    seen = lab if opaque is None or not opaque.any() else lab[:, None, opaque]
    return Look(small, tone_of(seen), float(np.hypot(lab[1], lab[2]).max()))


def unwanted(
    item: PhotoItem, row: dict[str, Any], photo: Photo, look: Look | None
) -> PhotoError | None:
    """Why a page is not to be coloured: NOT_CHOSEN, ANIMATED, MASK, BILEVEL or ALREADY_COLOR."""
    number, ranges = photo.header.page + 1, item.config["pages"]
    if ranges and photo.header.num_pages > 1 and not any(a <= number <= b for a, b in ranges):
        return PhotoError("NOT_CHOSEN", f"expected a page that --pages names, got page {number}")
    if row.get("accepted"):
        return None
    found = (why for why in _unusual(photo, look) if why.code not in item.config["accept"])
    return next(found, None)


def _unusual(photo: Photo, look: Look | None) -> Iterator[PhotoError]:
    """What people accept or not."""
    if photo.header.animated:
        yield PhotoError("ANIMATED", "expected one frame, got several")
    if photo.header.mask:
        yield PhotoError("MASK", "expected a picture, got a mask or an infrared scan")
    if photo.header.bits == 1:
        yield PhotoError("BILEVEL", "expected grays, got black and white only")
    if look is not None and look.tone == COLOUR:
        yield PhotoError("ALREADY_COLOR", "expected gray or an even toning, got colours")


def reading(item: PhotoItem) -> dict[str, Any]:
    """How the config wants photos to be decoded, for `Decoder.pages`."""
    asked = {"salvage": item.config["salvage"], "stretch": item.config["range"] == "auto"}
    return asked | {"max_bytes": memory_limit()}


def _open(item: PhotoItem, row: dict[str, Any], decoder: Decoder) -> Opened:
    """Raises PhotoError, of several pages also where none is to be coloured."""
    content = read_unchanged(item, row)
    pages = decoder.pages(content, max_megapixels=float("inf"), **reading(item))
    first = next(pages)
    beside = row.get("sidecar")
    sidecar = read_unchanged(item, beside) if beside else b""
    if first.header.num_pages == 1:
        return Opened(row, chain([first], pages), first, sidecar)
    if error := unwanted(item, row, first, look_at(first)):
        if all(unwanted(item, row, page, look_at(page)) for page in pages):
            raise error
        pages = decoder.pages(content, max_megapixels=float("inf"), **reading(item))
        first = next(pages)
    return Opened(row, chain([first], pages), first, sidecar, content)


def pages_again(item: PhotoItem, opened: Opened) -> Iterator[Photo]:
    """The pages of a photo once more: of several they are decoded anew."""
    if opened.first.header.num_pages == 1:
        return iter([opened.first])
    decoder = shared_decoder()
    return decoder.pages(opened.content, max_megapixels=float("inf"), **reading(item))
