"""chromaflow.toml: one typed config a stage, unknown keys refused."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, TypeVar

from colorization.categories import category_index
from colorization.errors import ConfigError
from colorization.recipes import Recipe, build_recipe
from storage.errors import UsageError

INITS = ("scratch", "encoder", "starter")
MERGES = ("soft", "hard")
T = TypeVar("T")


@dataclass(frozen=True, kw_only=True, slots=True)
class IngestConfig:
    """[ingest]: which photos are usable, and the split."""

    val_share: float = 0.1
    """Share of photos held out for validation, 0..0.9, decided by content hash."""
    min_side: int = 32
    """Photos with a shorter short side go to quarantine, pixels."""
    max_megapixels: float = 500.0

    def __post_init__(self) -> None:
        _expect(0 <= self.val_share <= 0.9, "ingest.val_share", "0..0.9", self.val_share)
        _expect(self.min_side >= 1, "ingest.min_side", "1 or more", self.min_side)


@dataclass(frozen=True, kw_only=True, slots=True)
class PreprocessConfig:
    """[preprocess]: crop, flip, saturate (paper section 1.2)."""

    size: int = 256
    """Side of the stored crop, pixels, a multiple of 32."""
    saturation: float = 1.2
    """Factor on a and b of training photos ("slightly enhanced"); validation keeps the truth."""
    horizontal_flip: float = 0.5
    """Probability, 0..1."""
    vertical_flip: float = 0.5
    """Probability, 0..1."""
    seed: int = 0

    def __post_init__(self) -> None:
        _expect(
            self.size >= 32 and self.size % 32 == 0,
            "preprocess.size",
            "a multiple of 32",
            self.size,
        )
        _expect(0 <= self.saturation <= 4, "preprocess.saturation", "0..4", self.saturation)
        for name in ("horizontal_flip", "vertical_flip"):
            value = getattr(self, name)
            _expect(0 <= value <= 1, f"preprocess.{name}", "0..1", value)


@dataclass(frozen=True, kw_only=True, slots=True)
class TrainConfig:
    """[train]: a recipe, what the weights start from, and fields of the recipe to replace."""

    recipe: str = "default"
    init: str = "scratch"
    """scratch; encoder: the file in `encoder_weights`; starter: the package's expert (fine-tune)."""
    encoder_weights: str = ""
    """A resnet18 state dict as safetensors, for init = "encoder"."""
    overrides: dict[str, Any] = field(default_factory=dict)
    """Recipe fields by name, e.g. epochs = 1."""
    seed: int = 0

    def __post_init__(self) -> None:
        _expect(self.init in INITS, "train.init", ", ".join(INITS), self.init)
        _expect(
            (self.init == "encoder") == bool(self.encoder_weights),
            "train.encoder_weights",
            'a file exactly when init = "encoder"',
            self.encoder_weights,
        )
        build_recipe(self.recipe, self.overrides)

    def build_recipe(self) -> Recipe:
        """The recipe with the overrides applied."""
        return build_recipe(self.recipe, self.overrides)


@dataclass(frozen=True, kw_only=True, slots=True)
class ColorizeConfig:
    """[colorize]: segmenter and merge."""

    segmenter: str = "starter"
    """starter or torchvision:<name>."""
    segmenter_weights: str = ""
    """The official state dict (.pth) of a torchvision segmenter; default: the cache of
    `chromaflow models fetch`."""
    merge: str = "soft"
    """soft, or hard as in the paper."""
    threshold: float = 0.05
    """An expert whose weight nowhere in a photo exceeds this is not run, 0..1."""
    short_side: int = 256
    """Network size: the short side in pixels."""
    chunk: int = 8
    """Photos a Dask future."""
    sheet: int = 12
    """Photos on the contact sheet."""

    def __post_init__(self) -> None:
        _expect(self.merge in MERGES, "colorize.merge", ", ".join(MERGES), self.merge)
        _expect(0 <= self.threshold < 1, "colorize.threshold", "0..1", self.threshold)
        _expect(self.short_side >= 32, "colorize.short_side", "32 or more", self.short_side)
        _expect(self.chunk >= 1, "colorize.chunk", "1 or more", self.chunk)


@dataclass(frozen=True, kw_only=True, slots=True)
class ComputeConfig:
    """[compute]: how the machine is shared. It changes no output, so it enters no fingerprint."""

    workers: int = 0
    """Dask worker processes; 0 for one a core."""
    scheduler: str = ""
    """Address of a running Dask scheduler, instead of local processes."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ArchiveConfig:
    """[archive]: gray photos in, colour out."""

    path: Path
    output: Path
    truth: Path | None = None
    """Colour originals under the same relative names, for the contact sheet and scores."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Workflow:
    """A whole chromaflow.toml."""

    workspace: Path
    datasets: dict[str, Path] = field(default_factory=dict)
    """Category → folder of colour photos."""
    archive: ArchiveConfig | None = None
    ingest: IngestConfig = field(default_factory=IngestConfig)
    preprocess: PreprocessConfig = field(default_factory=PreprocessConfig)
    train: TrainConfig = field(default_factory=TrainConfig)
    colorize: ColorizeConfig = field(default_factory=ColorizeConfig)
    compute: ComputeConfig = field(default_factory=ComputeConfig)
    experts: dict[str, Path] = field(default_factory=dict)
    """Category → weights file, for categories without a dataset; default: the starter's."""

    def __post_init__(self) -> None:
        for name in (*self.datasets, *self.experts):
            category_index(name)


def load_workflow(path: Path) -> Workflow:
    """Read chromaflow.toml; relative paths in it start from its folder.

    Raises UsageError naming the key and the allowed ones.
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
    allowed = {f.name for f in fields(Workflow)} | {"seed"}
    _known(table, allowed, "the top level")
    seed = {"seed": table.get("seed", 0)}
    archive = table.get("archive")
    encoder = table.get("train", {}).get("encoder_weights")
    resolved = {"encoder_weights": str(base / encoder)} if encoder else {}
    weights = table.get("colorize", {}).get("segmenter_weights")
    segmenter = {"segmenter_weights": str(base / weights)} if weights else {}
    workspace = base / table.get("workspace", "workspace")
    return Workflow(
        workspace=workspace,
        datasets={name: base / folder for name, folder in table.get("datasets", {}).items()},
        archive=_archive(archive, base, workspace) if archive else None,
        ingest=_section(IngestConfig, table, "ingest", {}),
        preprocess=_section(PreprocessConfig, table, "preprocess", seed),
        train=_section(TrainConfig, table, "train", seed | resolved),
        colorize=_section(ColorizeConfig, table, "colorize", segmenter),
        compute=_section(ComputeConfig, table, "compute", {}),
        experts={name: base / file for name, file in table.get("experts", {}).items()},
    )


def canonical(config: Any) -> dict[str, Any]:
    """A stage config as JSON values, for its fingerprint."""
    return asdict(config)


def _archive(table: Mapping[str, Any], base: Path, workspace: Path) -> ArchiveConfig:
    _known(table, {"path", "output", "truth"}, "[archive]")
    if "path" not in table:
        raise UsageError("Expected a path in [archive], got none.")
    return ArchiveConfig(
        path=base / table["path"],
        output=base / table["output"] if "output" in table else workspace / "colorized",
        truth=base / table["truth"] if "truth" in table else None,
    )


def _section(cls: type[T], table: Mapping[str, Any], name: str, extra: Mapping[str, Any]) -> T:
    section = table.get(name, {})
    known = {f.name: f for f in fields(cls)}  # type: ignore[arg-type]
    _known(section, set(known) - {"seed"}, f"[{name}]")  # one seed, at the top level
    try:
        return cls(**(dict(section) | dict(extra)))
    except TypeError as error:
        raise UsageError(f"Expected fitting types in [{name}], got: {error}.") from error


def _known(table: Mapping[str, Any], allowed: set[str], where: str) -> None:
    unknown = sorted(set(table) - allowed)
    if unknown:
        raise UsageError(
            f"Expected keys of {', '.join(sorted(allowed))} in {where}; got {', '.join(unknown)}."
        )


def _expect(holds: bool, key: str, allowed: str, value: object) -> None:
    if not holds:
        raise ConfigError(f"Expected {key} of {allowed}; got {value!r}.")
