"""Colorize: an archive of gray photos in, colour out, with trained or starter experts."""

from __future__ import annotations

from pathlib import Path

from prefect import flow

from flows.pipeline import run_stages
from tasks.archive import archive_workflow
from tasks.graph import with_workers
from tasks.results import RunResult


@flow(name="colorize")
def colorize_flow(
    archive: str,
    output: str,
    models: str | None = None,
    segmenter: str | None = None,
    merge: str | None = None,
    force: bool = False,
    workers: int = 0,
) -> RunResult:
    """Colour every photo of a folder.

    archive: the folder. output: where the mirrored tree goes; its state is kept in
    output/.chromaflow. models: a chromaflow.toml whose trained experts to use; default: the
    starter's. segmenter, merge: override the config's. force: colour again what is done.
    workers: Dask processes.
    """
    workflow = archive_workflow(
        Path(archive),
        Path(output),
        models=Path(models) if models else None,
        segmenter=segmenter,
        merge=merge,
    )
    workflow = with_workers(workflow, workers)
    return run_stages(workflow, "ingest", "colorize", [], ["colorize"] if force else [])
