"""A whole chromaflow.toml as one typed config a stage. What a stage is configured by is beside it:
`tasks.config.training`, `tasks.config.colorize`, `tasks.config.compute`; `tasks.config.file` reads it."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

from colorization.categories import PAPER, Categories
from storage.allowed import LAYOUTS, MAX_TWIN_DISTANCE
from tasks.config.colorize import ColorizeConfig
from tasks.config.compute import ComputeConfig
from tasks.config.problems import Rule
from tasks.config.training import TrainConfig
from tasks.config.types import (
    ENCODING,
    LOCATION,
    PATTERNS,
    SEED,
    Accepts,
    canonical,
    check_rules,
    checked,
    number,
    one_of,
    over,
    whole,
)

__all__ = [
    "ArchiveConfig",
    "ColorizeConfig",
    "ComputeConfig",
    "DatasetConfig",
    "IngestConfig",
    "PreprocessConfig",
    "TrainConfig",
    "Workflow",
    "canonical",
]
SATURATION_SPACES = ("lab", "hsv")
_SIDE = Accepts("a multiple of 32, 32 or more", lambda value: value >= 32 and value % 32 == 0)


@checked
@dataclass(frozen=True, kw_only=True, slots=True)
class IngestConfig:
    """[ingest]: which photos are usable, and the split."""

    val_share: Annotated[float, number(0, 0.9)] = 0.1
    """Share of photos held out for validation, 0..0.9, decided by content hash."""
    min_side: Annotated[int, whole(1)] = 32
    """Photos with a shorter short side go to quarantine, pixels."""
    max_megapixels: Annotated[float, over(0)] = 500.0
    """Larger photos go to quarantine."""
    max_training_megapixels: Annotated[float, over(0)] = 100.0
    """The same for photos of a dataset, which are decoded whole unless they are JPEG."""
    min_spread: Annotated[float, number(0)] = 1.5
    """Photos of a dataset with less colour beyond gray and toning are NEAR_GRAY; Lab units, rms."""
    min_colourfulness: Annotated[float, number(0)] = 0.0
    """Photos of a dataset below this (Hasler and Süsstrunk 2003) are DULL; 0 keeps all."""
    twin_distance: Annotated[int, whole(-1, MAX_TWIN_DISTANCE)] = 10
    """Photos of a dataset that differ in at most so many of 256 bits are near duplicates; −1 keeps
    them, and exact duplicates too."""
    seed: Annotated[int, SEED] = 0
    """Of the sample that a dataset's `limit` takes."""


@checked
@dataclass(frozen=True, kw_only=True, slots=True)
class DatasetConfig:
    """[datasets] category = "path", or { path = "...", layout = "...", limit = N }."""

    path: Annotated[str, LOCATION]
    """A folder, a .zip or .tar, or an fsspec URL of one."""
    layout: Annotated[str, one_of("auto", *LAYOUTS)] = "auto"
    """How it names, labels and splits its photos; auto recognises it."""
    limit: Annotated[int, whole(0)] = 0
    """Most photos to use, a stratified sample by seed and content; 0 for all."""
    include: Annotated[tuple[str, ...], PATTERNS] = ()
    """Patterns as in .gitignore of the only files to read; empty for all."""
    exclude: Annotated[tuple[str, ...], PATTERNS] = ()
    """Patterns of files to leave out."""
    follow: bool = True
    """Whether links to files and folders are followed."""
    encoding: Annotated[str, ENCODING] = ""
    """Of names in zips and tars that are not UTF-8; empty where nobody knows it."""


@checked
@dataclass(frozen=True, kw_only=True, slots=True)
class PreprocessConfig:
    """[preprocess]: crop, flip, saturate (paper section 1.2)."""

    size: Annotated[int, _SIDE] = 256
    """Side of the stored crop, pixels, a multiple of 32."""
    short_side: Annotated[int, whole(0)] = 0
    """Photos are resized to this before the crop is drawn; 0 for `size`, pixels."""
    variants: Annotated[int, whole(1, 256)] = 1
    """Crops drawn from each training photo."""
    saturation: Annotated[float, number(0, 4)] = 1.2
    """Factor on the colours of training photos ("slightly enhanced"); validation keeps the truth."""
    saturation_space: Annotated[str, one_of(*SATURATION_SPACES)] = "lab"
    """lab: chroma, lightness stays; hsv: HSV's saturation, as image editors and torchvision do."""
    horizontal_flip: Annotated[float, number(0, 1)] = 0.5
    """Probability, 0..1."""
    vertical_flip: Annotated[float, number(0, 1)] = 0.5
    """Probability, 0..1."""
    seed: Annotated[int, SEED] = 0

    def __post_init__(self) -> None:
        check_rules(
            Rule(
                self.short_side == 0 or self.short_side >= self.size,
                "short_side",
                f"0, or size ({self.size}) or more",
                self.short_side,
                "Write short_side = 0 for the size.",
            )
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class ArchiveConfig:
    """[archive]: gray photos in, colour out."""

    path: str
    """A folder, bag, .zip or .tar, a pattern, an fsspec URL, or `list:FILE` with a path a line."""
    output: Path
    truth: Path | None = None
    """Colour originals under the same relative names, for the contact sheet and scores."""
    include: tuple[str, ...] = ()
    """Patterns as in .gitignore of the only files to read; empty for all."""
    exclude: tuple[str, ...] = ()
    """Patterns of files to leave out."""
    follow: bool = True
    """Whether links to files and folders are followed."""
    encoding: Annotated[str, ENCODING] = ""
    """Of names in zips and tars that are not UTF-8; empty where nobody knows it."""
    bag: bool = False
    """Whether the output becomes a BagIt bag (RFC 8493): photos below data/, manifests beside it."""

    @property
    def photos_root(self) -> Path:
        """Where the tree of colour photos begins."""
        return self.output / "data" if self.bag else self.output


@dataclass(frozen=True, kw_only=True, slots=True)
class Workflow:
    """A whole chromaflow.toml."""

    workspace: Path
    categories: Categories = PAPER
    datasets: dict[str, DatasetConfig] = field(default_factory=dict)
    """Category → colour photos."""
    archive: ArchiveConfig | None = None
    ingest: IngestConfig = field(default_factory=IngestConfig)
    preprocess: PreprocessConfig = field(default_factory=PreprocessConfig)
    pretrain: TrainConfig | None = None
    """One network over all categories, before and beside what they train of their own; None: none."""
    train: TrainConfig = field(default_factory=TrainConfig)
    colorize: ColorizeConfig = field(default_factory=ColorizeConfig)
    compute: ComputeConfig = field(default_factory=ComputeConfig)
    experts: dict[str, Path] = field(default_factory=dict)
    """Category → weights file, for categories without a dataset; default: the starter's."""
    remotes: dict[str, Path] = field(default_factory=dict)
    """URL of the workspace or the output → its working copy on this machine."""

    @property
    def written_folders(self) -> tuple[Path, ...]:
        """Where a run writes: no link in a source may lead there."""
        own = (self.archive.output,) if self.archive else ()
        return (self.workspace, *own)

    def place_of(self, path: Path) -> str:
        """Where a path lies for all machines: a URL, or itself."""
        for url, local in self.remotes.items():
            if path == local:
                return url
            if path.is_relative_to(local):
                return f"{url}/{path.relative_to(local).as_posix()}"
        return str(path)

    def __post_init__(self) -> None:
        own = (*self.datasets, *self.experts, *self.train.categories)
        for name in (*own, *self.colorize.classes.values()):
            self.categories.index(name)
