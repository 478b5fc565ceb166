"""chromaflow.toml: read into a Workflow, unknown keys refused, paths made absolute."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any, TypeVar

from storage.errors import UsageError
from storage.remote import fetch_file, fetch_folder, working_copy
from storage.source_files import LIST_PREFIX
from storage.sources import is_url
from storage.weights_header import read_provenance
from tasks.config import (
    ArchiveConfig,
    ColorizeConfig,
    ComputeConfig,
    DatasetConfig,
    IngestConfig,
    PreprocessConfig,
    TrainConfig,
    Workflow,
)
from tasks.models import scratch_folder

T = TypeVar("T")


def load_workflow(path: Path) -> Workflow:
    """Read chromaflow.toml; relative paths in it start from its folder.

    Files that it names by URL are downloaded. Raises UsageError naming the key and the allowed ones,
    RemoteError.
    """
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise UsageError(
            f"Expected a config at {path}, found none. `chromaflow init` writes one."
        ) from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, IsADirectoryError) as error:
        raise UsageError(f"Expected TOML in {path}, got: {error}.") from error
    return build_workflow(table, path.resolve().parent)


def build_workflow(table: Mapping[str, Any], base: Path) -> Workflow:
    """A Workflow from parsed TOML. base: what relative paths start from. Raises UsageError."""
    allowed = {f.name for f in fields(Workflow)} - {"remotes"} | {"seed"}
    _known(table, allowed, "the top level")
    seed = {"seed": table.get("seed", 0)}
    archive = table.get("archive")
    files = {name: _files(table.get(name, {}), base) for name in ("pretrain", "train", "colorize")}
    remotes: dict[str, Path] = {}
    workspace = _folder(table.get("workspace", "workspace"), base, remotes)
    return Workflow(
        workspace=workspace,
        datasets={
            name: _dataset(name, entry, base) for name, entry in table.get("datasets", {}).items()
        },
        archive=_archive(archive, base, workspace, remotes) if archive else None,
        ingest=_section(IngestConfig, table, "ingest", seed),
        preprocess=_section(PreprocessConfig, table, "preprocess", seed),
        pretrain=_section(TrainConfig, table, "pretrain", seed | files["pretrain"])
        if "pretrain" in table
        else None,
        train=_section(TrainConfig, table, "train", seed | files["train"]),
        colorize=_section(ColorizeConfig, table, "colorize", files["colorize"]),
        compute=_section(ComputeConfig, table, "compute", {}),
        experts={name: _file(file, base) for name, file in table.get("experts", {}).items()},
        remotes=remotes,
    )


_FILES = "files"
"""Below the folder of working copies: what is only read."""
_FILE_KEYS = (
    "encoder_weights",
    "init_weights",
    "perceptual_weights",
    "segmenter_weights",
    "hints",
    "certificates",
    "key",
)


def _files(section: Mapping[str, Any], base: Path) -> dict[str, str]:
    """The files that a section names, from the config's folder."""
    return {key: str(_file(section[key], base)) for key in _FILE_KEYS if section.get(key)}


def _file(location: str, base: Path) -> Path:
    """A file that the config names; one behind a URL is downloaded, and weights that it shares."""
    if not is_url(location):
        return base / location
    path = fetch_file(location, scratch_folder() / _FILES)
    if shared := read_provenance(path).get("shared"):
        fetch_file(f"{location.rpartition('/')[0]}/{shared['file']}", scratch_folder() / _FILES)
    return path


def _folder(location: str, base: Path, remotes: dict[str, Path]) -> Path:
    """A folder to write to; of a URL its working copy, which is noted in `remotes`."""
    if not is_url(location):
        return base / location
    location = location.rstrip("/")
    for url, local in remotes.items():
        if location.startswith(f"{url}/"):
            return local / location.removeprefix(f"{url}/")
    remotes[location] = working_copy(scratch_folder(), location)
    return remotes[location]


def _dataset(name: str, entry: Any, base: Path) -> DatasetConfig:
    table = {"path": entry} if isinstance(entry, str) else entry
    if not isinstance(table, Mapping) or not isinstance(table.get("path"), str):
        raise UsageError(
            f'Expected [datasets] {name} = "path" or {{ path = "..." }}, got {entry!r}.'
        )
    _known(table, {f.name for f in fields(DatasetConfig)}, f"[datasets] {name}")
    path = _location(table["path"], base)
    return _build(DatasetConfig, {**_tuples(table), "path": path}, f"[datasets] {name}")


def _archive(
    table: Mapping[str, Any], base: Path, workspace: Path, remotes: dict[str, Path]
) -> ArchiveConfig:
    _known(table, {f.name for f in fields(ArchiveConfig)}, "[archive]")
    if "path" not in table:
        raise UsageError("Expected a path in [archive], got none.")
    paths = {
        "path": _location(table["path"], base),
        "output": _folder(table["output"], base, remotes)
        if "output" in table
        else workspace / "colorized",
        "truth": _truth(table["truth"], base) if "truth" in table else None,
    }
    return _build(ArchiveConfig, {**_tuples(table), **paths}, "[archive]")


def _truth(location: str, base: Path) -> Path:
    return (
        fetch_folder(location, scratch_folder() / _FILES) if is_url(location) else base / location
    )


def _location(location: str, base: Path) -> str:
    """A location that the config names, relative to its folder."""
    if is_url(location):
        return location
    prefix = LIST_PREFIX if location.startswith(LIST_PREFIX) else ""
    return f"{prefix}{base / location.removeprefix(prefix)}"


def _tuples(table: Mapping[str, Any]) -> dict[str, Any]:
    """TOML's arrays as tuples."""
    return {key: tuple(v) if isinstance(v, list) else v for key, v in table.items()}


def _section(cls: type[T], table: Mapping[str, Any], name: str, extra: Mapping[str, Any]) -> T:
    section = table.get(name, {})
    known = {f.name: f for f in fields(cls)}  # type: ignore[arg-type]
    _known(section, set(known) - {"seed"}, f"[{name}]")  # one seed, at the top level
    return _build(cls, _tuples(section) | dict(extra), f"[{name}]")


def _build(cls: type[T], values: Mapping[str, Any], where: str) -> T:
    try:
        return cls(**values)
    except TypeError as error:
        raise UsageError(f"Expected fitting types in {where}, got: {error}.") from error


def _known(table: Mapping[str, Any], allowed: set[str], where: str) -> None:
    unknown = sorted(set(table) - allowed)
    if unknown:
        raise UsageError(
            f"Expected keys of {', '.join(sorted(allowed))} in {where}; got {', '.join(unknown)}."
        )
