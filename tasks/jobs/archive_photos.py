"""Photos of an archive, one decoded while another is coloured, and the checks that skip some."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import chain
from typing import Any

from colorization.colour.lab import rgb_to_lab
from colorization.colour.toning import COLOUR, tone_of
from storage.errors import PhotoError
from storage.photos.decoder import Decoder, shared_decoder
from storage.photos.photo import Photo
from storage.photos.reduced import thumbnail
from tasks.jobs.items import PhotoItem, read_unchanged

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


def check_wanted(photo: Photo, accept: Sequence[str]) -> None:
    """Raise PhotoError ANIMATED, BILEVEL or ALREADY_COLOR for what is not to be coloured.

    accept: of these codes those that are coloured all the same.
    """
    if photo.header.animated and "ANIMATED" not in accept:
        raise PhotoError("ANIMATED", "expected one frame, got several")
    if photo.header.bits == 1 and "BILEVEL" not in accept:
        raise PhotoError("BILEVEL", "expected grays, got black and white only")
    if photo.pixels.ndim == 2 or "ALREADY_COLOR" in accept:
        return
    if tone_of(rgb_to_lab(thumbnail(photo.pixels, _LOOK_SIDE))) == COLOUR:
        raise PhotoError("ALREADY_COLOR", "expected gray or an even toning, got colours")


def reading(item: PhotoItem) -> dict[str, bool]:
    """How the config wants photos to be decoded, for `Decoder.pages`."""
    return {"salvage": item.config["salvage"], "stretch": item.config["range"] == "auto"}


def _open(item: PhotoItem, row: dict[str, Any], decoder: Decoder) -> Opened:
    content = read_unchanged(item, row)
    pages = decoder.pages(content, max_megapixels=float("inf"), **reading(item))
    first = next(pages)
    return Opened(row, chain([first], pages), first)
