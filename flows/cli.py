"""The `chromaflow` command: parse, call a flow or a query, print.

People read stderr, programs read JSON on stdout. torch and Prefect are imported only by the
commands that run flows.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

app = typer.Typer(
    help="Colorize black-and-white photo archives with models that you train.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
models_app = typer.Typer(help="Models on this machine.", no_args_is_help=True)
app.add_typer(models_app, name="models")
show_app = typer.Typer(help="Look at what was made.", no_args_is_help=True)
app.add_typer(show_app, name="show")

Config = Annotated[Path, typer.Option("--config", "-c", help="The chromaflow.toml.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON on stdout.")]
Only = Annotated[list[str] | None, typer.Option(help="A category, or archive; repeatable.")]
Workers = Annotated[int, typer.Option(help="Dask processes; 0: one a core.")]
Force = Annotated[bool, typer.Option("--force", help="Compute again what is done.")]
DEFAULT_CONFIG = Path("chromaflow.toml")


def main() -> None:
    """Run the command; every known error is one line on stderr and its own exit code."""
    try:
        app()
    except Exception as error:
        code = getattr(error, "exit_code", None)
        if code is None:
            raise
        _say(f"Error: {error}")
        sys.exit(code)


@app.command()
def demo(folder: Annotated[Path, typer.Option(help="Where it works.")] = Path("demo")) -> None:
    """Do the main job in small, on photos from the installed wheels."""
    from tasks.demo import write_demo

    config = write_demo(folder)
    _run_flow("pipeline", config, {"config": str(config)}, as_json=False)


@app.command()
def init(config: Config = DEFAULT_CONFIG) -> None:
    """Write a commented chromaflow.toml to start from."""
    from tasks.template import write_template

    write_template(config)
    _say(f"Wrote {config}. Name your folders in it, then `chromaflow plan`.")


@app.command()
def plan(config: Config = DEFAULT_CONFIG, as_json: Json = False) -> None:
    """Say what a run would do and why, without doing it."""
    from tasks.config import load_workflow
    from tasks.estimate import forecast
    from tasks.graph import build_steps, training_slots
    from tasks.graph import plan as plan_steps
    from tasks.stages import plan_row

    workflow = load_workflow(config)
    decisions = plan_steps(build_steps(workflow))
    estimates = forecast(decisions.values())
    slots = training_slots(workflow, decisions.values())
    if as_json:
        known = {name: estimate.to_dict() for name, estimate in estimates.items()}
        shared = {
            name: {"slots": slots.to_dict()} for name in decisions if slots and name[0] == "train"
        }
        rows = [plan_row(d) | known.get(n, {}) | shared.get(n, {}) for n, d in decisions.items()]
        _print_json(rows)
        return
    for name, decision in decisions.items():
        reasons = "; ".join(decision.reasons)
        estimate = f" ({estimates[name]})" if name in estimates else ""
        _say(f"{decision.action:<8} {decision.step.label:<22} {reasons}{estimate}")
    if slots:
        _say(f"training: {slots}")


@app.command()
def run(
    config: Config = DEFAULT_CONFIG,
    from_stage: Annotated[str, typer.Option("--from", help="First stage.")] = "ingest",
    until_stage: Annotated[str, typer.Option("--until", help="Last stage.")] = "colorize",
    only: Only = None,
    force: Annotated[list[str] | None, typer.Option(help="A stage to compute again.")] = None,
    workers: Workers = 0,
    as_json: Json = False,
) -> None:
    """Bring every stage up to date; what is done already is skipped."""
    parameters: dict[str, Any] = {
        "config": str(config),
        "from_stage": from_stage,
        "until_stage": until_stage,
        "only": only,
        "force": force,
        "workers": workers,
    }
    _run_flow("pipeline", config, parameters, as_json)


def _stage_command(stage: str, summary: str) -> Callable[..., None]:
    def command(
        config: Config = DEFAULT_CONFIG,
        only: Only = None,
        force: Force = False,
        workers: Workers = 0,
        as_json: Json = False,
    ) -> None:
        parameters = {"config": str(config), "only": only, "force": force, "workers": workers}
        _run_flow(stage, config, parameters, as_json)

    command.__doc__ = summary
    return command


app.command("ingest")(_stage_command("ingest", "Read photos into manifests."))
app.command("preprocess")(_stage_command("preprocess", "Crop, flip, saturate into Lab shards."))
app.command("train")(_stage_command("train", "Train one colorizer a category."))
app.command("evaluate")(_stage_command("evaluate", "Score the experts beside baselines."))


@app.command()
def colorize(
    archive: Annotated[
        str,
        typer.Argument(
            metavar="IN",
            help="Folder, BagIt bag, .zip, .tar, pattern or URL of gray photos; - for a list on stdin.",
        ),
    ],
    output: Annotated[Path, typer.Argument(metavar="OUT", help="Where colour goes.")],
    models: Annotated[
        Path | None, typer.Option(help="A chromaflow.toml with trained experts.")
    ] = None,
    include: Annotated[
        list[str] | None, typer.Option(help="Only these, as in .gitignore; repeatable.")
    ] = None,
    exclude: Annotated[
        list[str] | None, typer.Option(help="Not these, as in .gitignore; repeatable.")
    ] = None,
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
    sidecar: Annotated[bool, typer.Option("--sidecar", help="Write an XMP beside each.")] = False,
    bag: Annotated[bool, typer.Option("--bag", help="Make OUT a BagIt bag.")] = False,
    force: Force = False,
    workers: Workers = 0,
    as_json: Json = False,
) -> None:
    """Colour every photo of an archive; originals are never touched."""
    from tasks.archive import archive_location, archive_workflow
    from tasks.graph import build_steps

    settings = {
        "segmenter": segmenter,
        "merge": merge,
        "toning": toning,
        "accept": accept,
        "format": format_name,
        "label": label,
        "sidecar": sidecar,
    }
    parameters: dict[str, Any] = {
        "archive": archive_location(archive, output),
        "include": include,
        "exclude": exclude,
        "bag": bag,
        "settings": settings,
    }
    workflow = archive_workflow(
        parameters["archive"],
        output,
        models=models,
        include=include or (),
        exclude=exclude or (),
        bag=bag,
        settings=settings,
    )
    build_steps(workflow)
    parameters |= {
        "output": str(output),
        "models": str(models) if models else None,
        "force": force,
        "workers": workers,
    }
    _call_flow("colorize", workflow.workspace, parameters, as_json)


@app.command()
def status(config: Config = DEFAULT_CONFIG, as_json: Json = False) -> None:
    """Say what the workspace holds: steps, the last run, quarantined photos."""
    from storage.workspace import Workspace
    from tasks.config import load_workflow
    from tasks.status import last_run, quarantine_rows, stage_status

    workspace = Workspace(load_workflow(config).workspace)
    steps, quarantined = stage_status(workspace), quarantine_rows(workspace)
    run_record = last_run(workspace)
    if as_json:
        _print_json({"steps": steps, "quarantined": quarantined, "last_run": run_record})
        return
    for row in steps:
        counts = " ".join(f"{name} {count}" for name, count in row["counts"].items())
        _say(f"{row['step']:<22} {row['seconds']:>7.1f} s {row['peak_mb']:>6.0f} MB  {counts}")
    _say_quarantined(quarantined)
    if run_record:
        _say(f"last run {run_record['run_id']}: exit {run_record['exit_code']}")


@app.command()
def verify(
    output: Annotated[
        Path | None, typer.Argument(metavar="[OUT]", help="The OUT of `chromaflow colorize`.")
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
        _print_json(report)
    else:
        for row in report["damaged"]:
            _say(f"damaged {row['step']} {row['item']}: {row['problem']}")
        _say(f"{len(report['damaged'])} damaged in {len(report['steps'])} steps")
    if report["damaged"]:
        _say("Run the same command that made them again: it makes what is damaged anew.")
        raise typer.Exit(DamagedError.exit_code)


def _verify_config(config: Path) -> dict[str, Any]:
    from storage.workspace import Workspace
    from tasks.config import load_workflow
    from tasks.verification import verify_workspace

    steps, damaged = verify_workspace(Workspace(load_workflow(config).workspace))
    return {"steps": steps, "damaged": damaged}


def _verify_output(output: Path, originals: str | None) -> dict[str, Any]:
    from tasks.outputs_check import verify_outputs

    report = verify_outputs(output, originals)
    _say(f"{report.num_outputs} outputs decoded")
    if report.num_compared:
        _say(
            f"{report.num_compared} compared: gray within {report.max_codes} code values where "
            f"lossless, mean |ΔL*| {report.mean_L:.3f} where lossy"
        )
    return report.to_dict()


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
    from tasks.config import load_workflow
    from tasks.preview import preview_shards

    preview = preview_shards(load_workflow(config), category, split, photos, output)
    if as_json:
        _print_json(preview.to_dict())
        return
    for row in preview.dropped:
        _say(f"{row['num_photos']:>8} {row['code']:<20} {row['meaning']}")
        _say(f"{'':>8} e.g. {row['example']}: {row['detail']}")
    _say(f"{preview.num_photos} photos in {split}, {preview.num_dropped} dropped")
    _say(f"Sheet: {preview.sheet}")


@app.command()
def doctor(config: Config = DEFAULT_CONFIG) -> None:
    """Check Python, packages, processor, GPU, disk, codecs and weights."""
    from storage.workspace import Workspace
    from tasks.config import load_workflow
    from tasks.status import doctor as check

    root = load_workflow(config).workspace if config.exists() else Path("workspace")
    checks = check(Workspace(root))
    for what, finding, fine in checks:
        _say(f"{'ok ' if fine else 'BAD'} {what:<40} {finding}")
    raise typer.Exit(0 if all(fine for _, _, fine in checks) else 3)


@app.command()
def explain(code: Annotated[str, typer.Argument(help="e.g. TRUNCATED")]) -> None:
    """Say what a reason code means and what to do."""
    from storage.errors import explain_reason

    reason = explain_reason(code)
    _say(f"{reason.code}: {reason.meaning}\n{reason.remedy}")


@app.command()
def formats(
    markdown: Annotated[
        bool, typer.Option("--markdown", help="docs/formats.md, on stdout.")
    ] = False,
) -> None:
    """List the picture formats: what is read of each, and how its colour is written."""
    from storage.formats import FORMATS, formats_page

    if markdown:
        typer.echo(formats_page(), nl=False)
        return
    for format_ in FORMATS.values():
        _say(f"{format_.name:<9} read: {format_.reads}\n{'':<9} written: {format_.writes}")


@models_app.command("list")
def models_list() -> None:
    """List the models known by name and whether they are here."""
    from tasks.status import known_models

    for model in known_models():
        _say(f"{'here   ' if model.present else 'missing'} {model.name:<42} {model.path}")


Model = Annotated[str, typer.Argument(help="A file, a trained category, or starter:CATEGORY.")]


@models_app.command("show")
def models_show(model: Model, config: Config = DEFAULT_CONFIG, as_json: Json = False) -> None:
    """Say what a colorizer is: network, size, recipe, data, scores, licence."""
    from tasks.models import describe_model

    info = describe_model(_find_model(model, config))
    if as_json:
        _print_json(info.to_dict())
        return
    _say(
        f"{info.network}: {info.parameters / 1e6:.2f} M parameters, {info.gflops:.1f} GFLOPs at 256²"
    )
    _say(f"{info.path}: {info.num_bytes / 1e6:.1f} MB, SHA-256 {info.sha256}")
    for key, value in info.provenance.items():
        inner = value.items() if isinstance(value, dict) else [("", value)]
        for name, leaf in inner:
            _say(f"  {key + (f'.{name}' if name else ''):<32} {leaf}")


@models_app.command("export")
def models_export(
    model: Model,
    output: Annotated[Path, typer.Argument(help="The file to write.")],
    format_name: Annotated[
        str, typer.Option("--format", help="onnx, torchscript or torch-export.")
    ] = "onnx",
    config: Config = DEFAULT_CONFIG,
    as_json: Json = False,
) -> None:
    """Write a colorizer for other programs and check its answers against ours."""
    from tasks.export import export_model

    exported = export_model(_find_model(model, config), output, format_name)
    if as_json:
        _print_json(exported.to_dict())
        return
    _say(f"Wrote {exported.network} as {exported.format} to {exported.path}.")
    _say(f"Largest difference in ab: {exported.max_difference:.2g} Lab units.")


@models_app.command("fetch")
def models_fetch(
    name: Annotated[str, typer.Argument(help="torchvision:NAME, of a segmenter or resnet18")],
) -> None:
    """Download official weights of a torchvision segmenter, or of its ResNet-18."""
    from tasks.models import fetch

    _say(f"{name} is at {fetch(name)}")


def _find_model(model: str, config: Path) -> Path:
    from storage.workspace import Workspace
    from tasks.config import load_workflow
    from tasks.models import find_model

    workspace = Workspace(load_workflow(config).workspace) if config.exists() else None
    return find_model(model, workspace)


def _run_flow(name: str, config: Path, parameters: dict[str, Any], as_json: bool) -> None:
    """Check the config before anything slow is imported, then run the flow."""
    from tasks.config import load_workflow
    from tasks.graph import build_steps, select

    workflow = load_workflow(config)
    stages = {
        "from_stage": parameters.get("from_stage"),
        "until_stage": parameters.get("until_stage"),
    }
    chosen = {key: value for key, value in stages.items() if value}
    select(build_steps(workflow), only=parameters.get("only") or [], **chosen)
    _call_flow(name, workflow.workspace, parameters, as_json)


def _call_flow(name: str, workspace: Path, parameters: dict[str, Any], as_json: bool) -> None:
    from importlib import import_module

    from storage.workspace import Workspace
    from tasks.environment import configure_prefect

    Workspace(workspace).create()
    configure_prefect(Workspace(workspace).prefect_home)
    flow = getattr(import_module(f"flows.{name}"), f"{name}_flow")
    from tasks.results import RunFailedError

    try:
        result = flow(**parameters)
    except RunFailedError as error:
        result = error.result
    except KeyboardInterrupt:
        _say("Interrupted. What is done is kept; run the same command to go on.")
        raise typer.Exit(130) from None
    if as_json:
        _print_json(result.to_dict())
    else:
        _say_result(result)
    raise typer.Exit(result.exit_code)


def _say_result(result: Any) -> None:
    for (stage, key), ref in result.refs.items():
        counts = " ".join(f"{name} {count}" for name, count in ref.counts.items())
        state = f"{ref.computed} computed" if ref.computed else "up to date"
        _say(f"{stage + '/' + key:<22} {state:<14} {counts}")
    for failure in result.failures:
        _say(f"FAILED {'/'.join(failure.step)}: {failure.error}")
    _say_quarantined(result.quarantined)
    _say_filtered(result.filtered)
    _say(f"{result.computed} computed in run {result.run_id}")
    if result.sheet:
        _say(f"Contact sheet: {result.sheet}")


def _say_quarantined(rows: list[dict[str, Any]]) -> None:
    for row in rows:
        _say(f"quarantined {row['path']}: {row['code']} ({row['stage']}): {row['detail']}")


def _say_filtered(rows: list[dict[str, Any]]) -> None:
    from collections import Counter

    counts = Counter(row["code"] for row in rows)
    if counts:
        listed = ", ".join(f"{code} {count}" for code, count in sorted(counts.items()))
        _say(f"filtered: {listed} (`chromaflow show shards CATEGORY` lists why)")


def _print_json(value: Any) -> None:
    typer.echo(json.dumps(value, indent=1))


def _say(text: str) -> None:
    typer.echo(text, err=True)
