"""What goes to a Dask worker and what comes back: small frozen pointers, never arrays."""

from __future__ import annotations

import resource
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import lru_cache
from importlib import import_module
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from storage.errors import PhotoError
from storage.records.fingerprint import hash_bytes
from storage.records.item_record import ItemRecord
from storage.records.ledger import FileRecord, record_path, write_json
from storage.records.manifest import Quarantined
from storage.sources.source import Source, open_source


@dataclass(frozen=True, kw_only=True)
class WorkItem:
    """What one Dask future does: the part that every stage's item has."""

    job: ClassVar[str]
    """module:function that does it in the worker, given the item."""
    name: str
    """Of its record, done/<name>.json."""
    folder: str
    """The step's folder."""
    key: str = ""
    """Of what decides its output; a whole item of an earlier folder with this key is adopted."""


@dataclass(frozen=True, kw_only=True)
class PhotoItem(WorkItem):
    """One shard or chunk of photos."""

    source: str
    """Folder, archive or URL that the photos' paths start from."""
    photos: tuple[dict[str, Any], ...]
    """Manifest rows; before there is a manifest, path, offset and bytes."""
    config: dict[str, Any]
    crashed: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    """Path → reason code and detail of photos that a worker dies of; they go to quarantine unread."""


@dataclass(frozen=True, slots=True)
class ItemResult:
    """What one finished item reports to the driver."""

    name: str
    num_photos: int
    peak_mb: float


def do_item(item: WorkItem) -> ItemResult:
    """Do an item's job."""
    module, _, function = item.job.partition(":")
    result: ItemResult = getattr(import_module(module), function)(item)
    return result


def commit_item(
    item: WorkItem,
    *,
    files: list[FileRecord],
    num_photos: int,
    quarantined: list[Quarantined],
    extras: list[FileRecord] | None = None,
    **facts: Any,
) -> ItemResult:
    """Write an item's record, after its files are durable: this makes it done.

    files: what the item is for, below the step's output root; they make the step's digest.
    extras: what it wrote into the step's folder besides; verified, but outside the digest.
    """
    record = ItemRecord.of(
        item.key,
        files=files,
        extras=extras or (),
        num_photos=num_photos,
        quarantined=quarantined,
        **facts,
    )
    write_json(record_path(Path(item.folder), item.name), record.to_dict())
    return ItemResult(item.name, num_photos, peak_mb())


def peak_mb() -> float:
    """Largest resident memory of this process so far, in MB.

    Not by getrusage where Linux can say it: its ru_maxrss begins at that of the parent process.
    """
    try:
        status = Path("/proc/self/status").read_text()
        return int(status.partition("VmHWM:")[2].split(maxsplit=1)[0]) * 1024 / 1e6
    except (OSError, ValueError, IndexError):
        unit = 1 if sys.platform == "darwin" else 1024
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e6


def spread_evenly(count: int, most: int) -> list[int]:
    """Places of at most `most` out of `count`, evenly spread from the first to the last."""
    return [round(place) for place in np.linspace(0, count - 1, min(most, count)).tolist()]


def read_photo(item: PhotoItem, photo: Mapping[str, Any]) -> bytes:
    """A photo's bytes. photo: its row. Raises PhotoError: UNREADABLE, or what a worker died of."""
    if photo["path"] in item.crashed:
        raise PhotoError(*item.crashed[photo["path"]])
    try:
        return _source(item.source, item.folder).read(
            photo["path"], photo["offset"], photo["bytes"]
        )
    except OSError as error:
        raise PhotoError("UNREADABLE", f"{error.strerror or error}") from error


def read_unchanged(item: PhotoItem, photo: Mapping[str, Any]) -> bytes:
    """A photo's bytes, if they are those that the manifest names. Raises PhotoError."""
    content = read_photo(item, photo)
    if hash_bytes(content) != photo["sha256"]:
        raise PhotoError("UNREADABLE", "the file changed since it was ingested; run again")
    return content


def modified_ns(item: PhotoItem, photo: Mapping[str, Any]) -> int | None:
    """When a photo's file was written, nanoseconds since 1970; None of a member or at a URL."""
    path = _source(item.source, item.folder).local(photo["path"])
    try:
        return path.stat().st_mtime_ns if path is not None and photo["offset"] < 0 else None
    except OSError:  # a member
        return None


@lru_cache(maxsize=4)
def _source(location: str, folder: str) -> Source:
    """Kept open, so that a compressed tar is read once forward; anew for each step's folder."""
    return open_source(location)


@contextmanager
def quarantine_into(quarantined: list[Quarantined], path: str, stage: str) -> Iterator[None]:
    """Turn the block's PhotoError, or a lack of memory, into a quarantine row; the run goes on."""
    try:
        yield
    except PhotoError as error:
        quarantined.append(
            Quarantined(path=path, code=error.code, detail=error.detail, stage=stage)
        )
    except (MemoryError, RuntimeError) as error:
        if isinstance(error, RuntimeError) and "memory" not in str(error).lower():
            raise  # torch reports a lack of memory as RuntimeError; any other one is a bug
        quarantined.append(
            Quarantined(path=path, code="OUT_OF_MEMORY", detail=str(error)[:200], stage=stage)
        )
