"""What the stages that run networks send to their workers, and the names of what those leave.

Nothing here imports torch: the process that hands work out has no use for its two seconds and
200 MB. The work itself is named by `WorkItem.job` and imported where it is done.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from colorization.merging.options import MergeOptions
from colorization.metrics.baselines import BASELINES
from colorization.networks.palette_choice import PaletteChoice, parse_palette
from storage.records.item_record import OutputFacts
from storage.records.ledger import FileRecord
from tasks.jobs.items import PhotoItem, WorkItem

EXPERT, STARTER = "expert", "starter"
METHODS = (*BASELINES, EXPERT)
"""Of an evaluation of one expert; the constant is the training split's mean ab. Where the package has a
starter of the category, that is scored too."""


@dataclass(frozen=True, kw_only=True)
class TrainItem(WorkItem):
    """One network."""

    job: ClassVar[str] = "tasks.jobs.training.train:train_network"
    category: str
    """Or `shared`, for one over all categories."""
    shards: tuple[str, ...]
    """Folders of the preprocess steps that it learns from."""
    data_digest: str
    """Of their outputs."""
    recipe: dict[str, Any]
    seed: int
    init: str
    init_weights: str | None
    perceptual_weights: str | None
    license: str
    min_photos: int
    num_threads: int
    """torch threads; 0 for all that the process may use."""
    device: str
    checkpoint_seconds: float
    sheet_every: int
    categories: tuple[str, ...] = ()
    """Of `shards`, where one network learns a head for each; none where it has one head."""


@dataclass(frozen=True, kw_only=True)
class EvaluateItem(WorkItem):
    """One category."""

    job: ClassVar[str] = "tasks.jobs.evaluate:evaluate_category"
    category: str
    shards: str
    trained: str
    """The train step's folder."""
    starter: str
    """The weights of the package's expert; empty where it has none."""
    num_threads: int


SHEET_ITEM = "sheet"
"""Name of the item that draws the contact sheet."""
TRUTH = "truth"
"""Among a step's inputs: the colour originals of an archive."""


@dataclass(frozen=True, kw_only=True)
class ModelSpec:
    """Which models colorize an archive, and how they are merged."""

    experts: tuple[tuple[str, str], ...]
    """(category, weights file) pairs."""
    segmenter: str
    segmenter_weights: str
    """Empty for one's own without any."""
    classes: tuple[tuple[str, str], ...]
    """(VOC class, category) pairs that differ from the paper's."""
    merge: MergeOptions
    uncertainty: bool
    """Whether a map of it is wanted."""
    short_side: int
    num_threads: int
    device: str
    """cpu, cuda, or auto: what the worker finds."""
    runtime: str = "auto"
    """auto, torch or onnxruntime: see `colorization.merging.runtimes`."""
    palette: PaletteChoice = PaletteChoice()
    """Of photos that have none of their own."""
    palette_from: str = ""
    """A colour photo whose palette that is instead; empty for none."""
    variants: int = 0
    """How many further colourings each photo gets."""
    hashes: tuple[tuple[str, str], ...]
    """Name and SHA-256 of every weights file, for the metadata of what they colour."""

    def palette_of_photo(self, row: Mapping[str, Any]) -> PaletteChoice | None:
        """That of a photo's series; None where it has none of its own. row: of the manifest."""
        return parse_palette(row["palette"]) if "palette" in row else None


@dataclass(frozen=True, kw_only=True)
class ReadyPhoto:
    """A photo that is coloured already, as its record says."""

    path: str
    facts: OutputFacts
    files: tuple[FileRecord, ...]
    """Below the output's root."""
    pack: str
    """File of small pictures; empty for none."""
    picture: int
    """Its place in that file."""


@dataclass(frozen=True, kw_only=True)
class ColorizeItem(PhotoItem):
    """One chunk of photos. Each photo: a manifest row; `output`, its name without suffix; `key`, of
    what decides its output; `hints`, of `tasks.config.hints`, and `palette`, its series', where it has some;
    `decided` and `approved`, of `tasks.archive.decided`."""

    job: ClassVar[str] = "tasks.jobs.colorize:colorize_chunk"
    models: ModelSpec
    output: str
    """Root of the output tree."""
    archive: int = 0
    """Its number among the archives of the output folder."""
    ready: tuple[ReadyPhoto, ...] = ()
    """Of the photos those that need no colouring."""


@dataclass(frozen=True, kw_only=True)
class SeriesItem(PhotoItem):
    """Photos of some folders that stand for all of them. Each: a manifest row; `series`, its folder."""

    job: ClassVar[str] = "tasks.jobs.series:judge_series"
    models: ModelSpec


@dataclass(frozen=True, kw_only=True)
class SheetItem(ColorizeItem):
    """The photos of the sheet."""

    job: ClassVar[str] = "tasks.jobs.sheet:draw_sheet"
    truth: str | None
    """Folder of colour originals under the same names."""
    truth_digest: str = ""
    """Of what is in it."""
