"""Colorize: an archive's manifest → coloured derivatives and a contact sheet."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any

from prefect import task
from prefect.cache_policies import NO_CACHE

from colorization.categories import CATEGORY_NAMES
from colorization.segmenter_names import is_import_path
from storage.bags import write_bag
from storage.checkpoints import WEIGHTS_NAME
from storage.errors import NoInputError
from storage.fingerprint import hash_file
from storage.ledger import FileRecord, damage, read_json
from storage.manifest import read_rows
from storage.outputs import output_names
from storage.visible import visible
from tasks.execute import Published, Record, Run, Work, execute
from tasks.hints import read_hints, with_hints
from tasks.ingest import MANIFEST_NAME
from tasks.jobs.items import spread_evenly
from tasks.jobs.stage_items import TRUTH, ColorizeItem, ModelSpec, SheetItem
from tasks.models import expert_files, require, segmenter_file
from tasks.stages import StageRef, Step, source_of
from tasks.verification import read_success, root_of

SHEET_ITEM = "sheet"
_CHUNK_PIXELS = 12e6
"""Of a chunk: one more photo begins the next one. What a kill loses stays at about a second of work,
and an archive of small photos costs no future for every few of them."""


@task(name="colorize", task_run_name="colorize-{step.key}", cache_policy=NO_CACHE)
def colorize(step: Step, upstream: list[StageRef], run: Run) -> StageRef:
    """Colour every photo of an archive, one future a chunk, and draw its contact sheet."""

    def items(folder: Path) -> list[ColorizeItem]:
        ingested = step.workspace.current("ingest", step.key)
        manifest = read_rows(ingested / MANIFEST_NAME)
        if not manifest:
            raise NoInputError(_nothing(step, ingested))
        return _items(step, run, folder, manifest)

    def finish(folder: Path, records: dict[str, Record]) -> Published:
        return _finish(step, run, folder, records)

    work = Work(items=items, finish=finish, identity=_identity)
    return execute(step, upstream, run, work)


def _nothing(step: Step, ingested: Path) -> str:
    """That an archive holds no photo to colour, with all that was found or left out, by count."""
    success = read_success(ingested) or {"counts": {}}
    counts = {name: count for name, count in success["counts"].items() if name != "done" and count}
    if "ignored" in counts:
        counts["text beside photos"] = counts.pop("ignored")
    refused = read_rows(ingested / "quarantine.parquet")
    by_code = Counter(row["code"] for row in refused)
    found = [f"{count} {name}" for name, count in sorted(counts.items())]
    for code, count in by_code.most_common():
        first = next(row for row in refused if row["code"] == code)
        found.append(f"{count} {code} (as {visible(first['path'])}: {visible(first['detail'])})")
    return (
        f"Expected photos in {source_of(step.workspace, step.key)}, found none that can be coloured: "
        f"{'; '.join(found) or 'it is empty'}. Check the path and the patterns; "
        "`chromaflow explain CODE` says what helps."
    )


def _items(
    step: Step, run: Run, folder: Path, manifest: list[dict[str, Any]]
) -> list[ColorizeItem]:
    assert run.workflow.archive is not None
    archive, config = run.workflow.archive, run.workflow.colorize
    names = output_names(row["path"] for row in manifest)
    manifest = [row | {"output": names[row["path"]]} for row in manifest]
    if config.hints:
        refused = read_rows(step.workspace.current("ingest", step.key) / "quarantine.parquet")
        unusable = [row["path"] for row in refused]
        manifest = with_hints(manifest, read_hints(Path(config.hints)), unusable)
    common: dict[str, Any] = {
        "folder": str(folder),
        "source": source_of(step.workspace, step.key),
        "config": config.output_parts() | {"version": version("chromaflow")},
        "models": _models(step, run),
        "output": str(archive.photos_root),
    }
    chunks = [
        ColorizeItem(name=name, photos=tuple(rows), **common)
        for name, rows in _chunks(manifest, config.chunk)
    ]
    photos = tuple(manifest[i] for i in spread_evenly(len(manifest), config.sheet))
    if not photos:
        return list(chunks)
    truth = str(archive.truth) if archive.truth else None
    digest = step.inputs.get(TRUTH, "")
    return [
        *chunks,
        SheetItem(name=SHEET_ITEM, photos=photos, truth=truth, truth_digest=digest, **common),
    ]


def _chunks(
    manifest: list[dict[str, Any]], most: int
) -> Iterator[tuple[str, list[dict[str, Any]]]]:
    """Names and rows of chunks: of `most` neighbouring positions, cut where they grow too large.

    Photos that come or go later change the chunks of their own positions only.
    """
    windows: dict[int, list[dict[str, Any]]] = defaultdict(list)
    for row in manifest:
        windows[row["position"] // most].append(row)
    for number, rows in sorted(windows.items()):
        parts: list[list[dict[str, Any]]] = [[]]
        num_pixels = 0
        for row in rows:
            num_pixels += row["width"] * row["height"]
            if parts[-1] and num_pixels > _CHUNK_PIXELS:
                parts.append([])
                num_pixels = row["width"] * row["height"]
            parts[-1].append(row)
        for k, part in enumerate(parts):
            yield f"{number:06d}" + (f"-{k}" if k else ""), part


def _models(step: Step, run: Run) -> ModelSpec:
    """Experts trained in this workspace; named or starter ones for the other categories."""
    config = run.workflow.colorize
    datasets = run.workflow.datasets
    files = expert_files(datasets, run.workflow.experts)
    paths = {category: require(model) for category, model in files.items()}
    for category in datasets:
        paths[category] = step.workspace.current("train", category).resolve() / WEIGHTS_NAME
    segmenter = require(segmenter_file(config.segmenter, config.segmenter_weights))
    is_code = is_import_path(config.segmenter) and not config.segmenter_weights
    return ModelSpec(
        experts=tuple((category, str(paths[category])) for category in CATEGORY_NAMES),
        segmenter=config.segmenter,
        segmenter_weights="" if is_code else str(segmenter),
        classes=tuple(config.classes.items()),
        hashes=(
            *((category, hash_file(paths[category])) for category in CATEGORY_NAMES),
            (f"segmenter {config.segmenter}", hash_file(segmenter)),
        ),
        merge=config.merge_options,
        uncertainty=config.uncertainty,
        short_side=config.short_side,
        num_threads=run.cluster.slots.threads,
        device=run.cluster.slots.device,
    )


def _identity(item: ColorizeItem) -> list[Any]:
    photos = [
        [photo["path"], photo["sha256"], photo["output"], photo.get("hints")]
        for photo in item.photos
    ]
    return [item.truth_digest if isinstance(item, SheetItem) else None, photos]


def _finish(step: Step, run: Run, folder: Path, records: dict[str, Record]) -> Published:
    archive = run.workflow.archive
    assert archive is not None
    files = [FileRecord(**file) for record in records.values() for file in record["files"]]
    _remove_superseded(step, folder, {file.path for file in files})
    tags = write_bag(archive.output, files, {}) if archive.bag else []
    done = sum(len(record["outputs"]) for name, record in records.items() if name != SHEET_ITEM)
    return Published(outputs=tags, counts={"done": done})


def _remove_superseded(step: Step, folder: Path, kept: set[str]) -> None:
    """Delete what the run before wrote and this one does not: of photos that are gone, of other
    settings. What was changed since is somebody's, and stays."""
    earlier = step.workspace.current(step.stage, step.key).resolve()
    success = read_success(earlier)
    if success is None or earlier == folder.resolve():
        return
    root = root_of(step.workspace, earlier, success)
    same_root = step.output_root is not None and root == step.output_root.resolve()
    for path in (earlier / "done").glob("*.json"):
        for file in (read_json(path) or {"files": []})["files"]:
            if (file["path"] not in kept or not same_root) and damage(root, file) is None:
                (root / file["path"]).unlink()
