"""Photos of a chunk that are coloured already: their outputs are taken over, not made again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from storage.pictures.thumbnails import read_pack, write_pack
from storage.records.item_record import OutputFacts
from storage.records.ledger import FileRecord, sync_folders_of
from storage.records.manifest import Quarantined
from tasks.jobs.items import ItemResult, commit_item
from tasks.jobs.stage_items import ColorizeItem, ReadyPhoto


@dataclass(frozen=True, slots=True)
class Written:
    """What one photo became."""

    files: list[FileRecord]
    facts: OutputFacts
    """For the record, and for `chromaflow verify` and `report`."""
    pictures: dict[str, bytes]
    """JPEGs by kind, for the report."""


def commit_ready(item: ColorizeItem) -> ItemResult:
    """Write the record of a chunk of which nothing is left to colour."""
    return commit_chunk(item, {}, [])


def commit_chunk(
    item: ColorizeItem, written: Mapping[str, Written], quarantined: list[Quarantined]
) -> ItemResult:
    """Write a chunk's record. written: by path, the photos that were coloured now."""
    taken_over = {photo.path: _taken_over(photo) for photo in item.ready}
    by_path = {**written, **taken_over}
    outputs = [by_path[row["path"]] for row in item.photos if row["path"] in by_path]
    pictures = [one.pictures for one in outputs]
    files = [file for one in outputs for file in one.files]
    sync_folders_of(Path(item.output, file.path) for file in files)
    return commit_item(
        item,
        files=files,
        extras=[write_pack(Path(item.folder), pictures)] if any(pictures) else [],
        num_photos=len(item.photos),
        quarantined=quarantined,
        outputs=[one.facts.to_dict() for one in outputs],
    )


def rows_left(item: ColorizeItem) -> tuple[dict[str, Any], ...]:
    """The chunk's photos that are still to be coloured."""
    ready = {photo.path for photo in item.ready}
    return tuple(row for row in item.photos if row["path"] not in ready)


def _taken_over(photo: ReadyPhoto) -> Written:
    pictures = _pack(photo.pack)[photo.picture] if photo.pack else {}
    return Written(list(photo.files), photo.facts, pictures)


@lru_cache(maxsize=2)
def _pack(path: str) -> Sequence[dict[str, bytes]]:
    return read_pack(Path(path))
