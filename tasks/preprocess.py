"""Preprocess: a manifest → Lab shards and rows.parquet (paper sections 1.2 and 1.3)."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from storage.errors import UsageError
from storage.records.item_record import ItemRecord
from storage.records.ledger import read_json
from storage.records.manifest import SPLITS
from storage.records.names import GENERATION_NAME, MANIFEST_NAME, ROWS_NAME, STORE_NAME
from storage.records.tables import read_rows, write_table
from storage.shards.writing import create_array, shard_of
from tasks.control import task
from tasks.engine.estimate import photo_bytes
from tasks.engine.execute import Published, Run, Work, execute
from tasks.engine.stages import StageRef, Step, source_of
from tasks.jobs.preprocess import ROW_COLUMNS, ShardItem, variants_of


@task("preprocess")
def preprocess(step: Step, upstream: list[StageRef], run: Run) -> StageRef:
    """Crop, flip and saturate every photo of a category into Lab shards, one future a shard."""

    def items(folder: Path) -> list[ShardItem]:
        return _shard_items(step, folder)

    def finish(folder: Path, records: Mapping[str, ItemRecord]) -> Published:
        return _finish(step, folder, records)

    def num_bytes(item: ShardItem) -> int:
        num_rows = len(item.photos) * variants_of(item.split, step.config)
        return int(num_rows * photo_bytes(step.config))

    work = Work(items=items, finish=finish, identity=_identity, num_bytes=num_bytes)
    return execute(step, upstream, run, work)


def _shard_items(step: Step, folder: Path) -> list[ShardItem]:
    """One item a shard that holds photos, by the positions that the manifest gives."""
    ingested = step.workspace.current("ingest", step.key)
    manifest = read_rows(ingested / MANIFEST_NAME)
    if not manifest:
        raise UsageError(
            f"Expected usable photos of {step.key} in {source_of(step.workspace, step.key)}, got "
            "none. Add some or name another source; `chromaflow status` lists what was refused."
        )
    positions = (read_json(ingested / GENERATION_NAME) or {})["positions"]
    photos: dict[tuple[str, int], list[dict[str, Any]]] = defaultdict(list)
    for photo in manifest:
        num_variants = variants_of(photo["split"], step.config)
        first = photo["position"] * num_variants
        for shard in range(shard_of(first), shard_of(first + num_variants - 1) + 1):
            photos[photo["split"], shard].append(photo)
    items = []
    for split, shard in sorted(photos):
        last_row = positions[split] * variants_of(split, step.config) - 1
        create_array(folder / STORE_NAME, split, shard_of(last_row) + 1, step.config["size"])
        items.append(
            ShardItem(
                name=f"{split}-{shard:06d}",
                folder=str(folder),
                source=source_of(step.workspace, step.key),
                photos=tuple(photos[split, shard]),
                config=step.config,
                split=split,
                shard=shard,
            )
        )
    return items


def _identity(item: ShardItem) -> list[Any]:
    return [item.split, item.shard, [[p["position"], p["sha256"]] for p in item.photos]]


def _finish(step: Step, folder: Path, records: Mapping[str, ItemRecord]) -> Published:
    manifest = read_rows(step.workspace.current("ingest", step.key) / MANIFEST_NAME)
    photos = {(row["split"], row["position"]): row for row in manifest}
    rows = [
        row | {"label": photos[row["split"], row["position"]]["label"]}
        for name in sorted(records)
        for row in records[name].facts["rows"]
    ]
    located = [row | {"path": photos[row["split"], row["position"]]["path"]} for row in rows]
    write_table(folder / ROWS_NAME, located, ROW_COLUMNS)
    metadata = sorted((folder / STORE_NAME).rglob("zarr.json"))
    counts = {split: sum(row["split"] == split for row in rows) for split in SPLITS}
    return Published(
        outputs=[folder / ROWS_NAME, *metadata],
        identity=rows,
        counts={"done": len(rows), **{s: n for s, n in counts.items() if n or s != "test"}},
    )
