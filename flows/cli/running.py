"""Commands that run a flow: what is checked before it, what is said of its result, its exit code."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from flows.cli.ending import say_result
from flows.cli.signals import ended_by_term
from flows.cli.terminal import print_json, say

if TYPE_CHECKING:
    from storage.records.workspace import Workspace
    from tasks.config.model import Workflow
    from tasks.prefect_server.ephemeral import EphemeralServer
    from tasks.results import RunResult


def run_flow(name: str, config: Path, parameters: dict[str, Any], as_json: bool) -> None:
    """Check the config before anything slow is imported, then run the flow."""
    from tasks.config.file import load_workflow

    workflow = load_workflow(config)  # what is wrong in it is said before numpy is imported
    from tasks.archive.ownership import claimed
    from tasks.graph import build_steps, select, with_compute

    run_on = {name: parameters.get(name) for name in ("workers", "cluster", "compute")}
    workflow = with_compute(workflow, **run_on)
    workflow = claimed(workflow, add=parameters.get("add", False))
    asked = ("from_stage", "until_stage", "only")
    chosen = {key: parameters[key] for key in asked if parameters.get(key) is not None}
    force = parameters.get("force")
    stages = force if isinstance(force, list) else []  # of one stage it is a flag
    select(build_steps(workflow), force=stages, **chosen)
    call_flow(name, workflow, parameters, as_json)


def call_flow(
    name: str,
    workflow: Workflow,
    parameters: dict[str, Any],
    as_json: bool,
    *,
    by_name: bool = False,
) -> None:
    """Run the flow of flows/NAME.py and end the command with its exit code. by_name: see `say_result`."""
    result = result_of(name, workflow, parameters)
    if as_json:
        print_json(result.to_dict())
    else:
        say_result(result, workflow, parameters, by_name=by_name)
    raise typer.Exit(result.exit_code)


def result_of(name: str, workflow: Workflow, parameters: dict[str, Any]) -> RunResult:
    """Run the flow of flows/NAME.py on a free workspace."""
    from storage.records.workspace import Workspace
    from tasks.compute.forks import begin_forks
    from tasks.control import go_without_prefect
    from tasks.prefect_server.asked import is_asked_for

    workspace = Workspace(workflow.workspace)
    workspace.create()
    with workspace.lock():  # where another run holds it, say so before anything slow
        server = None
        if not workflow.compute.is_elsewhere and _is_first(name, workspace):
            begin_forks()
        say(f"Starting {name}; what it needs is loaded in some seconds.")
        if is_asked_for():
            server = _begin_prefect(workspace.prefect_home)
        else:
            go_without_prefect()
    try:
        flow = getattr(import_module(f"flows.{name}"), f"{name}_flow")
        from tasks.results import flow_result

        with _used(server):
            return flow_result(flow, parameters)
    except KeyboardInterrupt:
        say("Interrupted. What is done is kept; run the same command to go on.")
        raise typer.Exit(130) from None


def _is_first(name: str, workspace: Workspace) -> bool:
    """Whether nothing is published yet: then there is work for Dask workers, and soon."""
    if name == "colorize":
        return not workspace.current("colorize", "archive").exists()
    return not workspace.all_current()


def _begin_prefect(home: Path) -> EphemeralServer | None:
    """Check Prefect's settings; a server of the command's own starts in the meantime."""
    from tasks.prefect_server.database import provide_database
    from tasks.prefect_server.environment import configure_prefect
    from tasks.prefect_server.ephemeral import begin_server
    from tasks.prefect_server.settings import check_settings

    configure_prefect(home)
    provide_database(home)
    server = begin_server()  # it starts while Prefect and the flow are imported
    check_settings()
    return server


@contextmanager
def _used(server: EphemeralServer | None) -> Iterator[None]:
    """Have flows use the server that Prefect's settings name, or the command's own; none without Prefect."""
    from tasks.control import is_with_prefect

    if not is_with_prefect():
        with ended_by_term():
            yield
        return
    from tasks.prefect_server.server import check_server

    check_server()
    if server is None:
        yield
        return
    server.use()
    with server.without_heartbeats():
        yield
