"""Manifests and quarantine tables as Parquet, and the split by content hash."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from storage.records.tables import FLAG, REAL, TEXT, WHOLE

HEADER_COLUMNS = {
    "width": WHOLE,
    "height": WHOLE,
    "mode": TEXT,
    "format": TEXT,
    "orientation": WHOLE,
}
"""What `storage.photos.photo.inspect` finds, by the names of its fields."""
MANIFEST_COLUMNS = {
    "path": TEXT,
    "sha256": TEXT,
    "bytes": WHOLE,
    "offset": WHOLE,
    **HEADER_COLUMNS,
    "label": TEXT,
    "split": TEXT,
    "position": WHOLE,
    "generation": WHOLE,
}
"""path is relative to the source (`photos.tar/a/1.jpg` in an archive), offset an archive member's place.

width and height are as shown, with the EXIF orientation (1..8) applied. A photo keeps its split and
position in later generations (decision 005).
"""
SIDECAR_COLUMNS = {"path": TEXT, "sha256": TEXT, "bytes": WHOLE, "offset": WHOLE}
"""Of every XMP file that lies beside an archive's photos."""
SEEN_COLUMNS = {
    "path": TEXT,
    "stamp": TEXT,
    "bytes": WHOLE,
    "offset": WHOLE,
    "sha256": TEXT,
    **HEADER_COLUMNS,
    "label": TEXT,
    "official_split": TEXT,
    "spread": REAL,
    "colourfulness": REAL,
    "likeness": TEXT,
    "mirrored": TEXT,
    "checked": FLAG,
    "code": TEXT,
    "detail": TEXT,
}
"""Of every file that a source lists, usable or not: what the next generation starts from.

A file that is no photo is among them, with the code IGNORED. checked: whether its pixels were looked at, or `limit` made that needless. spread: rms of
ab that lightness does not explain. code, detail: why it cannot be used, or empty.
"""
IGNORED = "IGNORED"
"""The code of a seen file that is no photo and claims to be none; nothing failed."""
SPLITS = ("train", "val", "test")
QUARANTINE_COLUMNS = dict.fromkeys(("path", "code", "detail", "stage"), TEXT)


@dataclass(frozen=True, kw_only=True, slots=True)
class Quarantined:
    """One photo that a stage could not use."""

    path: str
    code: str
    detail: str
    stage: str

    def to_dict(self) -> dict[str, Any]:
        """As JSON."""
        return {name: getattr(self, name) for name in QUARANTINE_COLUMNS}


def split_of(content_hash: str, val_share: float) -> str:
    """'train' or 'val', decided by the photo's content alone, so that it never changes sides.

    val_share: 0..1. The first 52 bits of the hash serve as a uniform number.
    """
    return "val" if int(content_hash[:13], 16) / 16**13 < val_share else "train"
