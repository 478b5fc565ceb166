"""`chromaflow evaluate IN`: systems compared on colour photos made gray."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import typer

from flows.cli.terminal import print_json, say, say_quarantined, say_skipped
from storage.visible import visible

DEFAULT_OUTPUT = Path("evaluation")


def evaluate_photos(
    source: str, config: Path, workers: int | None, given: Mapping[str, Any], as_json: bool
) -> None:
    """Evaluate and print the table. given: fields of `tasks.evaluation.photos.EvaluationConfig`."""
    from storage.errors import is_policy
    from tasks.config.problems import OPTIONS
    from tasks.config.types import build
    from tasks.evaluation.photos import EvaluationConfig
    from tasks.evaluation.photos import evaluate_photos as evaluate

    values = {"location": source, "config": config, "output": DEFAULT_OUTPUT, **given}
    values |= {} if workers is None else {"workers": workers}
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
    say_quarantined([row for row in found.quarantined if not is_policy(row["code"])])
    say_skipped([row for row in found.quarantined if is_policy(row["code"])])
    say(f"{found.num_photos} photos; results, tables and figures in {found.output}")
    raise typer.Exit(found.exit_code)
