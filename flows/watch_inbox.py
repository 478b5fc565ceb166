"""Watch an inbox: colour the photos that are new in a folder."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from flows.pipeline import run_stages
from storage.records.names import STATE_NAME
from storage.records.workspace import Workspace
from tasks.archive.ownership import claimed, refuse_others
from tasks.archive.workflow import archive_workflow
from tasks.config.parameters import check_parameters
from tasks.config.request import ColorizeRequest
from tasks.control import flow
from tasks.graph import build_steps, with_compute
from tasks.inbox.arrivals import InboxReport, is_published, look, report
from tasks.inbox.copies import inbox_output, kept_copies, own_output
from tasks.prefect_server.known_errors import say_known_errors_in_one_line
from tasks.results import RunFailedError


@flow("watch-inbox")
def watch_inbox_flow(
    inbox: str,
    output: str | None = None,
    models: str | None = None,
    experts: str = "best",
    settings: dict[str, Any] | None = None,
    settle_seconds: float = 5.0,
    workers: int | None = None,
    compute: dict[str, Any] | None = None,
) -> InboxReport:
    """Colour the photos that are new in a folder; those still being written wait for the next run.

    A photo that leaves the inbox leaves its colour copy behind.

    Args:
        inbox: Folder that photos arrive in.
        output: Folder that the colour copies go to; its state is kept in output/.chromaflow. Without it,
            INBOX-colour beside the inbox: a folder that no other flow writes to.
        models: A chromaflow.toml whose trained experts and [compute] to use; without it, the
            starter's.
        experts: best takes the starter's where an expert of models scored worse; mine takes it all the
            same.
        settings: Fields of [colorize] to replace; 0, false and "" count, null does not.
        settle_seconds: A new file whose size or time changes within so many seconds is left alone.
        workers: Dask processes, 0 for one a core; without it, the config's number.
        compute: Fields of [compute] to replace, as threads, memory_per_worker, nice; null does not.
    """
    say_known_errors_in_one_line()
    check_parameters(watch_inbox_flow.fn, locals())
    folder = inbox_output(output or own_output(inbox))
    refuse_others(folder)
    arrival = look(Path(inbox), folder, settle_seconds)
    workspace = Workspace(folder / STATE_NAME)
    if not arrival.location:
        return report(workspace, arrival)
    request = ColorizeRequest(
        archive=arrival.location, models=models, experts=experts, settings=settings or {}
    )
    workflow = archive_workflow(request, folder)
    workflow = claimed(with_compute(workflow, workers=workers, compute=compute))
    if is_published(build_steps(workflow)):
        return report(workspace, arrival)
    try:
        kept = kept_copies(folder, arrival.new, arrival.whole)
        result = run_stages(workflow, "ingest", "colorize", around=kept)
    except RunFailedError as error:
        report(workspace, arrival, error.result)
        raise
    return report(workspace, arrival, result)
