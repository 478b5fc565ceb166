"""An OUT of `chromaflow colorize` over very many photos, published without a network.

Ingest is done in earnest, in this process; of every photo the original's bytes become its output. The
records, their keys and fingerprints are those of the real command, which finds nothing to do.
"""

from __future__ import annotations

import io
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
from PIL import Image

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

from engine import run_workflow  # noqa: E402

import tasks.engine.execute  # noqa: E402
from storage.pictures.thumbnails import write_pack  # noqa: E402
from storage.records.item_record import OutputFacts  # noqa: E402
from storage.records.ledger import FileRecord, write_recorded  # noqa: E402
from tasks.archive.workflow import archive_workflow  # noqa: E402
from tasks.config.request import ColorizeRequest  # noqa: E402
from tasks.jobs.items import ItemResult, WorkItem, commit_item, do_item  # noqa: E402
from tasks.jobs.stage_items import ColorizeItem, SheetItem  # noqa: E402

_KINDS = 64
"""Different photos; the rest are copies under other names."""


def publish_out(photos: Path, output: Path, count: int) -> None:
    """Draw an archive of so many tiny photos below `photos`, and publish its colours at `output`."""
    contents = [_photo(seed) for seed in range(_KINDS)]
    for number in range(count):
        path = photos / f"{number // 1000:03d}" / f"{number:06d}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(contents[number % _KINDS])
    with patch.object(tasks.engine.execute, "fan_out", _fan_out):
        outcome = run_workflow(archive_workflow(ColorizeRequest(archive=str(photos)), output))
    assert not outcome.failures, outcome.failures


def _fan_out(
    cluster: Any,
    job: Callable[[Any], ItemResult],
    items: Iterable[WorkItem],
    on_result: Callable[[ItemResult], None],
) -> list[ItemResult]:
    """Items in this thread, those that need a network by `_copy`."""
    from tasks.jobs.timing import TimedResult

    results: list[ItemResult] = []
    for item in items:
        if isinstance(item, SheetItem):
            result = commit_item(item, files=[], num_photos=0, quarantined=[], outputs=[])
        else:
            result = _copy(item) if isinstance(item, ColorizeItem) else do_item(item)
        results.append(TimedResult(result.name, result.num_photos, result.peak_mb, 0.0))
        on_result(results[-1])
    return results


def _copy(item: ColorizeItem) -> ItemResult:
    root, files, outputs = Path(item.output), [], []
    for row in item.photos:
        content = Path(item.source, row["path"]).read_bytes()
        files.append(write_recorded(root, root / f"{row['output']}.png", content))
        outputs.append(_facts(row, files[-1]))
    pictures = [{"gray": b"x" * 4000, "color": b"x" * 4000} for _ in item.photos]
    pack = write_pack(Path(item.folder), pictures)
    return commit_item(
        item,
        files=files,
        extras=[pack],
        num_photos=len(files),
        quarantined=[],
        outputs=[one.to_dict() for one in outputs],
    )


def _facts(row: dict[str, Any], file: FileRecord) -> OutputFacts:
    known = ("sha256", "offset", "bytes", "width", "height")
    return OutputFacts(
        photo=row["path"],
        **{name: row[name] for name in known},
        output=file.path,
        format="png",
        num_pages=1,
        bits=8,
        lossless=True,
        label="",
        max_dL=0.0,
    )


def _photo(seed: int) -> bytes:
    cells = np.random.default_rng(seed).integers(30, 225, (5, 5), dtype=np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(cells).resize((64, 64), Image.Resampling.BILINEAR).save(buffer, "PNG")
    return buffer.getvalue()
