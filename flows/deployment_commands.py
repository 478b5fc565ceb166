"""`chromaflow deploy` and `serve`: the flows as deployments on a running Prefect server."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from flows.terminal import Json, print_json, say

app = typer.Typer()
File = Annotated[
    Path | None, typer.Option(help="A prefect.yaml; else that of this folder, else the package's.")
]


@app.command()
def deploy(
    file: File = None,
    gpu_runs: Annotated[
        int | None, typer.Option(help="Runs that may use GPUs at a time; at first 1.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Create or update work pool, limits, automation and deployments on PREFECT_API_URL."""
    from tasks.deployments import find_deployments, read_deployments

    path = file or find_deployments(Path.cwd())
    deployments = read_deployments(path, Path.cwd())
    from tasks.deploy import deploy as deploy_all  # Prefect, once the file is right

    changes = deploy_all(deployments, gpu_runs)
    if as_json:
        print_json([change.to_dict() for change in changes])
        return
    for change in changes:
        say(f"{change.action:<8} {change.what:<42} {change.detail}".rstrip())
    say(f"Deployments of {path}. Their runs wait for `prefect worker start --pool chromaflow`.")


@app.command()
def serve(
    file: File = None,
    limit: Annotated[int, typer.Option(help="Runs at a time.")] = 1,
) -> None:
    """Run all deployments from this process, without a work pool; Ctrl-C ends it."""
    from tasks.deployments import find_deployments, read_deployments

    path = file or find_deployments(Path.cwd())
    deployments = read_deployments(path, Path.cwd())
    from tasks.serving import serve as serve_all  # Prefect, once the file is right

    serve_all(deployments, limit)
