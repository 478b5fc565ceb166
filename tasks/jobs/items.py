"""What goes to a Dask worker and what comes back: small frozen pointers, never arrays."""

from __future__ import annotations

import os
import resource
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from storage.errors import PhotoError
from storage.ledger import FileRecord, write_json
from storage.manifest import Quarantined


@dataclass(frozen=True, kw_only=True)
class PhotoItem:
    """One shard or chunk of photos: the part that every stage's item has."""

    name: str
    """Of its record, done/<name>.json."""
    folder: str
    """The step's folder."""
    source: str
    """The folder that the photos' paths start from."""
    photos: tuple[dict[str, Any], ...]
    """Manifest rows; before there is a manifest, just the path."""
    config: dict[str, Any]
    crashed: frozenset[str] = frozenset()
    """Paths that killed a worker when tried alone; they go to quarantine unread."""


@dataclass(frozen=True, slots=True)
class ItemResult:
    """What one finished item reports to the driver."""

    name: str
    num_photos: int
    peak_mb: float


def commit_item(
    folder: Path,
    name: str,
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
    record = {
        "files": [file.to_dict() for file in files],
        "extras": [file.to_dict() for file in extras or []],
        "num_photos": num_photos,
        "quarantined": [row.to_dict() for row in quarantined],
        **facts,
    }
    write_json(folder / "done" / f"{name}.json", record)
    return ItemResult(name, num_photos, peak_mb())


def peak_mb() -> float:
    """Largest resident memory of this process so far, in MB (Linux reports KiB)."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6


def read_photo(item: PhotoItem, path: str) -> bytes:
    """A photo's bytes. Raises PhotoError CRASHED or UNREADABLE."""
    if path in item.crashed:
        raise PhotoError("CRASHED", "a worker died of this photo, alone with it")
    try:
        return Path(item.source, path).read_bytes()
    except OSError as error:
        raise PhotoError("UNREADABLE", f"{error.strerror}") from error


@contextmanager
def quarantine_into(quarantined: list[Quarantined], path: str, stage: str) -> Iterator[None]:
    """Turn the block's PhotoError, or a lack of memory, into a quarantine row; the run goes on."""
    try:
        yield
    except PhotoError as error:
        quarantined.append(
            Quarantined(path=printable(path), code=error.code, detail=error.detail, stage=stage)
        )
    except (MemoryError, RuntimeError) as error:
        if isinstance(error, RuntimeError) and "memory" not in str(error).lower():
            raise  # torch reports a lack of memory as RuntimeError; any other one is a bug
        quarantined.append(
            Quarantined(
                path=printable(path), code="OUT_OF_MEMORY", detail=str(error)[:200], stage=stage
            )
        )


def printable(path: str) -> str:
    """A path as valid UTF-8: bytes of other encodings appear as \\xNN."""
    return os.fsencode(path).decode("utf-8", "backslashreplace")
