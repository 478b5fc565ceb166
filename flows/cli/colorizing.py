"""`chromaflow colorize IN OUT`, and `retry` of what failed."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from flows.cli.resources import Cluster, Memory, Nice, Threads, Workers, resources
from flows.cli.running import call_flow, run_flow
from flows.cli.terminal import (
    DEFAULT_CONFIG,
    Add,
    Config,
    Delete,
    Force,
    Json,
    Only,
    Output,
    Quiet,
    Reason,
    Verbose,
)
from flows.cli.to_file import colorize_to_file

app = typer.Typer()


@app.command()
def colorize(
    sources: Annotated[
        list[str],
        typer.Argument(
            metavar="IN",
            help="A photo, or several; or a folder, BagIt bag, .zip, .tar, pattern or URL of gray photos; - "
            "for a list on stdin.",
        ),
    ],
    output: Annotated[
        str,
        typer.Argument(
            metavar="OUT", help="Folder or URL; of one photo also a file, or - for stdout."
        ),
    ],
    models: Annotated[
        Path | None, typer.Option(help="A chromaflow.toml with trained experts.")
    ] = None,
    experts: Annotated[
        str,
        typer.Option(
            metavar="best|mine", help="Of --models, where one scored worse than the starter's."
        ),
    ] = "best",
    include: Annotated[
        list[str] | None, typer.Option(help="Only these, as in .gitignore; repeatable.")
    ] = None,
    exclude: Annotated[
        list[str] | None, typer.Option(help="Not these, as in .gitignore; repeatable.")
    ] = None,
    follow: Annotated[
        bool, typer.Option("--follow/--no-follow", help="Links to files and folders in IN.")
    ] = True,
    encoding: Annotated[
        str, typer.Option(help="Of names in zips and tars that are not UTF-8, as cp932.")
    ] = "",
    segmenter: Annotated[str | None, typer.Option(help="starter or torchvision:NAME.")] = None,
    merge: Annotated[str | None, typer.Option(help="soft or hard.")] = None,
    palette: Annotated[
        str | None,
        typer.Option(help="Which colouring: mean, likely, 1 to 48, or a code of the report."),
    ] = None,
    palette_from: Annotated[
        Path | None, typer.Option(metavar="PHOTO", help="A colour photo whose palette to take.")
    ] = None,
    variants: Annotated[
        int | None, typer.Option(metavar="N", help="Write the N likeliest colourings as well.")
    ] = None,
    series: Annotated[
        str | None, typer.Option(help="folder: photos of one folder share their likeliest palette.")
    ] = None,
    toning: Annotated[
        str | None,
        typer.Option(help="Of sepia: neutral replaces it, keep adds to it; replace: all colour."),
    ] = None,
    accept: Annotated[
        list[str] | None,
        typer.Option(help="Colour ALREADY_COLOR, BILEVEL, MASK or ANIMATED too; repeatable."),
    ] = None,
    accept_photo: Annotated[
        list[str] | None,
        typer.Option(help="Colour these whatever they are, as in .gitignore; repeatable."),
    ] = None,
    pages: Annotated[
        str | None, typer.Option(help="Of several pages colour these, as 1,3-5; copy the others.")
    ] = None,
    sample_range: Annotated[
        str | None,
        typer.Option(
            "--range", help="Of samples: declared; auto stretches those that use 1/8 of it."
        ),
    ] = None,
    salvage: Annotated[
        bool | None,
        typer.Option("--salvage/--no-salvage", help="Colour what pages a cut TIFF still has."),
    ] = None,
    format_name: Annotated[
        str | None, typer.Option("--format", help="jpg, png, tif or webp; else as the original.")
    ] = None,
    label: Annotated[
        str | None, typer.Option(help='Draw "AI colorized": corner or border.')
    ] = None,
    sidecar: Annotated[
        bool | None, typer.Option("--sidecar/--no-sidecar", help="Write an XMP beside each.")
    ] = None,
    keep_times: Annotated[
        bool | None,
        typer.Option("--keep-times/--no-keep-times", help="Give outputs their originals' times."),
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
    saturation: Annotated[
        float | None, typer.Option(help="Factor on the colours, 0 to 4; 1 as they are found.")
    ] = None,
    vivid: Annotated[bool, typer.Option("--vivid", help="--saturation 1.3.")] = False,
    sign: Annotated[
        tuple[Path, Path] | None,
        typer.Option(metavar="CERT KEY", help="PEM files: sign a C2PA manifest into each."),
    ] = None,
    bag: Annotated[bool, typer.Option("--bag", help="Make OUT a BagIt bag.")] = False,
    delete: Delete = False,
    add: Add = False,
    force: Force = False,
    workers: Workers = None,
    threads: Threads = None,
    memory: Memory = None,
    nice: Nice = None,
    cluster: Cluster = None,
    quiet: Quiet = False,
    verbose: Verbose = False,
    as_json: Json = False,
) -> None:
    """Colour every photo of an archive; originals are never touched."""
    run_on = {"cluster": cluster, **resources(workers, threads, memory, nice)}
    from tasks.config.colorize import dial
    from tasks.config.request import ColorizeRequest

    archive = sources[0]

    request = (
        ColorizeRequest(  # and with it a wrong option is said, before anything slow is imported
            archive=archive,
            models=str(models) if models else None,
            experts=experts,
            include=tuple(include or ()),
            exclude=tuple(exclude or ()),
            follow=follow,
            encoding=encoding,
            bag=bag,
            settings={
                "segmenter": segmenter,
                "merge": merge,
                "palette": palette,
                "palette_from": str(palette_from.resolve()) if palette_from else None,
                "variants": variants,
                "series": series,
                "toning": toning,
                "accept": accept,
                "accept_photos": accept_photo,
                "pages": pages,
                "keep_times": keep_times,
                "range": sample_range,
                "salvage": salvage,
                "format": format_name,
                "label": label,
                "sidecar": sidecar,
                "hints": str(hints.resolve()) if hints else None,
                "uncertainty": uncertainty,
                "abstain": abstain,
                "saturation": dial(saturation, vivid),
                "certificates": str(sign[0].resolve()) if sign else None,
                "key": str(sign[1].resolve()) if sign else None,
            },
        )
    )
    from storage.formats import spelt
    from storage.sources.locations import check_there

    for source in sources:
        check_there(source)
    from tasks.archive.by_name import listed, photos_of, target_of

    photos = photos_of(sources)
    target = target_of(output, photos, spelt(format_name or ""), force)
    asked = {"delete": delete, "force": force, **run_on}
    if target is not None:
        colorize_to_file(request, target, asked, add=add, as_json=as_json)
        return
    from tasks.archive.ownership import claimed
    from tasks.archive.workflow import archive_location, archive_workflow, list_location
    from tasks.graph import build_steps, with_compute

    location = (
        list_location(*listed(photos), output) if photos else archive_location(archive, output)
    )
    request = replace(request, archive=location)
    workflow = archive_workflow(request, output)
    asked |= {
        "output": output,
        "add": add or bool(photos),
    }  # who names a photo means it beside others
    build_steps(with_compute(claimed(workflow, add=asked["add"]), **run_on))
    call_flow("colorize", workflow, request.to_dict() | asked, as_json, by_name=bool(photos))


@app.command()
def retry(
    output: Output = None,
    config: Config = DEFAULT_CONFIG,
    reason: Reason = None,
    until_stage: Annotated[str | None, typer.Option("--until", help="Last stage.")] = None,
    only: Only = None,
    workers: Workers = None,
    threads: Threads = None,
    memory: Memory = None,
    nice: Nice = None,
    cluster: Cluster = None,
    quiet: Quiet = False,
    verbose: Verbose = False,
    as_json: Json = False,
) -> None:
    """Run what failed, and try quarantined photos again; the rest is kept."""
    run_on = {"cluster": cluster, **resources(workers, threads, memory, nice)}
    from storage.errors import UsageError
    from tasks.archive.ownership import claimed
    from tasks.archive.workflow import archive_workflow, last_request
    from tasks.engine.retry import Retry
    from tasks.graph import build_steps, with_compute

    Retry.of(reason or ())
    again = {"retry": reason or [], **run_on}
    if output is None:
        chosen = {} if until_stage is None else {"until_stage": until_stage}
        parameters = {"config": str(config), "only": only, **chosen, **again}
        run_flow("pipeline", config, parameters, as_json)
        return
    if until_stage is not None or only:
        raise UsageError("Expected --until and --only with a config, got OUT. Leave them out.")
    request = last_request(output)
    workflow = archive_workflow(request, output)
    build_steps(with_compute(claimed(workflow), **run_on))
    parameters = {**request.to_dict(), "output": output, **again}
    call_flow("colorize", workflow, parameters, as_json)
