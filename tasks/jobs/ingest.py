"""One chunk of a source → manifest rows: content hash, size, mode, split, or quarantine."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from storage.errors import PhotoError
from storage.fingerprint import hash_bytes
from storage.manifest import Quarantined, split_of
from storage.photos import inspect
from storage.sources import claims_to_be_photo
from tasks.jobs.items import (
    ItemResult,
    PhotoItem,
    commit_item,
    printable,
    quarantine_into,
    read_photo,
)


def ingest_chunk(item: PhotoItem) -> ItemResult:
    """Read every file of the chunk once. Files that are no photo and claim nothing are ignored."""
    rows: list[dict[str, Any]] = []
    quarantined: list[Quarantined] = []
    num_ignored = 0
    for photo in item.photos:
        path = photo["path"]
        with quarantine_into(quarantined, path, "ingest"):
            row = _manifest_row(item, path)
            if row is None:
                num_ignored += 1
            else:
                rows.append(row)
    return commit_item(
        Path(item.folder),
        item.name,
        files=[],
        num_photos=len(item.photos),
        quarantined=quarantined,
        rows=rows,
        num_ignored=num_ignored,
    )


def _manifest_row(item: PhotoItem, path: str) -> dict[str, Any] | None:
    if printable(path) != path:
        raise PhotoError("BAD_NAME", "expected a file name in UTF-8")
    content = read_photo(item, path)
    try:
        header = inspect(content, max_megapixels=item.config["max_megapixels"])
    except PhotoError as error:
        if error.code in ("NOT_A_PHOTO", "EMPTY") and not claims_to_be_photo(path):
            return None
        raise
    if min(header.width, header.height) < item.config["min_side"]:
        raise PhotoError(
            "TOO_SMALL",
            f"expected a short side of {item.config['min_side']} px or more, "
            f"got {header.width}×{header.height}",
        )
    content_hash = hash_bytes(content)
    return {
        "path": path,
        "sha256": content_hash,
        "bytes": len(content),
        "width": header.width,
        "height": header.height,
        "mode": header.mode,
        "format": header.format,
        "split": split_of(content_hash, item.config["val_share"]),
    }
