"""Manifests and quarantine tables as Parquet, and the split by content hash."""

from __future__ import annotations

import io
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from storage.records.ledger import write_bytes

if TYPE_CHECKING:
    import pandas as pd

HEADER_COLUMNS = ("width", "height", "mode", "format", "orientation")
"""What `storage.photos.photo.inspect` finds, by the names of its fields."""
MANIFEST_COLUMNS = (
    "path",
    "sha256",
    "bytes",
    "offset",
    *HEADER_COLUMNS,
    "label",
    "split",
    "position",
    "generation",
)
"""path is relative to the source (`photos.tar/a/1.jpg` in an archive), offset a tar member's place.

width and height are as shown, with the EXIF orientation (1..8) applied. A photo keeps its split and
position in later generations (decision 005).
"""
SEEN_COLUMNS = (
    "path",
    "stamp",
    "bytes",
    "offset",
    "sha256",
    *HEADER_COLUMNS,
    "label",
    "official_split",
    "spread",
    "colourfulness",
    "likeness",
    "mirrored",
    "checked",
    "code",
    "detail",
)
"""Of every photo file that a source lists, usable or not: what the next generation starts from.

checked: whether its pixels were looked at, or `limit` made that needless. spread: rms of
ab that lightness does not explain. code, detail: why it cannot be used, or empty.
"""
SPLITS = ("train", "val", "test")
QUARANTINE_COLUMNS = ("path", "code", "detail", "stage")


@dataclass(frozen=True, kw_only=True, slots=True)
class Quarantined:
    """One photo that a stage could not use."""

    path: str
    code: str
    detail: str
    stage: str

    def to_dict(self) -> dict[str, Any]:
        """As JSON."""
        return asdict(self)


def split_of(content_hash: str, val_share: float) -> str:
    """'train' or 'val', decided by the photo's content alone, so that it never changes sides.

    val_share: 0..1. The first 52 bits of the hash serve as a uniform number.
    """
    return "val" if int(content_hash[:13], 16) / 16**13 < val_share else "train"


def write_table(path: Path, rows: Iterable[dict[str, Any]], columns: Iterable[str]) -> None:
    """Write rows as Parquet, atomically, with exactly these columns."""
    import pandas as pd  # later than the first photo: it takes 0.2 s in every process

    buffer = io.BytesIO()
    pd.DataFrame(list(rows), columns=list(columns)).to_parquet(buffer, index=False)
    write_bytes(path, buffer.getvalue())


def read_table(path: Path) -> pd.DataFrame:
    """Read a table that `write_table` wrote."""
    import pandas as pd

    return pd.read_parquet(path)


def read_rows(path: Path) -> list[dict[str, Any]]:
    """The rows of a table as plain dictionaries."""
    rows: list[dict[str, Any]] = read_table(path).to_dict("records")  # type: ignore[assignment]
    return rows
