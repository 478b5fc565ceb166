"""The workflow of `chromaflow colorize IN OUT`: one archive, experts from elsewhere."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from colorization.categories import PAPER
from storage.errors import UsageError
from storage.records.ledger import read_json
from storage.records.names import PLAN_NAME, STATE_NAME, WEIGHTS_NAME
from storage.records.workspace import Workspace
from storage.sources.files import write_list
from storage.sources.locations import STDIN, resolve_location
from storage.sources.nesting import refuse_nesting
from tasks.archive.mirrors import fetched, load_fetched, output_folder, with_output_url
from tasks.archive.ownership import refuse_others
from tasks.config.model import ArchiveConfig, ColorizeConfig, ComputeConfig, Workflow
from tasks.config.request import BEST, ColorizeRequest
from tasks.config.types import changed
from tasks.engine.events import find_run, run_ids
from tasks.scores import worse_than_starter

_LIST_NAME = "inputs.txt"


def archive_location(archive: str, output: Path | str) -> str:
    """Where the photos are, absolute; `-` takes a list of paths from stdin and keeps it in `output`."""
    if archive != STDIN:
        return resolve_location(archive)
    refuse_others(output_folder(output))
    return list_location(sys.stdin.buffer.read(), Path.cwd(), output)


def list_location(lines: bytes, root: Path, output: Path | str) -> str:
    """A list of photos, kept in `output`. lines, root: as `storage.sources.files.write_list` takes them."""
    output = output_folder(output)
    refuse_others(output)
    with TemporaryDirectory() as folder:  # nothing is written before OUT is known to lie elsewhere
        refuse_nesting(write_list(lines, root, Path(folder, _LIST_NAME)), output)
    workspace = Workspace(output / STATE_NAME)
    workspace.create()
    return write_list(lines, root, workspace.root / _LIST_NAME)


def archive_workflow(request: ColorizeRequest, output: Path | str) -> Workflow:
    """A workflow with an archive only.

    output: a folder or a URL. Raises UsageError where nothing is there, ConfigError naming every wrong
    setting.
    """
    trained = load_fetched(Path(request.models)) if request.models else None
    folder = output_folder(output)
    config = trained.colorize if trained else ColorizeConfig()
    workflow = Workflow(
        workspace=folder / STATE_NAME,
        archive=ArchiveConfig(
            path=resolve_location(request.archive),
            output=folder,
            include=request.include,
            exclude=request.exclude,
            follow=request.follow,
            encoding=request.encoding,
            bag=request.bag,
        ),
        colorize=changed(config, request.settings),
        compute=trained.compute if trained else ComputeConfig(),
        experts=_experts_of(trained, request.experts) if trained else {},
        categories=trained.categories if trained else PAPER,
    )
    return with_output_url(workflow, output)


def located(request: ColorizeRequest) -> ColorizeRequest:
    """A request that means the same from any folder; settings name their files by whole paths already."""
    models = str(Path(request.models).resolve()) if request.models else None
    return replace(request, archive=resolve_location(request.archive), models=models)


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
    request = newest_request(workspace)
    named = Path(request.models) if request is not None and request.models else None
    return named if named is not None and named.is_file() else None


def newest_request(workspace: Workspace) -> ColorizeRequest | None:
    """What the newest run was asked for; None where there is no run, or its plan does not say."""
    newest = next(iter(run_ids(workspace)), None)
    return _request_of(workspace.runs / newest) if newest else None


def last_request(output: Path | str) -> ColorizeRequest:
    """What the newest run on OUT was asked for. Raises UsageError where none is kept."""
    request = _request_of(find_run(output_workspace(output), None))
    if request is None:
        raise UsageError(
            f"Expected the newest run on {output} to say what it was asked for, it does not. Run "
            "`chromaflow colorize IN OUT` once more."
        )
    return request


def _request_of(run_folder: Path) -> ColorizeRequest | None:
    """What a run was asked for; None where its plan does not say."""
    request: dict[str, Any] | None = (read_json(run_folder / PLAN_NAME) or {}).get("request")
    if request is None:
        return None
    if None in request["settings"].values():
        # of an older version, which noted false and "" for what was not given, and null beside them
        request["settings"] = {key: value for key, value in request["settings"].items() if value}
    return ColorizeRequest.of(request)


def _experts_of(workflow: Workflow, choice: str) -> dict[str, Path]:
    """The experts that a config trains or names; best: without those that scored worse than the starter's."""
    workspace = Workspace(workflow.workspace)
    worse = worse_than_starter(workspace) if choice == BEST else ()
    names = [name for name in workflow.datasets if name not in worse]
    current = {name: workspace.current("train", name) for name in names}
    trained = {name: folder.resolve() / WEIGHTS_NAME for name, folder in current.items()}
    return workflow.experts | trained
