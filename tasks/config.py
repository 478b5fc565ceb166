"""chromaflow.toml: one typed config a stage, unknown keys refused."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, TypeVar

from colorization.categories import category_index
from colorization.errors import ConfigError
from colorization.networks import ENCODER_NETWORKS
from colorization.recipes import Recipe, build_recipe
from colorization.segmenter_names import SEGMENTER_NAMES
from storage.content_credentials import Signing
from storage.datasets import LAYOUTS
from storage.duplicates import MAX_DISTANCE
from storage.errors import REASONS, UsageError
from storage.formats import OUTPUT_FORMATS
from storage.source_files import LIST_PREFIX
from storage.sources import is_url

INITS = ("scratch", "encoder", "imagenet", "starter", "file")
DEVICES = ("auto", "cpu", "cuda")
MERGES = ("soft", "hard")
TONINGS = ("neutral", "keep")
LABELS = ("corner", "border")
SATURATION_SPACES = ("lab", "hsv")
T = TypeVar("T")


@dataclass(frozen=True, kw_only=True, slots=True)
class IngestConfig:
    """[ingest]: which photos are usable, and the split."""

    val_share: float = 0.1
    """Share of photos held out for validation, 0..0.9, decided by content hash."""
    min_side: int = 32
    """Photos with a shorter short side go to quarantine, pixels."""
    max_megapixels: float = 500.0
    """Larger photos go to quarantine."""
    max_training_megapixels: float = 100.0
    """The same for photos of a dataset, which are decoded whole unless they are JPEG."""
    min_spread: float = 1.5
    """Photos of a dataset with less colour beyond gray and toning are NEAR_GRAY; Lab units, rms."""
    min_colourfulness: float = 0.0
    """Photos of a dataset below this (Hasler and Süsstrunk 2003) are DULL; 0 keeps all."""
    twin_distance: int = 10
    """Photos of a dataset that differ in at most so many of 256 bits are near duplicates; −1 keeps
    them, and exact duplicates too."""
    seed: int = 0
    """Of the sample that a dataset's `limit` takes."""

    def __post_init__(self) -> None:
        _expect(0 <= self.val_share <= 0.9, "ingest.val_share", "0..0.9", self.val_share)
        _expect(self.min_side >= 1, "ingest.min_side", "1 or more", self.min_side)
        _expect(self.max_megapixels > 0, "ingest.max_megapixels", "over 0", self.max_megapixels)
        _expect(self.min_spread >= 0, "ingest.min_spread", "0 or more", self.min_spread)
        _expect(
            self.min_colourfulness >= 0,
            "ingest.min_colourfulness",
            "0 or more",
            self.min_colourfulness,
        )
        _expect(
            -1 <= self.twin_distance <= MAX_DISTANCE,
            "ingest.twin_distance",
            f"-1..{MAX_DISTANCE}",
            self.twin_distance,
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class DatasetConfig:
    """[datasets] category = "path", or { path = "...", layout = "...", limit = N }."""

    path: str
    """A folder, a .zip or .tar, or an fsspec URL of one."""
    layout: str = "auto"
    """How it names, labels and splits its photos; auto recognises it."""
    limit: int = 0
    """Most photos to use, a stratified sample by seed and content; 0 for all."""
    include: tuple[str, ...] = ()
    """Patterns as in .gitignore of the only files to read; empty for all."""
    exclude: tuple[str, ...] = ()
    """Patterns of files to leave out."""

    def __post_init__(self) -> None:
        allowed = ("auto", *LAYOUTS)
        _expect(self.layout in allowed, "a dataset's layout", ", ".join(allowed), self.layout)
        _expect(self.limit >= 0, "a dataset's limit", "0 or more", self.limit)


@dataclass(frozen=True, kw_only=True, slots=True)
class PreprocessConfig:
    """[preprocess]: crop, flip, saturate (paper section 1.2)."""

    size: int = 256
    """Side of the stored crop, pixels, a multiple of 32."""
    short_side: int = 0
    """Photos are resized to this before the crop is drawn; 0 for `size`, pixels."""
    variants: int = 1
    """Crops drawn from each training photo."""
    saturation: float = 1.2
    """Factor on the colours of training photos ("slightly enhanced"); validation keeps the truth."""
    saturation_space: str = "lab"
    """lab: chroma, lightness stays; hsv: HSV's saturation, as image editors and torchvision do."""
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
        _expect(
            self.short_side == 0 or self.short_side >= self.size,
            "preprocess.short_side",
            f"0, or size ({self.size}) or more",
            self.short_side,
        )
        _expect(1 <= self.variants <= 256, "preprocess.variants", "1..256", self.variants)
        _expect(0 <= self.saturation <= 4, "preprocess.saturation", "0..4", self.saturation)
        _expect(
            self.saturation_space in SATURATION_SPACES,
            "preprocess.saturation_space",
            ", ".join(SATURATION_SPACES),
            self.saturation_space,
        )
        for name in ("horizontal_flip", "vertical_flip"):
            value = getattr(self, name)
            _expect(0 <= value <= 1, f"preprocess.{name}", "0..1", value)


@dataclass(frozen=True, kw_only=True, slots=True)
class TrainConfig:
    """[train]: a recipe, what the weights start from, and fields of the recipe to replace."""

    recipe: str = "default"
    init: str = "scratch"
    """scratch; encoder: the resnet18 file in `encoder_weights`; imagenet: torchvision's resnet18,
    once `chromaflow models fetch torchvision:resnet18` got it; starter: the package's expert
    (fine-tune); file: the weights in `init_weights` (fine-tune)."""
    encoder_weights: str = ""
    """A resnet18 state dict as safetensors or .pth, for init = "encoder"."""
    init_weights: str = ""
    """Weights of the same network, ours or a published release, for init = "file"."""
    perceptual_weights: str = ""
    """A vgg16 state dict as safetensors or .pth, for recipes with perceptual over 0."""
    license: str = "as the training photos allow; not stated"
    """Of the trained weights, for the card."""
    min_photos: int = 8
    """A category with fewer usable training photos is refused."""
    overrides: dict[str, Any] = field(default_factory=dict)
    """Recipe fields by name, e.g. epochs = 1."""
    seed: int = 0

    def __post_init__(self) -> None:
        _expect(self.init in INITS, "train.init", ", ".join(INITS), self.init)
        for init, key in (("encoder", "encoder_weights"), ("file", "init_weights")):
            _expect(
                (self.init == init) == bool(getattr(self, key)),
                f"train.{key}",
                f'a file exactly when init = "{init}"',
                getattr(self, key),
            )
        _expect(self.min_photos >= 2, "train.min_photos", "2 or more", self.min_photos)
        recipe = self.build_recipe()
        _expect(
            (recipe.objective.perceptual > 0) == bool(self.perceptual_weights),
            "train.perceptual_weights",
            "a vgg16 file exactly when the recipe's perceptual is over 0",
            self.perceptual_weights,
        )
        _expect(
            self.init not in ("encoder", "imagenet") or recipe.network in ENCODER_NETWORKS,
            "the recipe's network",
            f'{", ".join(ENCODER_NETWORKS)} with init = "{self.init}"',
            recipe.network,
        )

    def build_recipe(self) -> Recipe:
        """The recipe with the overrides applied."""
        return build_recipe(self.recipe, self.overrides)

    def result_parts(self) -> dict[str, Any]:
        """What decides the weights and their card, for the fingerprint; files count by their hash."""
        kept = {name: getattr(self, name) for name in ("init", "license", "seed")}
        return self.build_recipe().to_dict() | kept


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
    threshold: float = 0.1
    """An expert whose weight nowhere in a photo exceeds this is not run, 0..1."""
    short_side: int = 256
    """Network size: the short side in pixels."""
    chunk: int = 32
    """Most photos a Dask future; about 12 megapixels end one earlier."""
    sheet: int = 12
    """Photos on the contact sheet; 0 for none."""
    toning: str = "neutral"
    """Of toned photos (sepia): neutral replaces the toning, keep adds the colours to it."""
    accept: tuple[str, ...] = ()
    """What is coloured instead of skipped: ALREADY_COLOR, BILEVEL, ANIMATED."""
    format: str = ""
    """Format of all outputs: jpeg, png, tiff or webp; empty for each photo's own."""
    label: str = ""
    """A visible "AI colorized": corner or border; empty for none."""
    sidecar: bool = False
    """Whether every output gets an XMP sidecar, not only where the format holds no metadata."""

    certificates: str = ""
    """PEM with the signer's certificate and its authorities': every output that can gets a signed C2PA
    manifest (needs the extra `c2pa`); empty for none."""
    key: str = ""
    """PEM with that certificate's private key."""
    signature: str = "es256"
    """Algorithm of the key."""
    time_authority: str = ""
    """URL of a time-stamp authority that is asked for each output; empty for none."""

    def __post_init__(self) -> None:
        _expect(
            bool(self.certificates) == bool(self.key),
            "colorize.key",
            "a file exactly when colorize.certificates is one",
            self.key,
        )
        _expect(
            self.segmenter in SEGMENTER_NAMES,
            "colorize.segmenter",
            ", ".join(SEGMENTER_NAMES),
            self.segmenter,
        )
        _expect(self.merge in MERGES, "colorize.merge", ", ".join(MERGES), self.merge)
        _expect(0 <= self.threshold < 1, "colorize.threshold", "0..1", self.threshold)
        _expect(self.short_side >= 32, "colorize.short_side", "32 or more", self.short_side)
        _expect(self.chunk >= 1, "colorize.chunk", "1 or more", self.chunk)
        _expect(self.sheet >= 0, "colorize.sheet", "0 or more", self.sheet)
        _expect(self.toning in TONINGS, "colorize.toning", ", ".join(TONINGS), self.toning)
        for name, allowed in (("format", OUTPUT_FORMATS), ("label", LABELS)):
            value = getattr(self, name)
            _expect(value in ("", *allowed), f"colorize.{name}", ", ".join(allowed), value)
        known = [code for code, reason in REASONS.items() if reason.acceptable]
        for code in self.accept:
            _expect(code in known, "colorize.accept", ", ".join(known), code)

    def output_parts(self) -> dict[str, Any]:
        """What a worker needs to know beside the models."""
        names = ("toning", "accept", "format", "label", "sidecar")
        return {name: getattr(self, name) for name in names} | {"signing": self.signing}

    @property
    def signing(self) -> Signing | None:
        """With what outputs are signed, if at all. Raises UsageError for a value that cannot be one."""
        if not self.certificates:
            return None
        return Signing(
            certificates=Path(self.certificates),
            key=Path(self.key),
            algorithm=self.signature,
            time_authority=self.time_authority,
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class ComputeConfig:
    """[compute]: how the machine is shared. It enters no fingerprint: it changes no photo and no shard,
    of trained weights the order of sums, and with the device their precision, which the card says."""

    workers: int = 0
    """Dask worker processes; 0 for one a core."""
    scheduler: str = ""
    """Address of a running Dask scheduler, instead of local processes."""
    cores: int = 0
    """Cores to share out; 0 for all that this process may use."""
    threads: int = 0
    """torch threads of a training process; 0 for its share of the cores."""
    device: str = "auto"
    """Where networks are trained and colorize: auto (a GPU where there is one), cpu or cuda."""
    checkpoint_seconds: float = 60.0
    """Training saves its state this often, and at the end of each epoch."""
    sheet_every: int = 5
    """Epochs between two sample sheets of a training."""

    def __post_init__(self) -> None:
        for name in ("workers", "cores", "threads", "checkpoint_seconds"):
            value = getattr(self, name)
            _expect(value >= 0, f"compute.{name}", "0 or more", value)
        _expect(self.sheet_every >= 1, "compute.sheet_every", "1 or more", self.sheet_every)
        _expect(self.device in DEVICES, "compute.device", ", ".join(DEVICES), self.device)


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
    datasets: dict[str, DatasetConfig] = field(default_factory=dict)
    """Category → colour photos."""
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
    train = table.get("train", {})
    resolved = {key: str(base / train[key]) for key in _TRAIN_FILES if train.get(key)}
    colorize = table.get("colorize", {})
    named = {key: str(base / colorize[key]) for key in _COLORIZE_FILES if colorize.get(key)}
    workspace = base / table.get("workspace", "workspace")
    return Workflow(
        workspace=workspace,
        datasets={
            name: _dataset(name, entry, base) for name, entry in table.get("datasets", {}).items()
        },
        archive=_archive(archive, base, workspace) if archive else None,
        ingest=_section(IngestConfig, table, "ingest", seed),
        preprocess=_section(PreprocessConfig, table, "preprocess", seed),
        train=_section(TrainConfig, table, "train", seed | resolved),
        colorize=_section(ColorizeConfig, table, "colorize", named),
        compute=_section(ComputeConfig, table, "compute", {}),
        experts={name: base / file for name, file in table.get("experts", {}).items()},
    )


_COLORIZE_FILES = ("segmenter_weights", "certificates", "key")
_TRAIN_FILES = ("encoder_weights", "init_weights", "perceptual_weights")


def canonical(config: Any) -> dict[str, Any]:
    """A stage config as JSON values, for its fingerprint."""
    return asdict(config)


def _dataset(name: str, entry: Any, base: Path) -> DatasetConfig:
    table = {"path": entry} if isinstance(entry, str) else entry
    if not isinstance(table, Mapping) or not isinstance(table.get("path"), str):
        raise UsageError(
            f'Expected [datasets] {name} = "path" or {{ path = "..." }}, got {entry!r}.'
        )
    _known(table, {f.name for f in fields(DatasetConfig)}, f"[datasets] {name}")
    path = _location(table["path"], base)
    return _build(DatasetConfig, {**_tuples(table), "path": path}, f"[datasets] {name}")


def _archive(table: Mapping[str, Any], base: Path, workspace: Path) -> ArchiveConfig:
    _known(table, {f.name for f in fields(ArchiveConfig)}, "[archive]")
    if "path" not in table:
        raise UsageError("Expected a path in [archive], got none.")
    paths = {
        "path": _location(table["path"], base),
        "output": base / table["output"] if "output" in table else workspace / "colorized",
        "truth": base / table["truth"] if "truth" in table else None,
    }
    return _build(ArchiveConfig, {**_tuples(table), **paths}, "[archive]")


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


def _expect(holds: bool, key: str, allowed: str, value: object) -> None:
    if not holds:
        raise ConfigError(f"Expected {key} of {allowed}; got {value!r}.")
