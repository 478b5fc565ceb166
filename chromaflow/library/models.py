"""Experts and segmenter for the library: the starter's, those of a workspace, or files by category."""

from __future__ import annotations

import os
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path

from chromaflow.library.networks import load_colorizer, load_weights
from chromaflow.library.starter import starter_path
from colorization.categories import CATEGORY_NAMES, PAPER
from colorization.compute import resolve_device
from colorization.errors import ModelMissingError
from colorization.merging.inference import MergedColorizer
from colorization.merging.segmentation import build_segmenter
from storage.errors import UsageError
from storage.records.fingerprint import hash_file
from storage.records.names import WEIGHTS_NAME
from storage.records.workspace import Workspace

STARTER = "starter"
Models = str | os.PathLike[str] | Mapping[str, str | os.PathLike[str]]
"""`starter`, the workspace of a project, or category → weights file."""
Files = tuple[tuple[str, Path], ...]
"""Category and weights file of every expert."""


def expert_files(models: Models) -> Files:
    """The weights of every category; the starter's where none are named or trained.

    Raises UsageError for a name or path that is none, ModelMissingError for a file that is not there.
    """
    if isinstance(models, Mapping):
        for name in models:
            PAPER.index(name)
        named = {name: Path(path) for name, path in models.items()}
    elif models == STARTER:
        named = {}
    else:
        named = _trained(Path(models))
    files = {name: named.get(name, starter_path(name)) for name in CATEGORY_NAMES}
    for name, path in files.items():
        if not path.is_file():
            raise ModelMissingError(
                f"Expected weights of {name} at {path}, found no file. Name a file that is there, or "
                f"leave {name} out for the starter's."
            )
    return tuple(files.items())


def _trained(folder: Path) -> dict[str, Path]:
    """What the workspace of a project has trained."""
    workspace = Workspace(folder)
    paths = {name: workspace.current("train", name) / WEIGHTS_NAME for name in CATEGORY_NAMES}
    found = {name: path.resolve() for name, path in paths.items() if path.is_file()}
    if not found:
        raise UsageError(
            f"Expected models of {STARTER!r}, the workspace of a project that has trained (the folder "
            f"with current/train in it), or a mapping of category to weights file; got {folder}."
        )
    return found


@lru_cache(maxsize=2)
def load_models(files: Files, device: str, short_side: int) -> MergedColorizer:
    """Experts and the starter segmenter, kept for the next who asks for the same."""
    segmenter = build_segmenter(STARTER, load_weights(starter_path("segmenter"))[0])
    return MergedColorizer(
        {category: load_colorizer(path)[0] for category, path in files},
        segmenter,
        short_side=short_side,
        device=resolve_device(device),
        runtime="auto",
    )


def weight_hashes(files: Files) -> tuple[tuple[str, str], ...]:
    """Name and SHA-256 of all weights, for the metadata of what they colour, as a run names them."""
    return (
        *((category, hash_file(path)) for category, path in files),
        (f"segmenter {STARTER}", hash_file(starter_path("segmenter"))),
    )
