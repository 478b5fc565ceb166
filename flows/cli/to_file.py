"""`chromaflow colorize PHOTO FILE`, and `-` for stdout: one photo, coloured in an output folder of the
command's own."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import typer

from flows.cli.ending import say_other_colourings, say_problems
from flows.cli.running import result_of
from flows.cli.terminal import print_json, say, skipped_lines, warn

if TYPE_CHECKING:
    from tasks.archive.by_name import Target
    from tasks.config.request import ColorizeRequest

_ASIDE = ("variants", "uncertainty", "sidecar")
"""Settings that write more than one file."""
_NO_PICTURES = {"sheet": 0, "thumbnails": 0}
"""Nobody will see a report."""


def colorize_to_file(
    request: ColorizeRequest, target: Target, asked: dict[str, Any], *, add: bool, as_json: bool
) -> None:
    """Colour one photo and end the command. asked: parameters of the flow on how it runs."""
    _refuse_more_than_a_file(request, target, add or asked["delete"], as_json)
    target.refuse_what_is_there()
    from tasks.archive.by_name import listed
    from tasks.archive.workflow import archive_workflow, list_location
    from tasks.graph import build_steps, with_compute

    with TemporaryDirectory(prefix="chromaflow-") as folder:
        settings = {**request.settings, **_NO_PICTURES, "format": target.format or None}
        location = list_location(*listed([target.photo]), folder)
        request = replace(request, archive=location, settings=settings)
        workflow = archive_workflow(request, folder)
        run_on = {name: asked[name] for name in ("cluster", "workers", "compute")}
        build_steps(with_compute(workflow, **run_on))
        parameters = request.to_dict() | {**asked, "force": False, "output": folder}
        result = result_of("colorize", workflow, parameters)
        say_problems(result)
        for line in skipped_lines(result.filtered):
            warn(line)
        if result.exit_code:
            if as_json:
                print_json(result.to_dict() | _nowhere(None))
            raise typer.Exit(result.exit_code)
        is_new = target.put(Path(folder))
    if as_json:
        print_json(result.to_dict() | _nowhere(target.path))
        return
    if target.path is not None:
        say("Colour photo:" if is_new else "Colour photo, which was there already, the same:")
        say(f"  {target.path}")
        say_other_colourings(target.photo)


def _refuse_more_than_a_file(
    request: ColorizeRequest, target: Target, is_of_folders: bool, as_json: bool
) -> None:
    from storage.errors import UsageError

    given = [f"--{name}" for name in _ASIDE if request.settings.get(name)]
    given += ["--bag"] if request.bag else []
    given += ["--add or --delete"] if is_of_folders else []
    given += ["--json"] if as_json and target.path is None else []
    if given:
        where = target.path or "-"
        raise UsageError(f"Expected a folder as OUT with {given[0]}, got {where}. Name a folder.")


def _nowhere(path: Path | None) -> dict[str, Any]:
    """Of the result what lay in the folder that is gone."""
    return {"sheet": None, "report": None, "output": str(path) if path else None}
