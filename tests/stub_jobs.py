"""Jobs and experts that cost next to nothing, for measurements of all that is around them.

They leave what the real ones leave: records, outputs, small pictures (see `stub_hook`).
"""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from storage.pictures.thumbnails import small_jpeg
from storage.records.fingerprint import hash_bytes
from storage.records.item_record import OutputFacts
from storage.records.ledger import FileRecord
from storage.records.manifest import SEEN_COLUMNS
from tasks.jobs.colouring.ready import Written, commit_chunk, rows_left
from tasks.jobs.items import ItemResult, PhotoItem, commit_item, read_photo, read_unchanged
from tasks.jobs.stage_items import ColorizeItem

_SIDE = 64
_SHARES = {"people": 0.25, "birds": 0.25, "animals": 0.25, "places": 0.25}
_COMMENT = b"\xff\xfe\x00\x08colour"
"""A segment of a JPEG: what makes an output another file than its original."""


def load_colorizer(*_: object, **__: object) -> tuple[Any, dict[str, Any]]:
    """One colour everywhere, more of it where there is light."""
    from colorization.networks.contract import Colorizer

    class Stub(Colorizer):
        def forward(self, L_norm_N1HW: Any) -> Any:
            return (L_norm_N1HW + 0.5).expand(-1, 2, -1, -1) * 20.0

    return Stub().eval(), {"network": "stub"}


def ingest_chunk(item: PhotoItem) -> ItemResult:
    """Every file is a gray JPEG of 64 px."""
    seen = []
    for photo in item.photos:
        header = {"width": _SIDE, "height": _SIDE, "mode": "L", "format": "JPEG", "orientation": 1}
        known = {name: photo[name] for name in ("path", "stamp", "bytes", "offset", "label")}
        own = {"sha256": hash_bytes(read_photo(item, photo)), "checked": True}
        measured = {"spread": 0.0, "colourfulness": 0.0}
        split = {"official_split": photo["official_split"]}
        seen.append(dict.fromkeys(SEEN_COLUMNS, "") | header | known | own | measured | split)
    return commit_item(
        item, files=[], num_photos=len(item.photos), quarantined=[], seen=seen, sidecars=[]
    )


def colorize_chunk(item: ColorizeItem) -> ItemResult:
    """Every output is its original with a comment; nothing waits for the disk but the record."""
    written = {}
    for row in rows_left(item):
        original = read_unchanged(item, row)
        content = original[:2] + _COMMENT + original[2:]
        name = f"{row['output']}.jpg"
        path = Path(item.output, name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        files = [FileRecord(name, len(content), hash_bytes(content))]
        written[row["path"]] = Written(files, _facts(item, row, name), _pictures())
    return commit_chunk(item, written, [])


def _facts(item: ColorizeItem, row: dict[str, Any], name: str) -> OutputFacts:
    place = row.get("position", 0) % 1000  # what is coloured ahead has none yet
    return OutputFacts(
        photo=row["path"],
        sha256=row["sha256"],
        archive=item.archive,
        key=row["key"],
        offset=row["offset"],
        bytes=row["bytes"],
        output=name,
        format="JPEG",
        width=_SIDE,
        height=_SIDE,
        num_pages=1,
        bits=8,
        lossless=False,
        label="",
        shares=_SHARES,
        colourfulness=round(place / 50, 2),
        uncertainty=round(place * 7919 % 1000 / 100, 2),
        max_dL=0.4,
        seconds=0.01,
    )


@cache
def _pictures() -> dict[str, bytes]:
    gray = np.linspace(0, 255, _SIDE * _SIDE, dtype=np.uint8).reshape(_SIDE, _SIDE)
    rgb = np.stack([gray, gray, gray[::-1]], axis=2)
    return {"before": small_jpeg(gray), "after": small_jpeg(rgb), "segments": small_jpeg(gray)}
