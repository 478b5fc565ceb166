"""chromaflow.toml: one typed config a stage, unknown keys refused."""

from __future__ import annotations

import re
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, TypeVar

from colorization.categories import category_index, class_to_category
from colorization.errors import ConfigError
from colorization.merge_options import MergeOptions
from colorization.networks import ENCODER_NETWORKS
from colorization.recipes import Recipe, build_recipe
from colorization.segmenter_names import check_segmenter
from storage.content_credentials import Signing
from storage.datasets import LAYOUTS
from storage.duplicates import MAX_DISTANCE
from storage.errors import REASONS
from storage.formats import OUTPUT_FORMATS

INITS = ("scratch", "encoder", "imagenet", "pretrained", "starter", "file")
DEVICES = ("auto", "cpu", "cuda")
_ADDRESS = re.compile(r"(tcp|tls)://.+:\d+|inproc://.+")
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
    once `chromaflow models fetch torchvision:resnet18` got it; pretrained: what [pretrain] trained on
    all categories; starter: the package's expert
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
    categories: dict[str, dict[str, Any]] = field(default_factory=dict)
    """Recipe fields of one category alone, over `overrides`: [train.categories.birds] epochs = 2."""
    seed: int = 0

    def __post_init__(self) -> None:
        for category, own in self.categories.items():
            category_index(category)
            _expect(isinstance(own, dict), f"train.categories.{category}", "recipe fields", own)
            self.of(category)
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

    def of(self, category: str) -> TrainConfig:
        """What one category is trained with."""
        own = self.categories.get(category, {})
        return replace(self, overrides=self.overrides | own, categories={})

    def build_recipe(self) -> Recipe:
        """The recipe with the overrides applied, those of categories left out."""
        return build_recipe(self.recipe, self.overrides)

    def result_parts(self) -> dict[str, Any]:
        """What decides the weights and their card, for the fingerprint; files count by their hash."""
        kept = {name: getattr(self, name) for name in ("init", "license", "seed")}
        return self.build_recipe().to_dict() | kept


_MERGE = MergeOptions()
"""The defaults of [colorize], which are said there."""


_PLACES = ("segmenter_weights", "hints", "certificates", "key")
"""Fields of [colorize] that say where a file lies."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ColorizeConfig:
    """[colorize]: segmenter and merge."""

    segmenter: str = "starter"
    """starter, torchvision:<name>, or MODULE:CLASS of one's own."""
    segmenter_weights: str = ""
    """The official state dict (.pth) of a torchvision segmenter; default: the cache of
    `chromaflow models fetch`. Of one's own: the file that it is called with."""
    classes: dict[str, str] = field(default_factory=dict)
    """VOC class → category where it is to be another than the paper's; for torchvision's segmenters."""
    merge: str = _MERGE.mode
    """soft, or hard as in the paper. This and the five below: `colorization.merge_options`."""
    temperature: float = _MERGE.temperature
    floor: float = _MERGE.floor
    feather: float = _MERGE.feather
    threshold: float = _MERGE.threshold
    abstain: float = _MERGE.abstain
    short_side: int = 256
    """Network size: the short side in pixels."""
    chunk: int = 32
    """Most photos a Dask future; about 12 megapixels end one earlier."""
    sheet: int = 12
    """Photos on the contact sheet; 0 for none."""
    thumbnails: int = 256
    """Long side of each photo's pictures in the run report, pixels; 0 for none, and then its mix of
    categories and its colourfulness are not measured."""
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
    uncertainty: bool = False
    """Whether every output gets a map of how certain its colours are beside it."""
    hints: str = ""
    """CSV of colours at points of photos (`tasks.hints`); empty for none."""
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
        check_segmenter(self.segmenter)
        class_to_category(owners=self.classes)
        _expect(
            not self.classes or self.segmenter.startswith("torchvision:"),
            "colorize.segmenter",
            "torchvision:<name> with [colorize.classes]",
            self.segmenter,
        )
        _ = self.merge_options  # raises for a wrong one
        _expect(self.short_side >= 32, "colorize.short_side", "32 or more", self.short_side)
        _expect(self.chunk >= 1, "colorize.chunk", "1 or more", self.chunk)
        _expect(self.sheet >= 0, "colorize.sheet", "0 or more", self.sheet)
        is_side = self.thumbnails == 0 or 64 <= self.thumbnails <= 1024
        _expect(is_side, "colorize.thumbnails", "0, or 64 to 1024", self.thumbnails)
        _expect(self.toning in TONINGS, "colorize.toning", ", ".join(TONINGS), self.toning)
        for name, allowed in (("format", OUTPUT_FORMATS), ("label", LABELS)):
            value = getattr(self, name)
            _expect(value in ("", *allowed), f"colorize.{name}", ", ".join(allowed), value)
        known = [code for code, reason in REASONS.items() if reason.acceptable]
        for code in self.accept:
            _expect(code in known, "colorize.accept", ", ".join(known), code)

    def result_parts(self) -> dict[str, Any]:
        """What decides the outputs, for the fingerprint; files count by their hash."""
        return {name: value for name, value in canonical(self).items() if name not in _PLACES}

    def output_parts(self) -> dict[str, Any]:
        """What a worker needs to know beside the models."""
        names = ("toning", "accept", "format", "label", "sidecar", "uncertainty", "thumbnails")
        return {name: getattr(self, name) for name in names} | {"signing": self.signing}

    @property
    def merge_options(self) -> MergeOptions:
        """How the experts are merged. Raises ConfigError."""
        return MergeOptions(
            mode=self.merge,
            temperature=self.temperature,
            floor=self.floor,
            feather=self.feather,
            threshold=self.threshold,
            abstain=self.abstain,
        )

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
    """Address of a running Dask scheduler, tcp:// or tls://, instead of local processes."""
    cluster: str = ""
    """A Dask cluster class by import path, instead of local processes; it gets `workers` workers."""
    cluster_options: dict[str, Any] = field(default_factory=dict)
    """What the class is called with."""
    cluster_patience: float = 600.0
    """Seconds to wait for the first worker of a scheduler or cluster class."""
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
        for name in ("workers", "cores", "threads", "checkpoint_seconds", "cluster_patience"):
            value = getattr(self, name)
            _expect(value >= 0, f"compute.{name}", "0 or more", value)
        _expect(self.sheet_every >= 1, "compute.sheet_every", "1 or more", self.sheet_every)
        _expect(self.device in DEVICES, "compute.device", ", ".join(DEVICES), self.device)
        self._check_cluster()

    def _check_cluster(self) -> None:
        _expect(
            not self.scheduler or bool(_ADDRESS.fullmatch(self.scheduler)),
            "compute.scheduler",
            "tcp://HOST:PORT or tls://HOST:PORT (or inproc:// within one process)",
            self.scheduler,
        )
        _expect(
            not (self.scheduler and self.cluster),
            "compute.cluster",
            "nothing beside compute.scheduler",
            self.cluster,
        )
        _expect(
            bool(self.cluster) or not self.cluster_options,
            "compute.cluster_options",
            "nothing without compute.cluster",
            self.cluster_options,
        )
        _expect(
            not self.cluster or self.workers > 0,
            "compute.workers",
            "1 or more with compute.cluster",
            self.workers,
        )

    @property
    def is_elsewhere(self) -> bool:
        """Whether the Dask workers are not started here, so that they look at their own machine."""
        return bool(self.scheduler or self.cluster)


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
    pretrain: TrainConfig | None = None
    """One network over all categories, before and beside what they train of their own; None: none."""
    train: TrainConfig = field(default_factory=TrainConfig)
    colorize: ColorizeConfig = field(default_factory=ColorizeConfig)
    compute: ComputeConfig = field(default_factory=ComputeConfig)
    experts: dict[str, Path] = field(default_factory=dict)
    """Category → weights file, for categories without a dataset; default: the starter's."""
    remotes: dict[str, Path] = field(default_factory=dict)
    """URL of the workspace or the output → its working copy on this machine."""

    def __post_init__(self) -> None:
        for name in (*self.datasets, *self.experts):
            category_index(name)
        _expect(
            (self.train.init == "pretrained") == (self.pretrain is not None),
            "train.init",
            '"pretrained" exactly where there is a [pretrain]',
            self.train.init,
        )
        if self.pretrain is not None:
            _expect_pretraining(self.pretrain, self.train)


def canonical(config: Any) -> dict[str, Any]:
    """A stage config as JSON values, for its fingerprint."""
    return asdict(config)


def _expect_pretraining(pretrain: TrainConfig, train: TrainConfig) -> None:
    allowed = [init for init in INITS if init not in ("pretrained", "starter")]
    _expect(pretrain.init in allowed, "pretrain.init", ", ".join(allowed), pretrain.init)
    _expect(not pretrain.categories, "pretrain.categories", "none", pretrain.categories)
    trained = [train, *(train.of(category) for category in train.categories)]
    networks = [config.build_recipe().network for config in (pretrain, *trained)]
    _expect(
        len(set(networks)) == 1,
        "the network of [pretrain] and [train]",
        "one name",
        " and ".join(sorted(set(networks))),
    )


def _expect(holds: bool, key: str, allowed: str, value: object) -> None:
    if not holds:
        raise ConfigError(f"Expected {key} of {allowed}; got {value!r}.")
