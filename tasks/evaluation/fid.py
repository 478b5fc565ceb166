"""FID of an evaluation: Inception features of every colouring, kept beside the results."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from colorization.metrics.fid import frechet_distance
from storage.records.ledger import write_bytes
from tasks.evaluation.scores import groups
from tasks.jobs.evaluation.items import TRUTH, MeasureItem


@dataclass(frozen=True, slots=True)
class Features:
    """Legend: S colourings, N photos, D features."""

    colourings: tuple[str, ...]
    photos: NDArray[Any]
    """str (N,): names."""
    categories: NDArray[Any]
    """str (N,)."""
    features_SND: NDArray[np.float32]

    def save(self, path: Path) -> None:
        """As npz: colourings, photos, categories, features. Raises OutputError."""
        buffer = io.BytesIO()
        np.savez_compressed(
            buffer,
            colourings=np.array(self.colourings),
            photos=self.photos,
            categories=self.categories,
            features=self.features_SND,
        )
        write_bytes(path, buffer.getvalue())

    def distances(self, results: pd.DataFrame) -> dict[tuple[str, str], float]:
        """FID to the true colours by category ("" for all) and system, where there are two photos."""
        truth = self.features_SND[self.colourings.index(TRUTH)]
        found = {}
        for category, _ in groups(results):
            kept = (self.categories == category) if category else np.ones(len(self.photos), bool)
            if kept.sum() < 2:
                continue
            for name, own in zip(self.colourings, self.features_SND, strict=True):
                if name != TRUTH:
                    found[category, name] = frechet_distance(own[kept], truth[kept])
        return found


def collect_features(work: Path, items: Sequence[MeasureItem]) -> Features:
    """What the items wrote below `work`; an item none of whose photos could be read again wrote none."""
    parts = []
    for item in items:
        path = work / "features" / f"{item.name}.npz"
        if path.exists():
            with np.load(path) as saved:
                parts.append((saved["photos"], saved["categories"], saved["features"]))
    photos, categories, features = zip(*parts, strict=True)
    return Features(
        items[0].colourings,
        np.concatenate(photos),
        np.concatenate(categories),
        np.concatenate(features, axis=1),
    )
