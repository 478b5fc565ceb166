"""Ingest: a folder of photos → manifest.parquet and quarantine.parquet."""

from __future__ import annotations

from pathlib import Path

from prefect import task
from prefect.cache_policies import NO_CACHE

from storage.manifest import MANIFEST_COLUMNS, write_table
from storage.sources import list_files
from tasks.execute import Published, Record, Run, Work, execute
from tasks.jobs.ingest import ingest_chunk
from tasks.jobs.items import PhotoItem
from tasks.stages import StageRef, Step

MANIFEST_NAME = "manifest.parquet"
_PHOTOS_PER_CHUNK = 256


@task(name="ingest", task_run_name="ingest-{step.key}", cache_policy=NO_CACHE)
def ingest(step: Step, upstream: list[StageRef], run: Run) -> StageRef:
    """List a source, hash and check every photo in it, and write its manifest."""

    def items(folder: Path) -> list[PhotoItem]:
        source = step.config["source"]
        files = [{"path": file.path} for file in list_files(Path(source))]
        starts = range(0, len(files), _PHOTOS_PER_CHUNK)
        return [
            PhotoItem(
                name=f"{number:06d}",
                folder=str(folder),
                source=source,
                photos=tuple(files[start : start + _PHOTOS_PER_CHUNK]),
                config=step.config,
            )
            for number, start in enumerate(starts)
        ]

    work = Work(items=items, job=ingest_chunk, finish=_finish)
    return execute(step, upstream, run, work)


def _finish(folder: Path, records: dict[str, Record]) -> Published:
    rows = [row for name in sorted(records) for row in records[name]["rows"]]
    write_table(folder / MANIFEST_NAME, rows, MANIFEST_COLUMNS)
    ignored = sum(record["num_ignored"] for record in records.values())
    return Published(
        outputs=[folder / MANIFEST_NAME],
        identity=[[row["path"], row["sha256"], row["split"]] for row in rows],
        counts={"done": len(rows), "ignored": ignored},
    )
