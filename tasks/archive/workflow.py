"""The workflow of `chromaflow colorize IN OUT`: one archive, experts from elsewhere."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from storage.errors import UsageError
from storage.records.ledger import read_json
from storage.records.names import PLAN_NAME, STATE_NAME, WEIGHTS_NAME
from storage.records.workspace import Workspace
from storage.sources.nesting import refuse_nesting
from storage.sources.source import resolve_location, write_list
from tasks.archive.mirrors import fetched, load_fetched, output_folder, with_output_url
from tasks.archive.ownership import refuse_others
from tasks.config.model import ArchiveConfig, ColorizeConfig, ComputeConfig, Workflow
from tasks.config.types import changed
from tasks.engine.events import find_run, run_ids

STDIN = "-"
_LIST_NAME = "inputs.txt"


def archive_location(archive: str, output: Path | str) -> str:
    """Where the photos are, absolute; `-` takes a list of paths from stdin and keeps it in `output`."""
    if archive != STDIN:
        return resolve_location(archive)
    output = output_folder(output)
    refuse_others(output)
    lines = sys.stdin.buffer.read()
    with TemporaryDirectory() as folder:  # nothing is written before OUT is known to lie elsewhere
        refuse_nesting(write_list(lines, Path.cwd(), Path(folder, _LIST_NAME)), output)
    workspace = Workspace(output / STATE_NAME)
    workspace.create()
    return write_list(lines, Path.cwd(), workspace.root / _LIST_NAME)


def archive_workflow(
    archive: str,
    output: Path | str,
    *,
    models: Path | str | None = None,
    include: Sequence[str] = (),
    exclude: Sequence[str] = (),
    follow: bool = True,
    bag: bool = False,
    settings: Mapping[str, Any] | None = None,
) -> Workflow:
    """A workflow with an archive only.

    archive: as `storage.sources.source.open_source` takes it. output: a folder or a URL. models: a
    chromaflow.toml whose trained experts and [compute] are used; without it, the starter's. follow:
    whether links in the archive are followed. settings: fields of [colorize] to replace; None leaves
    one as it is, 0, false and "" do not. Raises UsageError where nothing is there, ConfigError naming
    every wrong setting.
    """
    trained = load_fetched(Path(models)) if models else None
    folder = output_folder(output)
    config = trained.colorize if trained else ColorizeConfig()
    chosen = changed(config, given_settings(settings))
    workflow = Workflow(
        workspace=folder / STATE_NAME,
        archive=ArchiveConfig(
            path=resolve_location(archive),
            output=folder,
            include=tuple(include),
            exclude=tuple(exclude),
            follow=follow,
            bag=bag,
        ),
        colorize=chosen,
        compute=trained.compute if trained else ComputeConfig(),
        experts=_experts_of(trained) if trained else {},
    )
    return with_output_url(workflow, output)


def archive_request(
    archive: str,
    *,
    models: str | None = None,
    include: Sequence[str] = (),
    exclude: Sequence[str] = (),
    follow: bool = True,
    bag: bool = False,
    settings: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """What `archive_workflow` takes beside OUT, as JSON, for plan.json.

    Paths become absolute, but those in settings, which the command makes so.
    """
    return {
        "archive": resolve_location(archive),
        "models": str(Path(models).resolve()) if models else None,
        "include": list(include),
        "exclude": list(exclude),
        "follow": follow,
        "bag": bag,
        "settings": given_settings(settings),
    }


def given_settings(settings: Mapping[str, Any] | None) -> dict[str, Any]:
    """The settings that somebody gave: None is said of those that nobody did."""
    return {key: value for key, value in (settings or {}).items() if value is not None}


def output_workspace(output: Path | str) -> Workspace:
    """The workspace of an OUT of `chromaflow colorize`; of a URL the working copy, up to date.

    Raises UsageError where there is none, RemoteError.
    """
    workspace = Workspace(output_folder(output) / STATE_NAME)
    fetched(with_output_url(Workflow(workspace=workspace.root), output))
    refuse_others(workspace.root.parent)
    if not workspace.root.is_dir():
        raise UsageError(
            f"Expected {output} to be an OUT of `chromaflow colorize`, found no {STATE_NAME} in it. "
            "Name its top folder, or --config for a workspace."
        )
    return workspace


def output_name(workflow: Workflow) -> str | None:
    """The OUT of `chromaflow colorize` as it was named, a URL or a path; None for a config's workspace."""
    if workflow.workspace.name != STATE_NAME:
        return None
    folder = workflow.workspace.parent
    urls = (url for url, local in workflow.remotes.items() if local == folder)
    return next(urls, str(folder))


def models_config(workspace: Workspace) -> Path | None:
    """The chromaflow.toml whose experts the newest run used, if it is still there."""
    named = (newest_request(workspace) or {}).get("models")
    return Path(named) if named and Path(named).is_file() else None


def newest_request(workspace: Workspace) -> dict[str, Any] | None:
    """What the newest run was asked for; None where there is no run, or its plan does not say."""
    newest = next(iter(run_ids(workspace)), None)
    return _request_of(workspace.runs / newest) if newest else None


def last_request(output: Path | str) -> dict[str, Any]:
    """What the newest run on OUT was asked for. Raises UsageError where none is kept."""
    request = _request_of(find_run(output_workspace(output), None))
    if request is None:
        raise UsageError(
            f"Expected the newest run on {output} to say what it was asked for, it does not. Run "
            "`chromaflow colorize IN OUT` once more."
        )
    return request


def _request_of(run_folder: Path) -> dict[str, Any] | None:
    """What a run was asked for; None where its plan does not say."""
    request: dict[str, Any] | None = (read_json(run_folder / PLAN_NAME) or {}).get("request")
    if request is not None and None in request["settings"].values():
        # of an older version, which noted false and "" for what was not given, and null beside them
        request["settings"] = {key: value for key, value in request["settings"].items() if value}
    return request


def _experts_of(workflow: Workflow) -> dict[str, Path]:
    """The experts that a config trains or names."""
    workspace = Workspace(workflow.workspace)
    current = {name: workspace.current("train", name) for name in workflow.datasets}
    trained = {name: folder.resolve() / WEIGHTS_NAME for name, folder in current.items()}
    return workflow.experts | trained
