"""Commands that look: what there is, whether it is whole, and what words mean."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

from flows.cli.commands import Commands
from flows.cli.terminal import DEFAULT_CONFIG, Config, Json, answer, print_json, say

app = typer.Typer()
show_app = typer.Typer(help="Look at what was made.", no_args_is_help=True, cls=Commands)
app.add_typer(show_app, name="show")


@app.command()
def verify(
    output: Annotated[
        str | None, typer.Argument(metavar="[OUT]", help="The OUT of `chromaflow colorize`.")
    ] = None,
    originals: Annotated[
        str | None, typer.Option(help="Where its photos are: compares lightness too.")
    ] = None,
    config: Config = DEFAULT_CONFIG,
    as_json: Json = False,
) -> None:
    """Check every file against its record, and what is in OUT; exit 7 if one is damaged."""
    from storage.errors import DamagedError, UsageError

    if originals and not output:
        raise UsageError("Expected OUT beside --originals, got none.")
    report = _verify_output(output, originals) if output else _verify_config(config)
    if as_json:
        print_json(report)
    else:
        for line in _compared_lines(report) if output else ():
            answer(line)
        for row in report["damaged"]:
            answer(f"damaged {row['step']} {row['item']}: {row['problem']}")
        answer(f"{len(report['damaged'])} damaged in {len(report['steps'])} steps")
    if report["damaged"]:
        say("Run the same command that made them again: it makes what is damaged anew.")
        raise typer.Exit(DamagedError.exit_code)


def _verify_config(config: Path) -> dict[str, Any]:
    from storage.records.workspace import Workspace
    from tasks.archive.mirrors import load_fetched
    from tasks.engine.verification import verify_workspace

    steps, damaged = verify_workspace(Workspace(load_fetched(config).workspace))
    return {"steps": steps, "damaged": damaged}


def _verify_output(output: str, originals: str | None) -> dict[str, Any]:
    from tasks.queries.outputs_check import verify_outputs

    return verify_outputs(output, originals).to_dict()


def _compared_lines(report: Mapping[str, Any]) -> Iterator[str]:
    yield f"{report['num_outputs']} outputs decoded"
    found = []
    if report["max_codes"] is not None:
        found.append(f"gray within {report['max_codes']} code values where lossless")
    if report["mean_L"] is not None:
        found.append(f"mean |ΔL*| {report['mean_L']:.3f} where lossy")
    if found:
        yield f"{report['num_compared']} compared: {', '.join(found)}"


@show_app.command("shards")
def show_shards(
    category: Annotated[str, typer.Argument(help="A category of the config.")],
    config: Config = DEFAULT_CONFIG,
    photos: Annotated[int, typer.Option(help="Photos on the sheet.")] = 8,
    split: Annotated[str, typer.Option(help="train, val or test.")] = "train",
    output: Annotated[Path | None, typer.Option(help="The PNG to write.")] = None,
    as_json: Json = False,
) -> None:
    """Draw photo, crop box, L, a and b of some photos; list what was dropped and why."""
    from tasks.archive.mirrors import load_fetched
    from tasks.queries.preview import preview_shards

    preview = preview_shards(load_fetched(config), category, split, photos, output)
    if as_json:
        print_json(preview.to_dict())
        return
    for row in preview.dropped:
        answer(f"{row['num_photos']:>8} {row['code']:<20} {row['meaning']}")
        answer(f"{'':>8} e.g. {row['example']}: {row['detail']}")
    answer(f"{preview.num_photos} photos in {split}, {preview.num_dropped} dropped")
    answer(f"Sheet: {preview.sheet}")


@app.command()
def doctor(config: Config = DEFAULT_CONFIG, as_json: Json = False) -> None:
    """Check Python, packages, processor, GPU, disk, codecs and weights."""
    from storage.records.workspace import Workspace
    from tasks.config.file import load_workflow
    from tasks.queries.status import doctor as check

    root = load_workflow(config).workspace if config.exists() else Path("workspace")
    checks = check(Workspace(root))
    is_fine = all(fine for _, _, fine in checks)
    if as_json:
        found = [{"what": what, "finding": said, "fine": fine} for what, said, fine in checks]
        print_json({"fine": is_fine, "checks": found})
    else:
        for what, finding, fine in checks:
            answer(f"{'ok ' if fine else 'BAD'} {what:<40} {finding}")
    raise typer.Exit(0 if is_fine else 3)


@app.command()
def explain(
    code: Annotated[str, typer.Argument(help="e.g. TRUNCATED, in any case")],
    as_json: Json = False,
) -> None:
    """Say what a reason code means and what to do."""
    from storage.errors import explain_reason

    reason = explain_reason(code.upper().replace("-", "_"))
    if as_json:
        print_json(asdict(reason))
        return
    answer(f"{reason.code}: {reason.meaning}")
    answer(reason.remedy)


@app.command()
def formats(
    markdown: Annotated[
        bool, typer.Option("--markdown", help="docs/formats.md, on stdout.")
    ] = False,
    as_json: Json = False,
) -> None:
    """List the picture formats: what is read of each, and how its colour is written."""
    from storage.formats import FORMATS, formats_page

    if markdown:
        typer.echo(formats_page(), nl=False)
        return
    if as_json:
        found = [{"name": f.name, "read": f.reads, "written": f.writes} for f in FORMATS.values()]
        print_json({"formats": found})
        return
    for format_ in FORMATS.values():
        answer(f"{format_.name:<9} read: {format_.reads}")
        answer(f"{'':<9} written: {format_.writes}")


@app.command()
def cite() -> None:
    """Print how to cite Chromaflow, and the licence and data of its starter weights."""
    from importlib.metadata import version

    from chromaflow.library.starter import ADVICE, DATA, citation, starter_path
    from colorization.categories import CATEGORY_NAMES
    from storage.records.fingerprint import hash_file

    names = (*CATEGORY_NAMES, "segmenter")
    hashes = [(name, hash_file(starter_path(name))) for name in names]
    typer.echo(f"{citation(version('chromaflow'), hashes)}\n\n{DATA}\n\n{ADVICE}")
