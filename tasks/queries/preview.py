"""A look at the shards of a category: where each crop came from, what it holds, what was dropped."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from operator import itemgetter
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from colorization.colour.lab import decode_lab, lab_to_rgb
from storage.errors import REASONS, PhotoError, UsageError
from storage.photos.reduced import decode_rgb
from storage.pictures.sheets import contact_sheet, outlined
from storage.records.fingerprint import hash_bytes
from storage.records.ledger import write_bytes
from storage.records.manifest import SPLITS
from storage.records.names import MANIFEST_NAME, QUARANTINE_NAME, ROWS_NAME, STORE_NAME
from storage.records.tables import read_rows
from storage.records.workspace import Workspace
from storage.shards.reader import ShardReader
from storage.sources.source import open_source
from tasks.config.model import Workflow
from tasks.engine.stages import source_of
from tasks.jobs.items import spread_evenly

_AB_SHOWN = 60.0
"""a and b are drawn from minus to plus this, Lab units."""


@dataclass(frozen=True, kw_only=True)
class Preview:
    """What `chromaflow show shards` prints."""

    sheet: str
    num_photos: int
    dropped: list[dict[str, Any]]
    """One row a code: code, num_photos, meaning, and one example with its detail."""

    @property
    def num_dropped(self) -> int:
        """Photos in quarantine, filtered ones among them."""
        return sum(row["num_photos"] for row in self.dropped)

    def to_dict(self) -> dict[str, Any]:
        """As JSON."""
        return {"sheet": self.sheet, "photos": self.num_photos, "dropped": self.dropped}


def preview_shards(
    workflow: Workflow, category: str, split: str, num_photos: int, output: Path | None
) -> Preview:
    """Draw a sheet of evenly picked photos of one split and gather the quarantine.

    output: the PNG; default: previews/ in the workspace. Raises UsageError for a category that is
    not preprocessed, and for a split that holds nothing.
    """
    workspace = Workspace(workflow.workspace)
    folder = workspace.current("preprocess", category)
    if not (folder / ROWS_NAME).exists():
        known = sorted(path.name for path in (workspace.root / "current/preprocess").glob("*"))
        raise UsageError(
            f"Expected a preprocessed category of {', '.join(known) or 'none yet'}; got "
            f"{category!r}. `chromaflow preprocess` makes shards."
        )
    every_row = read_rows(folder / ROWS_NAME)
    rows = sorted((r for r in every_row if r["split"] == split), key=itemgetter("row"))
    if not rows:
        raise UsageError(f"Expected a split with photos of {', '.join(SPLITS)}; got {split!r}.")
    if num_photos < 1:
        raise UsageError(f"Expected 1 photo or more on the sheet, got {num_photos}.")
    picked = spread_evenly(len(rows), num_photos)
    reader = ShardReader(folder / STORE_NAME, split, np.array([row["row"] for row in rows]))
    pictures = [_pictures(workspace, category, reader, rows[i]) for i in picked]
    path = output or workspace.root / "previews" / f"shards-{category}-{split}.png"
    headings = ("photo and crop", "stored", "L", "a: green to red", "b: blue to yellow")
    write_bytes(path, contact_sheet(headings, pictures))
    return Preview(sheet=str(path), num_photos=len(rows), dropped=_dropped(workspace, category))


def _pictures(
    workspace: Workspace, category: str, reader: ShardReader, row: dict[str, Any]
) -> tuple[str, list[NDArray[Any] | None]]:
    stored = reader.photo(row["row"])
    L, ab = decode_lab(stored)
    rgb = lab_to_rgb(L[0], ab, fit=True)
    channels = [_as_gray(L[0] / 100), *(_as_gray(c / (2 * _AB_SHOWN) + 0.5) for c in ab)]
    flips = [name for name in ("horizontal", "vertical") if row[f"{name}_flip"]]
    facts = [f"saturation {row['saturation']:g}", *(f"{name} flip" for name in flips)]
    caption = f"{row['path']}   row {row['row']} · {' · '.join(facts)}"
    return caption, [_photo_with_crop(workspace, category, row), rgb, *channels]


def _photo_with_crop(
    workspace: Workspace, category: str, row: dict[str, Any]
) -> NDArray[Any] | None:
    """The source at the size that the crop box is given in; None where it is gone or changed."""
    table = read_rows(workspace.current("ingest", category) / MANIFEST_NAME)
    wanted = row["path"], row["sha256"]
    photo = next((one for one in table if (one["path"], one["sha256"]) == wanted), None)
    if photo is None:
        return None
    source = open_source(source_of(workspace, category))
    try:
        content = source.read(row["path"], photo["offset"], photo["bytes"])
        if hash_bytes(content) != row["sha256"]:
            return None
        rgb = decode_rgb(content, short_side=row["resized"], max_megapixels=float("inf"))
    except (OSError, PhotoError):
        return None
    left, top, size = row["left"], row["top"], row["size"]
    return outlined(rgb, (left, top, left + size - 1, top + size - 1))


def _as_gray(values: NDArray[np.float32]) -> NDArray[np.uint8]:
    """0..1 to gray RGB. values: float (H, W). Returns uint8 (H, W, 3)."""
    levels = np.rint(np.clip(values, 0, 1) * 255).astype(np.uint8)
    return np.repeat(levels[..., None], 3, axis=2)


def _dropped(workspace: Workspace, category: str) -> list[dict[str, Any]]:
    rows = []
    for stage in ("ingest", "preprocess"):
        path = workspace.current(stage, category) / QUARANTINE_NAME
        rows += read_rows(path) if path.exists() else []
    table = []
    for code, count in Counter(row["code"] for row in rows).most_common():
        example = next(row for row in rows if row["code"] == code)
        table.append(
            {
                "code": code,
                "num_photos": count,
                "meaning": REASONS[code].meaning,
                "example": example["path"],
                "detail": example["detail"],
            }
        )
    return table
