"""Preprocess: crop, flip and saturate every dataset into Lab shards."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from flows.pipeline import run_stages
from tasks.config.file import load_workflow
from tasks.config.parameters import check_parameters
from tasks.control import flow
from tasks.graph import with_compute
from tasks.prefect_server.known_errors import say_known_errors_in_one_line
from tasks.results import RunResult


@flow("preprocess")
def preprocess_flow(
    config: str,
    only: list[str] | None = None,
    force: bool = False,
    workers: int | None = None,
    compute: dict[str, Any] | None = None,
) -> RunResult:
    """Bring the preprocess stage of a chromaflow.toml up to date; the stages before it must be.

    config: its path. only: categories. force: compute again. workers: Dask processes, 0 for
    one a core; None for the config's. compute: fields of [compute] to replace.
    """
    say_known_errors_in_one_line()
    check_parameters(preprocess_flow.fn, locals())
    workflow = with_compute(load_workflow(Path(config)), workers=workers, compute=compute)
    return run_stages(
        workflow, "preprocess", "preprocess", only or [], ["preprocess"] if force else []
    )
