"""One chunk of an archive: decode → tone → L at full size → colours → encode as the original was."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field

from colorization.merging.inference import MergedColorizer
from colorization.merging.prediction import Prediction
from storage.containers.tiff_copying import TiffPage
from storage.errors import PhotoError
from storage.photos.encoding import ColoredPage
from storage.records.manifest import Quarantined
from tasks.jobs.colouring.archive_photos import Opened, open_ahead
from tasks.jobs.colouring.coloured_pages import AskedPage, Seen, ask, coloured_page, coloured_pages
from tasks.jobs.colouring.ready import Written, commit_chunk, rows_left
from tasks.jobs.colouring.written_photo import write_photo
from tasks.jobs.items import ItemResult, quarantine_into
from tasks.jobs.models import load_merged
from tasks.jobs.overlap import next_item_may_begin
from tasks.jobs.stage_items import ColorizeItem


def colorize_chunk(item: ColorizeItem) -> ItemResult:
    """Colour every photo of the chunk; each ends as one output file or one quarantine row.

    Photos that are coloured already are taken over as they are.

    While the networks see photos, the next one is decoded, and those before get their colours and are
    encoded. Once the networks have seen the last one, the next chunk begins.
    """
    colorizer = load_merged(item.models)
    with ThreadPoolExecutor(1) as writer:
        chunk = _Chunk(item, colorizer, writer)
        for row, opening in open_ahead(item, rows_left(item)):
            with quarantine_into(chunk.quarantined, row["path"], "colorize"):
                chunk.colour(opening.result())
        chunk.colour_waiting()
        with next_item_may_begin():
            chunk.collect()
            return commit_chunk(item, chunk.written, chunk.quarantined)


@dataclass(frozen=True, slots=True)
class _Waiting:
    """A photo of one page, before the networks see it."""

    opened: Opened
    page: AskedPage

    @property
    def path(self) -> str:
        return str(self.opened.row["path"])


@dataclass(slots=True)
class _Chunk:
    """What becomes of the photos of a chunk."""

    item: ColorizeItem
    colorizer: MergedColorizer
    writer: ThreadPoolExecutor
    written: dict[str, Written] = field(default_factory=dict)
    quarantined: list[Quarantined] = field(default_factory=list)
    _waiting: dict[tuple[int, int], list[_Waiting]] = field(
        default_factory=lambda: defaultdict(list)
    )
    """By the size at which the networks see them."""
    _pending: list[tuple[str, Future[Written]]] = field(default_factory=list)

    def colour(self, opened: Opened) -> None:
        """Have the networks see a photo, at once or with others of its size. Raises PhotoError."""
        if opened.first.header.num_pages > 1:
            seen = Seen()
            self._write(opened, coloured_pages(self.item, self.colorizer, opened, seen), seen)
            return
        page = ask(self.item, self.colorizer, opened, opened.first, first=True)
        if isinstance(page, PhotoError):
            raise page
        size = self.colorizer.size_of(*page.photo.pixels.shape[:2])
        together = self._waiting[size]
        together.append(_Waiting(opened, page))
        if len(together) >= self.colorizer.together(size):
            self._colour(self._waiting.pop(size))

    def colour_waiting(self) -> None:
        """Have the networks see what waits for company still."""
        while self._waiting:
            self._colour(self._waiting.popitem()[1])

    def collect(self) -> None:
        """Wait until what is being written is there."""
        for path, future in self._pending:
            with quarantine_into(self.quarantined, path, "colorize"):
                self.written[path] = future.result()
        self._pending.clear()

    def _colour(self, photos: Sequence[_Waiting]) -> None:
        started = time.monotonic()
        predictions: list[Prediction] = []
        try:
            predictions = self.colorizer.predict_many([one.page.asked for one in photos])
        except (MemoryError, RuntimeError):
            if len(photos) > 1:  # one by one, so that only what has no room is left out
                for one in photos:
                    self._colour([one])
                return
            with quarantine_into(self.quarantined, photos[0].path, "colorize"):
                raise
        seconds = (time.monotonic() - started) / len(photos)
        self.collect()
        for one, found in zip(photos, predictions, strict=False):
            with quarantine_into(self.quarantined, one.path, "colorize"):
                seen = Seen(seconds=seconds)
                self._write(
                    one.opened, [coloured_page(self.item, one.opened, one.page, found, seen)], seen
                )

    def _write(self, opened: Opened, pages: Iterable[ColoredPage | TiffPage], seen: Seen) -> None:
        """Write a photo; in the meantime the networks see others, unless it is to be alone in memory."""
        if opened.alone:
            self.collect()
            self.written[opened.row["path"]] = write_photo(self.item, opened, pages, seen)
            return
        writing = self.writer.submit(write_photo, self.item, opened, pages, seen)
        self._pending.append((opened.row["path"], writing))
