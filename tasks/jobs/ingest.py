"""One chunk of a source → what is seen of every file: hash, size, colours, likeness, or a reason."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import cv2
import numpy as np

from colorization.colour.lab import rgb_to_lab
from colorization.colour.likeness import colour_spread, likeness
from colorization.metrics.distances import colourfulness
from storage.errors import PhotoError
from storage.photos.codec import Header
from storage.photos.decoder import shared_decoder
from storage.photos.photo import inspect
from storage.photos.reduced import decode_rgb
from storage.records.fingerprint import hash_bytes
from storage.records.manifest import (
    HEADER_COLUMNS,
    IGNORED,
    SEEN_COLUMNS,
    SIDECAR_COLUMNS,
    Quarantined,
)
from storage.records.selection import sampling_key
from storage.sources.no_photo import is_no_photo
from storage.sources.sidecars import is_sidecar_name
from tasks.jobs.items import (
    ItemResult,
    PhotoItem,
    commit_item,
    quarantine_into,
    read_photo,
)

_LOOK_SIDE = 64
"""Short side at which colours and likeness are measured, pixels."""


@dataclass(frozen=True, kw_only=True)
class IngestItem(PhotoItem):
    """Files of a source. Each photo: path, offset, bytes, stamp, label, official_split, check_below."""

    job: ClassVar[str] = "tasks.jobs.ingest:ingest_chunk"


def ingest_chunk(item: IngestItem) -> ItemResult:
    """Read every file of the chunk once. What is no photo is noted as such."""
    cv2.setNumThreads(1)  # one process a core already
    seen: list[dict[str, Any]] = []
    sidecars: list[dict[str, Any]] = []
    for photo in item.photos:
        failed: list[Quarantined] = []
        row: dict[str, Any] | None = dict(_NOTHING_SEEN)
        with quarantine_into(failed, photo["path"], "ingest"):
            row = _see(item, photo, sidecars)
        if row is None:
            continue
        row |= {
            name: photo[name] for name in ("stamp", "bytes", "offset", "label", "official_split")
        }
        row["path"] = photo["path"]
        if failed:
            row |= {"code": failed[0].code, "detail": failed[0].detail}
        seen.append(row)
    return commit_item(
        item,
        files=[],
        num_photos=len(item.photos),
        quarantined=[],  # the manifest's filters add theirs, so all are written when it is
        seen=seen,
        sidecars=sidecars,
    )


_NOTHING_SEEN: dict[str, Any] = dict.fromkeys(SEEN_COLUMNS, "") | {
    "width": 0,
    "height": 0,
    "orientation": 1,
    "spread": 0.0,
    "colourfulness": 0.0,
    "checked": True,
}


def _see(
    item: IngestItem, photo: dict[str, Any], sidecars: list[dict[str, Any]]
) -> dict[str, Any] | None:
    """What there is to see of one file; of what is no photo its code alone; None for an XMP file.

    sidecars: gets a row of SIDECAR_COLUMNS for that.
    """
    path = photo["path"]
    content = read_photo(item, photo)
    seen = _NOTHING_SEEN | {"sha256": hash_bytes(content)}
    if sampling_key(item.config["seed"], seen["sha256"]) > photo["check_below"]:
        return seen | {"checked": False}
    try:
        header = _inspect(content, item.config)
    except PhotoError as error:
        if error.code in ("NOT_A_PHOTO", "EMPTY") and is_sidecar_name(path):
            known = seen | photo
            sidecars.append({name: known[name] for name in SIDECAR_COLUMNS})
            return None
        if is_no_photo(path, content, error):
            return seen | {"code": IGNORED}
        raise
    seen |= {name: getattr(header, name) for name in HEADER_COLUMNS}
    _require_side(header, item.config["min_side"])
    return seen | (_look(content, header, item.config) if item.config["training"] else {})


def _inspect(content: bytes, config: dict[str, Any]) -> Header:
    """The header; of an archive's photo in a process with limits, since no one chose these files.

    Whether the whole pages of a cut file are coloured is for colorize to say.
    """
    max_megapixels = _max_megapixels(config)
    if not config["training"]:
        return shared_decoder().inspect(content, max_megapixels=max_megapixels, salvage=True)
    header = inspect(content, max_megapixels=max_megapixels)
    if header.num_pages > 1 or header.animated:
        code, what = ("ANIMATED", "frames") if header.animated else ("MULTI_PAGE", "pages")
        raise PhotoError(code, f"expected one picture to learn from, got several {what}")
    return header


def _max_megapixels(config: dict[str, Any]) -> float:
    limits: list[float] = [config["max_megapixels"]]
    if config["training"]:
        limits.append(config["max_training_megapixels"])
    return min(limits)


def _require_side(header: Header, min_side: int) -> None:
    if min(header.width, header.height) < min_side:
        raise PhotoError(
            "TOO_SMALL",
            f"expected a short side of {min_side} px or more, got {header.width}×{header.height}",
        )


def _look(content: bytes, header: Header, config: dict[str, Any]) -> dict[str, Any]:
    """Decode small, to find damage and to measure what the filters of a training set ask."""
    rgb = decode_rgb(content, short_side=_LOOK_SIDE, header=header)
    lab = rgb_to_lab(rgb)
    spread, colour = colour_spread(lab), colourfulness(rgb)
    if spread < config["min_spread"]:
        raise PhotoError(
            "NEAR_GRAY", f"expected colours to spread by {config['min_spread']:g}, got {spread:.2f}"
        )
    if colour < config["min_colourfulness"]:
        raise PhotoError(
            "DULL",
            f"expected a colourfulness of {config['min_colourfulness']:g}, got {colour:.1f}",
        )
    own, mirrored = likeness(np.ascontiguousarray(lab[0]))
    return {
        "spread": round(spread, 3),
        "colourfulness": round(colour, 3),
        "likeness": own.hex(),
        "mirrored": mirrored.hex(),
    }
