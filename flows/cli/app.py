"""The `chromaflow` command: parse, call a flow or a query, print.

torch and Prefect are imported only by the commands that run flows. `colorize` and `retry` are in
`flows.cli.colorizing`, `evaluate` in `flows.cli.evaluating`, `review` in `flows.cli.reviewing`, commands that only look in
`flows.cli.inspecting` and `flows.cli.history`, those of models in `flows.cli.models`, those of
deployments in `flows.cli.deploying`; what runs a flow is in `flows.cli.running`.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

from chromaflow.errors import ChromaflowError
from flows.cli.colorizing import app as colorizing_app
from flows.cli.commands import Commands
from flows.cli.deploying import app as deployment_app
from flows.cli.evaluating import app as evaluating_app
from flows.cli.history import app as looking_back_app
from flows.cli.inspecting import app as looking_app
from flows.cli.models import models_app
from flows.cli.resources import Cluster, Memory, Nice, Threads, Workers, resources
from flows.cli.reviewing import app as reviewing_app
from flows.cli.running import run_flow
from flows.cli.terminal import (
    DEFAULT_CONFIG,
    Add,
    Config,
    Delete,
    Force,
    Json,
    Only,
    Quiet,
    Verbose,
    answer,
    end_with_error,
    say,
)
from storage.children import shut_out_working_folder

app = typer.Typer(
    no_args_is_help=True,
    cls=Commands,
    pretty_exceptions_enable=False,
)

app.add_typer(colorizing_app)
app.add_typer(evaluating_app)
app.add_typer(reviewing_app)
app.add_typer(looking_app)
app.add_typer(deployment_app)
app.add_typer(looking_back_app)
app.add_typer(models_app, name="models")


def main() -> None:
    """Run the command; every known error is one line on stderr and its own exit code."""
    shut_out_working_folder()
    from flows.cli.streams import hold_streams

    hold_streams()
    try:
        app()
    except ChromaflowError as error:
        end_with_error(error)


def _say_version(value: bool) -> None:
    if value:
        from importlib.metadata import version

        answer(f"chromaflow {version('chromaflow')}")
        raise typer.Exit


@app.callback()
def about(
    version: Annotated[
        bool, typer.Option("--version", callback=_say_version, is_eager=True, help="Say which.")
    ] = False,
) -> None:
    """Colorize black-and-white photo archives with models that you train."""


@app.command()
def demo(folder: Annotated[Path, typer.Option(help="Where it works.")] = Path("demo")) -> None:
    """Do the main job in small, on photos from scikit-image's wheel."""
    from tasks.config.demo import write_demo

    config = write_demo(folder)
    run_flow("pipeline", config, {"config": str(config)}, as_json=False)


@app.command()
def init(config: Config = DEFAULT_CONFIG) -> None:
    """Write a commented chromaflow.toml to start from."""
    from tasks.config.template import write_template

    write_template(config)
    say(f"Wrote {config}. Name your folders in it, then `chromaflow plan`.")


@app.command()
def run(
    config: Config = DEFAULT_CONFIG,
    from_stage: Annotated[str, typer.Option("--from", help="First stage.")] = "ingest",
    until_stage: Annotated[str, typer.Option("--until", help="Last stage.")] = "colorize",
    only: Only = None,
    force: Annotated[list[str] | None, typer.Option(help="A stage to compute again.")] = None,
    delete: Delete = False,
    add: Add = False,
    workers: Workers = None,
    threads: Threads = None,
    memory: Memory = None,
    nice: Nice = None,
    cluster: Cluster = None,
    quiet: Quiet = False,
    verbose: Verbose = False,
    as_json: Json = False,
) -> None:
    """Bring every stage up to date; what is done already is skipped."""
    parameters: dict[str, Any] = {
        "config": str(config),
        "from_stage": from_stage,
        "until_stage": until_stage,
        "only": only,
        "force": force,
        "delete": delete,
        "add": add,
        "cluster": cluster,
        **resources(workers, threads, memory, nice),
    }
    run_flow("pipeline", config, parameters, as_json)


def _stage_command(stage: str, summary: str) -> Callable[..., None]:
    def command(
        config: Config = DEFAULT_CONFIG,
        only: Only = None,
        force: Force = False,
        workers: Workers = None,
        threads: Threads = None,
        memory: Memory = None,
        nice: Nice = None,
        quiet: Quiet = False,
        verbose: Verbose = False,
        as_json: Json = False,
    ) -> None:
        asked = resources(workers, threads, memory, nice)
        parameters = {"config": str(config), "only": only, "force": force, **asked}
        run_flow(stage, config, parameters, as_json)

    command.__doc__ = summary
    return command


app.command("ingest")(_stage_command("ingest", "Read photos into manifests."))
app.command("preprocess")(_stage_command("preprocess", "Crop, flip, saturate into Lab shards."))
app.command("train")(_stage_command("train", "Train one colorizer a category."))
