"""`chromaflow colorize` in this process, for tests: no Prefect, no Dask worker."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from distributed import LocalCluster

from storage.records.workspace import Workspace
from tasks.archive.workflow import archive_workflow
from tasks.colorize import colorize
from tasks.compute.cluster import Cluster
from tasks.config.model import ComputeConfig
from tasks.config.request import ColorizeRequest
from tasks.engine.execute import Run
from tasks.engine.progress import open_terminal
from tasks.engine.retry import Retry
from tasks.graph import build_steps, stage_slots
from tasks.ingest import ingest


@contextmanager
def local_cluster() -> Iterator[str]:
    """A Dask scheduler and worker in this process; gives their address."""
    with LocalCluster(
        n_workers=1,
        threads_per_worker=1,
        processes=False,
        dashboard_address="127.0.0.1:0",
        silence_logs=50,
    ) as cluster:
        yield cluster.scheduler_address


def colorize_here(
    address: str, archive: object, output: Path, retry: Retry | None = None, **options: Any
) -> dict[str, int]:
    """Both stages of `chromaflow colorize`, called as functions. Returns the counts."""
    workflow = archive_workflow(ColorizeRequest.of({"archive": str(archive), **options}), output)
    Workspace(workflow.workspace).create()
    cluster = Cluster(ComputeConfig(scheduler=address), stage_slots(workflow, "colorize", 1))
    try:
        with open_terminal() as terminal:
            run = Run(workflow, terminal, cluster, {}, retry=retry)
            first, second = build_steps(workflow)
            return dict(colorize.fn(second, [ingest.fn(first, [], run)], run).counts)
    finally:
        cluster.close()
