"""Colorize: an archive of gray photos in, colour out, with trained or starter experts."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from prefect import flow

from flows.pipeline import run_stages
from tasks.archive import archive_request, archive_workflow
from tasks.graph import with_workers
from tasks.results import RunResult
from tasks.retry import Retry


@flow(name="colorize")
def colorize_flow(
    archive: str,
    output: str,
    models: str | None = None,
    include: list[str] | None = None,
    exclude: list[str] | None = None,
    bag: bool = False,
    settings: dict[str, Any] | None = None,
    force: bool = False,
    workers: int = 0,
    retry: list[str] | None = None,
) -> RunResult:
    """Colour every photo of an archive.

    archive: a folder, BagIt bag, zip or tar, a pattern, a URL, or list:FILE. output: where the
    mirrored tree goes; its state is kept in output/.chromaflow. models: a chromaflow.toml whose
    trained experts to use; default: the starter's. include, exclude: patterns as in .gitignore. bag:
    make the output a BagIt bag. settings: fields of [colorize] to replace. force: colour again what
    is done. workers: Dask processes. retry: codes of the quarantined photos to try again; [] for
    those whose cause may have passed.
    """
    request = archive_request(
        archive,
        models=models,
        include=include or (),
        exclude=exclude or (),
        bag=bag,
        settings=settings,
    )
    workflow = with_workers(archive_workflow(output=Path(output), **request), workers)
    return run_stages(
        workflow,
        "ingest",
        "colorize",
        force=["colorize"] if force else [],
        retry=None if retry is None else Retry.of(retry),
        request=request,
    )
