"""What evaluating photos sends to Dask workers. Imports no torch; the work is in `evaluate_photos`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from colorization.metrics.baselines import BASELINES
from tasks.jobs.items import PhotoItem
from tasks.jobs.stage_items import ModelSpec

TRUTH = "truth"
SEGMENTATION, STRONGEST = "segmentation", "one expert"
"""Columns of a figure: each pixel's categories, and the colours of the one expert with the largest
share, everywhere."""
MERGES = ("soft", "hard", "own")
"""How a system with several experts uses them; own: each photo by the expert of its category."""


@dataclass(frozen=True, kw_only=True, slots=True)
class SystemSpec:
    """One system that is compared, and where its weights are."""

    name: str
    what: str
    """As it was asked for."""
    merge: str
    """Of MERGES, or empty for a single network."""
    size: int
    """Short side at which its networks see a photo, pixels."""
    models: ModelSpec | None = None
    """Experts and segmenter; None for a single network."""
    weights: str = ""
    """Of a single network."""
    parents: tuple[tuple[str, str], ...] = ()
    """Category that photos may have → category of the paper: whose expert stands for it, where the system
    knows only that."""

    def expert_for(self, category: str) -> str:
        """The category whose expert colours photos of one; itself where there is none."""
        known = dict(self.parents).get(category, category)
        return category if category in self.networks or known not in self.networks else known

    @property
    def is_merged(self) -> bool:
        """Whether a segmenter decides pixel by pixel."""
        return self.merge in ("soft", "hard")

    @property
    def networks(self) -> dict[str, str]:
        """Weights of every network by category; of a single one by the empty name."""
        return dict(self.models.experts) if self.models else {"": self.weights}

    @property
    def files(self) -> list[tuple[str, str]]:
        """Name and path of every weights file that it uses."""
        if self.models is None:
            return [("network", self.weights)]
        files = list(self.models.experts)
        if self.is_merged and self.models.segmenter_weights:
            files.append((f"segmenter {self.models.segmenter}", self.models.segmenter_weights))
        return files


@dataclass(frozen=True, kw_only=True)
class LookItem(PhotoItem):
    """Photos to read once. Each photo: as `tasks.evaluation.inputs` finds it. config: size, crop."""

    job: ClassVar[str] = "tasks.jobs.evaluation.photos:look_at_photos"
    chosen: bool
    """Whether ingest chose them already, gray and toned ones left out."""


@dataclass(frozen=True, kw_only=True)
class MeasureItem(PhotoItem):
    """Photos to colour by every system and to measure. Each photo: also sha256."""

    job: ClassVar[str] = "tasks.jobs.evaluation.photos:measure_photos"
    systems: tuple[SystemSpec, ...]
    constants: tuple[tuple[str, tuple[float, float]], ...]
    """Category → mean a and b."""
    num_threads: int
    lpips: tuple[str, str] | None
    """Files of AlexNet's features and of the heads."""
    inception: str | None
    """TorchScript file; its features go to features/NAME.npz in the folder."""

    @property
    def colourings(self) -> tuple[str, ...]:
        """Everything that a photo is shown in: baselines, systems, the truth."""
        return (*BASELINES, *(system.name for system in self.systems), TRUTH)


@dataclass(frozen=True, kw_only=True, slots=True)
class Figure:
    """Photos in rows, colourings in columns."""

    name: str
    """Of its PNG."""
    columns: tuple[str, ...]
    """Names of baselines and systems, SEGMENTATION, STRONGEST, experts as `expert_column`, TRUTH."""
    lead: str
    """The system whose segmentation and experts are shown; empty for none."""
    groups: tuple[tuple[str, tuple[str, ...]], ...]
    """Heading and photos, in order."""
    rule: str
    """How the photos were chosen."""

    @property
    def photos(self) -> tuple[str, ...]:
        """Of all groups."""
        return tuple(photo for _, photos in self.groups for photo in photos)


def expert_column(category: str) -> str:
    """A figure's column: one expert of the lead everywhere."""
    return f"expert: {category}"


@dataclass(frozen=True, kw_only=True)
class DrawItem(MeasureItem):
    """The photos of one figure."""

    job: ClassVar[str] = "tasks.jobs.evaluation.drawing:draw_figure"
    figure: Figure
    output: str
    """Folder of the PNG."""
