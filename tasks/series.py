"""Series: an archive's manifest → one palette for each folder, that its photos share."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping
from pathlib import Path, PurePosixPath
from typing import Any

from storage.records.item_record import ItemRecord
from storage.records.names import MANIFEST_NAME, SERIES_NAME
from storage.records.tables import TEXT, WHOLE, read_rows, write_table
from tasks.archive.models import archive_models
from tasks.control import task
from tasks.engine.execute import Published, Run, Work, execute
from tasks.engine.stages import StageRef, Step, source_of
from tasks.jobs.items import spread_evenly
from tasks.jobs.stage_items import SeriesItem

_ASKED = 16
"""Photos of a folder that are asked for its palette, evenly spread by name."""
_PHOTOS = 32
"""Of an item, about: folders stay whole."""
COLUMNS = {"folder": TEXT, "palette": TEXT, "asked": WHOLE}
"""Of series.parquet. palette: a code, empty where no photo of the folder could be read; asked: how many
photos said which."""


@task("series")
def series(step: Step, upstream: list[StageRef], run: Run) -> StageRef:
    """Find the palette of each folder that suits its photos best together."""

    def items(folder: Path) -> list[SeriesItem]:
        ingested = step.workspace.current("ingest", step.key).resolve()
        models = archive_models(step.workspace, run.workflow, run.cluster.slots)
        source = source_of(step.workspace, step.key)
        return [
            SeriesItem(
                name=f"{number:06d}",
                folder=str(folder),
                source=source,
                photos=tuple(photos),
                config=run.workflow.colorize.output_parts(),
                models=models,
            )
            for number, photos in enumerate(_parts(read_rows(ingested / MANIFEST_NAME)))
        ]

    return execute(step, upstream, run, Work(items=items, finish=_finish, identity=_identity))


def series_of(path: str) -> str:
    """The series that a photo belongs to: its folder in the archive, "." for the archive itself."""
    return str(PurePosixPath(path).parent)


def palettes_by_path(folder: Path) -> Callable[[str], str | None]:
    """Gives the palette of a photo's series. folder: of the series step."""
    found = {row["folder"]: row["palette"] for row in read_rows(folder / SERIES_NAME)}
    return lambda path: found.get(series_of(path))


def _parts(manifest: list[dict[str, Any]]) -> list[list[dict[str, Any]]]:
    """The photos that are asked, several small folders together."""
    folders: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for row in sorted(manifest, key=lambda row: str(row["path"])):
        folders[series_of(row["path"])].append(row)
    parts: list[list[dict[str, Any]]] = [[]]
    for name, rows in sorted(folders.items()):
        asked = [rows[i] | {"series": name} for i in spread_evenly(len(rows), _ASKED)]
        if parts[-1] and len(parts[-1]) + len(asked) > _PHOTOS:
            parts.append([])
        parts[-1] += asked
    return [part for part in parts if part]


def _identity(item: SeriesItem) -> list[Any]:
    return [[photo["path"], photo["sha256"]] for photo in item.photos]


def _finish(folder: Path, records: Mapping[str, ItemRecord]) -> Published:
    rows = [row for name in sorted(records) for row in records[name].facts["series"]]
    write_table(folder / SERIES_NAME, rows, COLUMNS)
    return Published(outputs=[folder / SERIES_NAME], identity=rows, counts={"done": len(rows)})
