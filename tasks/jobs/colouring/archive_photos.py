"""Photos of an archive, one decoded while another is coloured, and the checks that skip some."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import chain
from typing import Any

from chromaflow.library.looking import Look, against, look_at
from storage.errors import PhotoError
from storage.photos.decoder import Decoder, shared_decoder
from storage.photos.photo import Photo
from tasks.jobs.items import PhotoItem, read_unchanged
from tasks.jobs.machine import memory_limit

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


def unwanted(
    item: PhotoItem, row: dict[str, Any], photo: Photo, look: Look | None
) -> PhotoError | None:
    """Why a page is not to be coloured: NOT_CHOSEN, ANIMATED, MASK, BILEVEL or ALREADY_COLOR."""
    number, ranges = photo.header.page + 1, item.config["pages"]
    if ranges and photo.header.num_pages > 1 and not any(a <= number <= b for a, b in ranges):
        return PhotoError("NOT_CHOSEN", f"expected a page that --pages names, got page {number}")
    if row.get("accepted"):
        return None
    return against(photo, look, item.config["accept"])


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
