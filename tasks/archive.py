"""The workflow of `chromaflow colorize IN OUT`: one archive, experts from elsewhere."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from storage.checkpoints import WEIGHTS_NAME
from storage.sources import check_folder
from storage.workspace import Workspace
from tasks.config import ArchiveConfig, ColorizeConfig, Workflow, load_workflow

STATE_NAME = ".chromaflow"
"""Folder in the output tree that holds the archive's manifest, records and Prefect state."""


def archive_workflow(
    archive: Path,
    output: Path,
    *,
    models: Path | None = None,
    segmenter: str | None = None,
    merge: str | None = None,
) -> Workflow:
    """A workflow with an archive only.

    models: a chromaflow.toml whose trained experts are used; without it, the starter's. Raises
    UsageError for a missing folder and ConfigError for an unknown merge.
    """
    source = check_folder(archive, "gray photos")
    config = load_workflow(models).colorize if models else ColorizeConfig()
    overrides: dict[str, Any] = {"segmenter": segmenter, "merge": merge}
    return Workflow(
        workspace=output.resolve() / STATE_NAME,
        archive=ArchiveConfig(path=source, output=output.resolve()),
        colorize=replace(config, **{key: value for key, value in overrides.items() if value}),
        experts=_experts_of(models) if models else {},
    )


def _experts_of(models: Path) -> dict[str, Path]:
    """The experts that a config trains or names."""
    workflow = load_workflow(models)
    workspace = Workspace(workflow.workspace)
    current = {name: workspace.current("train", name) for name in workflow.datasets}
    trained = {name: folder.resolve() / WEIGHTS_NAME for name, folder in current.items()}
    return workflow.experts | trained
