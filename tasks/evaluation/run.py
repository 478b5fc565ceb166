"""An evaluation under way: look at the photos, measure the systems on them, draw the figures."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from storage.errors import NoInputError, UsageError
from storage.records.item_record import ItemRecord, require_item
from storage.records.ledger import record_path
from tasks.compute.cluster import Cluster, fan_out
from tasks.engine.progress import Terminal
from tasks.evaluation.inputs import PhotoSet
from tasks.evaluation.scores import ROW_COLUMNS
from tasks.jobs.evaluation.items import DrawItem, Figure, LookItem, MeasureItem, SystemSpec
from tasks.jobs.items import ItemResult, PhotoItem, do_item

_MOST_A_CHUNK = 8


@dataclass(frozen=True, kw_only=True, slots=True)
class MetricFiles:
    """Weights of measures that need some."""

    lpips: tuple[str, str] | None = None
    """AlexNet's features and the heads of LPIPS."""
    inception: Path | None = None
    """TorchScript, of FID."""


class Evaluating:
    """Its folder of records, and the Dask workers that do it."""

    def __init__(
        self,
        location: str,
        geometry: dict[str, Any],
        work: Path,
        cluster: Cluster,
        terminal: Terminal,
    ) -> None:
        self.location, self.geometry, self.work = location, geometry, work
        self._cluster, self._terminal = cluster, terminal

    def look(self, sets: Sequence[PhotoSet]) -> tuple[list[PhotoSet], list[dict[str, Any]]]:
        """The usable photos, with sha256 and mean_ab, and what is wrong with the others.

        Raises UsageError where none is left: there is nothing to compare systems on.
        """
        quarantined = [problem.to_dict() for photos in sets for problem in photos.problems]
        size = self._chunk_size(sets)
        items = {
            number: [
                LookItem(
                    name=f"look-{number}-{k:05d}",
                    photos=part,
                    chosen=photos.chosen,
                    **self._common(photos.source),
                )
                for k, part in enumerate(_chunks(photos.photos, size))
            ]
            for number, photos in enumerate(sets)
        }
        records = self._run("look", [item for own in items.values() for item in own])
        found = {row["name"]: row for record in records for row in record.facts["rows"]}
        quarantined += [row.to_dict() for record in records for row in record.quarantined]
        usable = [
            replace(
                photos,
                photos=tuple(p | found[p["name"]] for p in photos.photos if p["name"] in found),
            )
            for photos in sets
        ]
        if not any(photos.photos for photos in usable):
            raise UsageError(_nothing(self.location, quarantined))
        return usable, quarantined

    def items(
        self, sets: Sequence[PhotoSet], systems: tuple[SystemSpec, ...], files: MetricFiles
    ) -> list[MeasureItem]:
        """One a chunk of photos."""
        size = self._chunk_size(sets)
        return [
            MeasureItem(
                name=f"measure-{number}-{k:05d}",
                photos=part,
                systems=systems,
                constants=_constants(sets),
                num_threads=self._cluster.slots.threads,
                lpips=files.lpips,
                inception=str(files.inception) if files.inception else None,
                **self._common(photos.source),
            )
            for number, photos in enumerate(sets)
            for k, part in enumerate(_chunks(photos.photos, size))
        ]

    def measure(
        self, items: Sequence[MeasureItem]
    ) -> tuple[pd.DataFrame, list[dict[str, Any]], dict[str, Any]]:
        """results.parquet, photos that failed after all, and how the networks ran."""
        records = self._run("evaluate", items)
        rows = [row for record in records for row in record.facts["rows"]]
        quarantined = [row.to_dict() for record in records for row in record.quarantined]
        if not rows:
            raise NoInputError(_nothing(self.location, quarantined))
        results = pd.DataFrame(rows, columns=list(ROW_COLUMNS))
        return results, quarantined, {"precision": records[0].facts["precision"]}

    def draw(
        self, figures: Sequence[Figure], items: Sequence[MeasureItem], folder: Path
    ) -> tuple[list[Path], list[dict[str, Any]]]:
        """Draw figures into a folder, one a worker at a time.

        Returns the paths of those that are there, and photos that failed after all.
        """
        photos = {p["name"]: p for item in items for p in item.photos}
        draw = [
            DrawItem(
                name=f"draw-{figure.name}",
                photos=tuple(photos[name] for name in figure.photos),
                systems=items[0].systems,
                constants=items[0].constants,
                num_threads=items[0].num_threads,
                lpips=None,
                inception=None,
                figure=figure,
                output=str(folder),
                **self._common(items[0].source),
            )
            for figure in figures
        ]
        records = self._run("figures", draw)
        failed = {row.path: row.to_dict() for record in records for row in record.quarantined}
        paths = [folder / figure.name for figure in figures]
        return [path for path in paths if path.exists()], list(failed.values())

    def _common(self, source: str) -> dict[str, Any]:
        return {"folder": str(self.work), "source": source, "config": self.geometry}

    def _chunk_size(self, sets: Sequence[PhotoSet]) -> int:
        """Photos a chunk: few enough that every worker has some."""
        total = sum(len(photos.photos) for photos in sets)
        return min(_MOST_A_CHUNK, max(1, -(-total // self._cluster.slots.processes)))

    def _run(self, label: str, items: Sequence[PhotoItem]) -> list[ItemRecord]:
        """Do items on the workers. Returns their records."""
        total, done = sum(len(item.photos) for item in items), 0

        def on_result(result: ItemResult) -> None:
            nonlocal done
            done += result.num_photos
            self._terminal.update(label, done, total, "")

        fan_out(self._cluster, do_item, items, on_result)
        return [require_item(record_path(self.work, item.name)) for item in items]


def _chunks(photos: Sequence[dict[str, Any]], size: int) -> Iterator[tuple[dict[str, Any], ...]]:
    for start in range(0, len(photos), size):
        yield tuple(photos[start : start + size])


def _constants(sets: Sequence[PhotoSet]) -> tuple[tuple[str, tuple[float, float]], ...]:
    """Mean a and b over the photos of each category, every photo counting alike."""
    means: dict[str, list[Any]] = {}
    for photos in sets:
        for photo in photos.photos:
            means.setdefault(photo["category"], []).append(photo["mean_ab"])
    averages = {category: np.mean(values, axis=0) for category, values in means.items()}
    return tuple((name, (float(a), float(b))) for name, (a, b) in averages.items())


def _nothing(location: str, quarantined: Sequence[dict[str, Any]]) -> str:
    """That no photo is left, and why the first is not."""
    why = f"; e.g. {quarantined[0]['path']}: {quarantined[0]['code']}" if quarantined else ""
    return (
        f"Expected colour photos to compare systems on in {location}, got none{why}. Name a folder, "
        "an archive or a split that holds photos in colour."
    )
