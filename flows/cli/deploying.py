"""`chromaflow deploy` and `serve`: the flows as deployments on a running Prefect server."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from flows.cli.terminal import Json, print_json, say

if TYPE_CHECKING:
    from tasks.prefect_server.deployments import Deployment

app = typer.Typer()
File = Annotated[
    Path | None, typer.Option(help="A prefect.yaml; else that of this folder, else the package's.")
]
Names = Annotated[
    list[str] | None, typer.Argument(metavar="[NAME]...", help="Only these deployments; else all.")
]


@app.command()
def deploy(
    names: Names = None,
    file: File = None,
    gpu_runs: Annotated[
        int | None, typer.Option(help="Runs that may use GPUs at a time; at first 1.")
    ] = None,
    notify: Annotated[
        list[str] | None,
        typer.Option(
            metavar="ADDRESS",
            envvar="CHROMAFLOW_NOTIFY",
            show_envvar=False,
            help="Tell of runs that fail, crash or leave photos in quarantine: https://… or mailtos://…; "
            'repeatable; "" ends it.',
        ),
    ] = None,
    as_json: Json = False,
) -> None:
    """Create or update work pool, limits, automation and deployments on PREFECT_API_URL."""
    path, chosen = _chosen(file, names)
    from tasks.prefect_server.deploy import deploy as deploy_them

    changes = deploy_them(chosen, gpu_runs, notify)
    if as_json:
        print_json({"changes": [change.to_dict() for change in changes]})
        return
    for change in changes:
        say(f"{change.action:<8} {change.what:<42} {change.detail}".rstrip())
    say(f"Deployments of {path}. Their runs wait for `prefect worker start --pool chromaflow`.")


@app.command()
def serve(
    names: Names = None,
    file: File = None,
    limit: Annotated[int, typer.Option(help="Runs at a time.")] = 1,
) -> None:
    """Run the deployments from this process, without a work pool; Ctrl-C ends it."""
    path, chosen = _chosen(file, names)
    from tasks.prefect_server.serving import serve as serve_them

    serve_them(chosen, limit)


def _chosen(file: Path | None, names: list[str] | None) -> tuple[Path, list[Deployment]]:
    """The file and what is chosen of it. Names, then Prefect's settings, are checked before anything
    slow is imported."""
    from tasks.prefect_server.deployments import choose, find_deployments, read_deployments
    from tasks.prefect_server.settings import load_settings

    path = file or find_deployments(Path.cwd())
    chosen = choose(read_deployments(path, Path.cwd()), names or ())
    load_settings()
    return path, chosen
