"""chromaflow.toml: read and checked whole, then made a Workflow with absolute paths."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated, Any

from pydantic import GetCoreSchemaHandler
from pydantic_core import CoreSchema, core_schema

from storage.errors import UsageError
from storage.remote.folder import fetch_file, fetch_folder, working_copy
from storage.sources.locations import LIST_PREFIX, is_url
from tasks.config.categories import CategoryTable, read_categories
from tasks.config.model import (
    ArchiveConfig,
    ColorizeConfig,
    ComputeConfig,
    DatasetConfig,
    IngestConfig,
    PreprocessConfig,
    TrainConfig,
    Workflow,
)
from tasks.config.problems import Place
from tasks.config.training import check_pretraining
from tasks.config.types import ENCODING, LOCATION, PATTERNS, SEED, build, checked
from tasks.weights.models import scratch_folder

_SEEDED = ("ingest", "preprocess", "pretrain", "train")
"""Sections that the one seed goes to."""


@dataclass(frozen=True, slots=True)
class _PathAlone:
    """A table that may be written as its path alone."""

    words: str
    example: str = "photos"

    def __get_pydantic_core_schema__(
        self, source: Any, handler: GetCoreSchemaHandler
    ) -> CoreSchema:
        """Called by pydantic."""

        def widen(value: Any) -> Any:
            return {"path": value} if isinstance(value, str) else value

        return core_schema.no_info_before_validator_function(widen, handler(source))


@checked
@dataclass(frozen=True, kw_only=True, slots=True)
class ArchiveTable:
    """[archive] as it is written; what its keys mean is said at `ArchiveConfig`."""

    path: Annotated[str, LOCATION]
    output: Annotated[str, LOCATION] | None = None
    truth: Annotated[str, LOCATION] | None = None
    include: Annotated[tuple[str, ...], PATTERNS] = ()
    exclude: Annotated[tuple[str, ...], PATTERNS] = ()
    follow: bool = True
    encoding: Annotated[str, ENCODING] = ""
    bag: bool = False


_Dataset = Annotated[DatasetConfig, _PathAlone("a path, or a table with one")]


@checked
@dataclass(frozen=True, kw_only=True, slots=True)
class ConfigTable:
    """A chromaflow.toml as it is written: paths are relative, files may be URLs."""

    workspace: Annotated[str, LOCATION] = "workspace"
    categories: dict[str, CategoryTable] = field(default_factory=dict)
    """Read by `tasks.config.categories`."""
    seed: Annotated[int, SEED] = 0
    datasets: dict[str, _Dataset] = field(default_factory=dict)
    experts: dict[str, Annotated[str, LOCATION]] = field(default_factory=dict)
    archive: ArchiveTable | None = None
    ingest: IngestConfig = field(default_factory=IngestConfig)
    preprocess: PreprocessConfig = field(default_factory=PreprocessConfig)
    pretrain: TrainConfig | None = None
    train: TrainConfig = field(default_factory=TrainConfig)
    colorize: ColorizeConfig = field(default_factory=ColorizeConfig)
    compute: ComputeConfig = field(default_factory=ComputeConfig)

    def __post_init__(self) -> None:
        check_pretraining(self.pretrain, self.train, len(self.datasets))


def load_workflow(path: Path) -> Workflow:
    """Read chromaflow.toml; relative paths in it start from its folder.

    Files that it names by URL are downloaded once all of it is found right. Raises UsageError where
    there is no TOML, ConfigError naming every wrong setting, RemoteError.
    """
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise UsageError(
            f"Expected a config at {path}, found none. `chromaflow init` writes one."
        ) from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, OSError) as error:
        raise UsageError(f"Expected TOML in {path}, got: {error}. Correct it.") from error
    return build_workflow(table, path.resolve().parent, f"{path}: ")


def build_workflow(table: Mapping[str, Any], base: Path, before: str = "") -> Workflow:
    """A Workflow from parsed TOML. base: what relative paths start from. before: for messages.

    Raises ConfigError naming every wrong setting.
    """
    place = Place(before=before, sections=True)
    categories, problems = read_categories(table, place)
    read = _read_table(table, place, problems)
    remotes: dict[str, Path] = {}
    workspace = _folder(read.workspace, base, remotes)
    return Workflow(
        workspace=workspace,
        categories=categories,
        datasets={
            name: replace(dataset, path=_location(dataset.path, base))
            for name, dataset in read.datasets.items()
        },
        archive=_archive(read.archive, base, workspace, remotes) if read.archive else None,
        ingest=replace(read.ingest, seed=read.seed),
        preprocess=replace(read.preprocess, seed=read.seed),
        pretrain=replace(read.pretrain, seed=read.seed, **_files(read.pretrain, base))
        if read.pretrain
        else None,
        train=replace(read.train, seed=read.seed, **_files(read.train, base)),
        colorize=replace(read.colorize, **_files(read.colorize, base)),
        compute=read.compute,
        experts={name: _file(file, base) for name, file in read.experts.items()},
        remotes=remotes,
    )


def _read_table(table: Mapping[str, Any], place: Place, problems: Sequence[str]) -> ConfigTable:
    """The table checked, in which a section has no seed of its own. problems: found before."""
    table, problems = {k: v for k, v in table.items() if k != "categories"}, list(problems)
    for name in _SEEDED:
        section = table.get(name)
        if isinstance(section, dict) and "seed" in section:
            table[name] = {key: value for key, value in section.items() if key != "seed"}
            path = place.path((name, "seed"))
            problems.append(
                f"{path}: expected one seed, at the top level, got another in [{name}]. Write seed "
                "above the sections."
            )
    read: ConfigTable = build(ConfigTable, table, place, problems)
    return read


_FILES = "files"
"""Below the folder of working copies: what is only read."""
_FILE_KEYS = (
    "encoder_weights",
    "init_weights",
    "perceptual_weights",
    "segmenter_weights",
    "hints",
    "palette_from",
    "certificates",
    "key",
)


def _files(section: Any, base: Path) -> dict[str, Any]:
    """The files that a section names, from the config's folder."""
    named = {key: getattr(section, key, "") for key in _FILE_KEYS}
    return {key: str(_file(location, base)) for key, location in named.items() if location}


def _file(location: str, base: Path) -> Path:
    """A file that the config names; one behind a URL is downloaded, and weights that it shares."""
    if not is_url(location):
        return base / location
    from storage.records.checkpoints import read_provenance  # takes numpy along

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


def _archive(
    table: ArchiveTable, base: Path, workspace: Path, remotes: dict[str, Path]
) -> ArchiveConfig:
    return ArchiveConfig(
        path=_location(table.path, base),
        output=_folder(table.output, base, remotes) if table.output else workspace / "colorized",
        truth=_truth(table.truth, base) if table.truth else None,
        include=table.include,
        exclude=table.exclude,
        follow=table.follow,
        encoding=table.encoding,
        bag=table.bag,
    )


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
