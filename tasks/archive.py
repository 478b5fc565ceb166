"""The workflow of `chromaflow colorize IN OUT`: one archive, experts from elsewhere."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from storage.checkpoints import WEIGHTS_NAME
from storage.sources import refuse_nesting, resolve_location, write_list
from storage.workspace import Workspace
from tasks.config import ArchiveConfig, ColorizeConfig, ComputeConfig, Workflow
from tasks.config_file import load_workflow

STATE_NAME = ".chromaflow"
"""Folder in the output tree that holds the archive's manifest, records and Prefect state."""
STDIN = "-"
_LIST_NAME = "inputs.txt"


def archive_location(archive: str, output: Path) -> str:
    """Where the photos are, absolute; `-` takes a list of paths from stdin and keeps it in `output`."""
    if archive != STDIN:
        return resolve_location(archive)
    lines = sys.stdin.buffer.read()
    with TemporaryDirectory() as folder:  # nothing is written before OUT is known to lie elsewhere
        refuse_nesting(write_list(lines, Path.cwd(), Path(folder, _LIST_NAME)), output)
    workspace = Workspace(output.resolve() / STATE_NAME)
    workspace.create()
    return write_list(lines, Path.cwd(), workspace.root / _LIST_NAME)


def archive_workflow(
    archive: str,
    output: Path,
    *,
    models: Path | None = None,
    include: Sequence[str] = (),
    exclude: Sequence[str] = (),
    bag: bool = False,
    settings: Mapping[str, Any] | None = None,
) -> Workflow:
    """A workflow with an archive only.

    archive: as `storage.sources.open_source` takes it. models: a chromaflow.toml whose trained
    experts and [compute] are used; without it, the starter's. settings: fields of [colorize] to replace; None and
    empty ones do not. Raises UsageError where nothing is there, ConfigError for a wrong setting.
    """
    trained = load_workflow(models) if models else None
    config = trained.colorize if trained else ColorizeConfig()
    given = {key: value for key, value in (settings or {}).items() if value}
    accept = tuple(given.pop("accept", config.accept))
    return Workflow(
        workspace=output.resolve() / STATE_NAME,
        archive=ArchiveConfig(
            path=resolve_location(archive),
            output=output.resolve(),
            include=tuple(include),
            exclude=tuple(exclude),
            bag=bag,
        ),
        colorize=replace(config, accept=accept, **given),
        compute=trained.compute if trained else ComputeConfig(),
        experts=_experts_of(trained) if trained else {},
    )


def _experts_of(workflow: Workflow) -> dict[str, Path]:
    """The experts that a config trains or names."""
    workspace = Workspace(workflow.workspace)
    current = {name: workspace.current("train", name) for name in workflow.datasets}
    trained = {name: folder.resolve() / WEIGHTS_NAME for name, folder in current.items()}
    return workflow.experts | trained
