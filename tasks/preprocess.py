"""Preprocess: a manifest → Lab shards and rows.parquet (paper sections 1.2 and 1.3)."""

from __future__ import annotations

from pathlib import Path

from prefect import task
from prefect.cache_policies import NO_CACHE

from storage.errors import NoInputError
from storage.manifest import read_rows, write_table
from storage.shards import create_array, num_shards, shard_range
from tasks.execute import Published, Record, Run, Work, execute
from tasks.ingest import MANIFEST_NAME
from tasks.jobs.preprocess import ROW_COLUMNS, STORE_NAME, ShardItem, preprocess_shard
from tasks.stages import StageRef, Step, source_of

SPLITS = ("train", "val")


@task(name="preprocess", task_run_name="preprocess-{step.key}", cache_policy=NO_CACHE)
def preprocess(step: Step, upstream: list[StageRef], run: Run) -> StageRef:
    """Crop, flip and saturate every photo of a category into Lab shards, one future a shard."""

    def items(folder: Path) -> list[ShardItem]:
        return _shard_items(step, folder)

    work = Work(items=items, job=preprocess_shard, finish=_finish)
    return execute(step, upstream, run, work)


def _shard_items(step: Step, folder: Path) -> list[ShardItem]:
    ingested = step.workspace.current("ingest", step.key)
    manifest = read_rows(ingested / MANIFEST_NAME)
    if not manifest:
        raise NoInputError(
            f"Expected usable photos of {step.key}, got none. `chromaflow status` says why."
        )
    source = source_of(step.workspace, step.key)
    items = []
    for split in SPLITS:
        rows = [row for row in manifest if row["split"] == split]
        if rows:
            create_array(folder / STORE_NAME, split, len(rows), step.config["size"])
        for shard in range(num_shards(len(rows))):
            span = shard_range(shard, len(rows))
            items.append(
                ShardItem(
                    name=f"{split}-{shard:06d}",
                    folder=str(folder),
                    source=source,
                    photos=tuple(rows[span.start : span.stop]),
                    config=step.config,
                    split=split,
                    shard=shard,
                    num_photos=len(rows),
                )
            )
    return items


def _finish(folder: Path, records: dict[str, Record]) -> Published:
    rows = [row for name in sorted(records) for row in records[name]["rows"]]
    write_table(folder / "rows.parquet", rows, ROW_COLUMNS)
    store = folder / STORE_NAME
    metadata = sorted(store.rglob("zarr.json"))
    counts = {split: sum(row["split"] == split for row in rows) for split in SPLITS}
    return Published(
        outputs=[folder / "rows.parquet", *metadata],
        identity=rows,
        counts={"done": len(rows), **counts},
    )
