"""`chromaflow models`: which there are, what they are, and their use elsewhere."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from flows.cli.commands import Commands
from flows.cli.terminal import DEFAULT_CONFIG, Config, Json, answer, print_json

models_app = typer.Typer(help="Models on this machine.", no_args_is_help=True, cls=Commands)


@models_app.command("list")
def models_list(as_json: Json = False) -> None:
    """List the models known by name and whether they are here."""
    from tasks.queries.status import known_models

    models = known_models()
    if as_json:
        rows = [{"name": m.name, "present": m.present, "path": str(m.path)} for m in models]
        print_json({"models": rows})
        return
    for model in models:
        answer(f"{'here   ' if model.present else 'missing'} {model.name:<42} {model.path}")


Model = Annotated[str, typer.Argument(help="A file, a trained category, or starter:CATEGORY.")]


@models_app.command("show")
def models_show(model: Model, config: Config = DEFAULT_CONFIG, as_json: Json = False) -> None:
    """Say what a colorizer is: network, size, recipe, data, scores, licence."""
    from tasks.weights.models import describe_model

    info = describe_model(_find_model(model, config))
    if as_json:
        print_json(info.to_dict() | {"warnings": _warnings(model, config)})
        return
    answer(
        f"{info.network}: {info.parameters / 1e6:.2f} M parameters, {info.gflops:.1f} GFLOPs at 256²"
    )
    answer(f"{info.path}: {info.num_bytes / 1e6:.1f} MB, SHA-256 {info.sha256}")
    for key, value in info.provenance.items():
        inner = value.items() if isinstance(value, dict) else [("", value)]
        for name, leaf in inner:
            answer(f"  {key + (f'.{name}' if name else ''):<32} {leaf}")
    for line in _warnings(model, config):
        answer(f"WARNING {line}")


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
    from tasks.weights.export import export_model

    exported = export_model(_find_model(model, config), output, format_name)
    if as_json:
        print_json(exported.to_dict())
        return
    answer(f"Wrote {exported.network} as {exported.format} to {exported.path}.")
    answer(f"Largest difference in ab: {exported.max_difference:.2g} Lab units.")


@models_app.command("fetch")
def models_fetch(
    name: Annotated[str, typer.Argument(help="torchvision:NAME, of a segmenter or resnet18")],
) -> None:
    """Download official weights of a torchvision segmenter, or of its ResNet-18."""
    from tasks.weights.models import fetch

    answer(f"{name} is at {fetch(name)}")


def _warnings(model: str, config: Path) -> list[str]:
    """Of a trained category: where its expert scored worse than what was there before."""
    from storage.records.workspace import Workspace
    from tasks.config.file import load_workflow
    from tasks.scores import score_warnings, workspace_scores

    if Path(model).exists() or not config.exists():
        return []
    rows = workspace_scores(Workspace(load_workflow(config).workspace))
    return score_warnings(row for row in rows if row["category"] == model)


def _find_model(model: str, config: Path) -> Path:
    from storage.records.workspace import Workspace
    from tasks.config.file import load_workflow
    from tasks.weights.models import find_model

    if not config.exists():
        return find_model(model)
    workflow = load_workflow(config)
    return find_model(model, Workspace(workflow.workspace), workflow.categories)
