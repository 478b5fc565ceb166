"""Colorize: an archive of gray photos in, colour out, with trained or starter experts."""

from __future__ import annotations

from typing import Any

from prefect import flow

from flows.pipeline import run_stages
from tasks.archive import archive_request, archive_workflow
from tasks.graph import with_cluster, with_workers
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
    cluster: str = "",
    retry: list[str] | None = None,
    delete: bool = False,
    add: bool = False,
) -> RunResult:
    """Colour every photo of an archive.

    Args:
        archive: A folder, BagIt bag, zip or tar, a pattern, a URL, or list:FILE.
        output: Folder or URL where the mirrored tree goes; its state is kept in output/.chromaflow.
        models: A chromaflow.toml whose trained experts and [compute] to use; without it, the
            starter's.
        include: Patterns of the only files to read, as in .gitignore.
        exclude: Patterns of files to leave out.
        bag: Make the output a BagIt bag.
        settings: Fields of [colorize] to replace.
        force: Colour again what is done.
        workers: Dask processes; 0 for the config's number, or one a core.
        cluster: Address of a running Dask scheduler; without it, processes of this machine.
        retry: Codes of the quarantined photos to try again; [] for those whose cause may have passed.
        delete: Remove outputs whose originals are gone or left out.
        add: Keep the archive beside another one in output.
    """
    request = archive_request(
        archive,
        models=models,
        include=include or (),
        exclude=exclude or (),
        bag=bag,
        settings=settings,
    )
    workflow = archive_workflow(output=output, **request)
    return run_stages(
        with_cluster(with_workers(workflow, workers), cluster),
        "ingest",
        "colorize",
        force=["colorize"] if force else [],
        retry=None if retry is None else Retry.of(retry),
        request=request,
        delete=delete,
        add=add,
    )
