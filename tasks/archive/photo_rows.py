"""The photos that an archive's colorize step works on: rows of the manifest with all that is said of them.

Rows are made where they are asked for, from a part of the manifest: of a million photos none stays.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from storage.records.names import MANIFEST_NAME, QUARANTINE_NAME, SIDECARS_NAME
from storage.records.tables import RowTable, each_row
from storage.sources.selecting import fitter
from storage.sources.sidecars import Sidecars
from tasks.archive.reuse import PhotoKeys
from tasks.config.colorize import ColorizeConfig
from tasks.config.hints import HintRow, checked_hints, read_hints

_CHUNK_PIXELS = 12e6
"""Of a chunk: one more photo begins the next one. What a kill loses stays at about a second of work,
and an archive of small photos costs no future for every few of them."""


@dataclass(frozen=True, slots=True)
class Chunk:
    """Neighbours in the manifest."""

    name: str
    start: int
    """The first one's place."""
    stop: int


class PhotoRows:
    """The rows of an archive's photos: a manifest row each; `output`, `key`, and where there is something to
    say `sidecar`, `hints`, `accepted`, `palette` (see `tasks.jobs.stage_items.ColorizeItem`)."""

    def __init__(
        self,
        ingested: Path,
        config: ColorizeConfig,
        parts: Mapping[str, Any],
        name_of: Callable[[str], str],
        palette_of: Callable[[str], str | None],
        decided: Callable[[Mapping[str, Any]], Mapping[str, Any]] = lambda row: {},
    ) -> None:
        """ingested: folder of the ingest step. parts: of the colorize step's fingerprint. name_of: a photo's
        output without suffix. palette_of: the code of its series', if any. decided: of a row what
        a review said of its photo. Raises UsageError for hints
        that fit no photo."""
        self._table = RowTable(ingested / MANIFEST_NAME)
        self._sidecars = Sidecars(each_row(ingested / SIDECARS_NAME))
        self._name_of, self._palette_of, self._decided = name_of, palette_of, decided
        self._keys = PhotoKeys(parts)
        self._is_accepted = fitter(config.accept_photos) if config.accept_photos else None
        self._hints: Mapping[str, list[HintRow]] = {}
        if config.hints:
            refused = (row["path"] for row in each_row(ingested / QUARANTINE_NAME))
            manifest = each_row(ingested / MANIFEST_NAME)
            self._hints = checked_hints(manifest, read_hints(Path(config.hints)), refused)

    def __len__(self) -> int:
        return len(self._table)

    def rows(self, start: int, stop: int) -> list[dict[str, Any]]:
        """Those from one place of the manifest to another."""
        return [self._dressed(row) for row in self._table.rows(start, stop)]

    def outputs(self) -> Iterator[tuple[str, str, str]]:
        """Output without suffix, path and SHA-256 of every photo."""
        for row in self._table.each("path", "sha256"):
            yield self._name_of(row["path"]), row["path"], row["sha256"]

    def chunks(self, most: int) -> Iterator[Chunk]:
        """All of them in chunks, see `chunks`."""
        sizes = self._table.column("width") * self._table.column("height")
        return chunks(self._table.column("position").tolist(), sizes.tolist(), most)

    def _dressed(self, row: dict[str, Any]) -> dict[str, Any]:
        path = row["path"]
        row["output"] = self._name_of(path)
        if sidecar := self._sidecars.of(path):
            row["sidecar"] = sidecar
        if hints := self._hints.get(path):
            row["hints"] = [list(hint) for hint in hints]
        if self._is_accepted is not None and self._is_accepted(path):
            row["accepted"] = True
        if palette := self._palette_of(path):
            row["palette"] = palette
        row |= self._decided(row)
        row["key"] = self._keys.of(row)
        return row


def chunks(positions: Iterable[int], sizes: Iterable[int], most: int) -> Iterator[Chunk]:
    """Chunks of `most` neighbouring positions, cut where they grow too large.

    positions: of each photo, ascending. sizes: pixels of each. Photos that come or go later change the
    chunks of their own positions only.
    """
    window, part, start, num_pixels, place = -1, 0, 0, 0, -1
    for place, (position, size) in enumerate(zip(positions, sizes, strict=True)):
        num_pixels += size
        is_other = position // most != window
        if place > start and (is_other or num_pixels > _CHUNK_PIXELS):
            yield Chunk(_name(window, part), start, place)
            part += 1
            start, num_pixels = place, size
        if is_other:
            window, part = position // most, 0
    if place >= 0:
        yield Chunk(_name(window, part), start, place + 1)


def _name(window: int, part: int) -> str:
    return f"{window:06d}" + (f"-{part}" if part else "")
