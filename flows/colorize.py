"""Colorize: an archive of gray photos in, colour out, with trained or starter experts."""

from __future__ import annotations

from typing import Any

from flows.pipeline import run_stages
from tasks.archive.workflow import archive_workflow, located
from tasks.config.parameters import check_parameters
from tasks.config.request import ColorizeRequest
from tasks.control import flow
from tasks.engine.retry import Retry
from tasks.graph import with_compute
from tasks.prefect_server.known_errors import say_known_errors_in_one_line
from tasks.results import RunResult


@flow("colorize")
def colorize_flow(
    archive: str,
    output: str,
    models: str | None = None,
    experts: str = "best",
    include: list[str] | None = None,
    exclude: list[str] | None = None,
    follow: bool = True,
    encoding: str = "",
    bag: bool = False,
    settings: dict[str, Any] | None = None,
    force: bool = False,
    workers: int | None = None,
    cluster: str | None = None,
    compute: dict[str, Any] | None = None,
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
        experts: best takes the starter's where an expert of models scored worse; mine takes it all the
            same.
        include: Patterns of the only files to read, as in .gitignore.
        exclude: Patterns of files to leave out.
        follow: Whether links to files and folders are followed.
        encoding: Of names in zips and tars that are not UTF-8, as cp932.
        bag: Make the output a BagIt bag.
        settings: Fields of [colorize] to replace; 0, false and "" count, null does not.
        force: Colour again what is done.
        workers: Dask processes, 0 for one a core; without it, the config's number.
        cluster: Address of a running Dask scheduler; without it, the cluster of the models' config.
            Empty: processes of this machine.
        compute: Fields of [compute] to replace, as threads, memory_per_worker, nice; null does not.
        retry: Codes of the quarantined photos to try again; [] for those whose cause may have passed.
        delete: Remove outputs whose originals are gone or left out.
        add: Keep the archive beside another one in output.
    """
    say_known_errors_in_one_line()
    check_parameters(colorize_flow.fn, locals())
    request = located(ColorizeRequest.of(locals()))
    workflow = archive_workflow(request, output)
    return run_stages(
        with_compute(workflow, workers=workers, cluster=cluster, compute=compute),
        "ingest",
        "colorize",
        force=["colorize"] if force else [],
        retry=None if retry is None else Retry.of(retry),
        request=request.to_dict(),
        delete=delete,
        add=add,
    )
