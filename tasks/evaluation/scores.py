"""The numbers of an evaluation: means and intervals of results.parquet, and what two systems differ by.

Everything that a table says, but for FID, is computed here from the rows alone.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from colorization.categories import CATEGORY_NAMES
from colorization.metrics.intervals import Interval, difference_intervals, mean_intervals
from storage.errors import UsageError
from storage.records.tables import REAL, TEXT
from tasks.jobs.evaluation.items import TRUTH


@dataclass(frozen=True, slots=True)
class Measure:
    """How a column of results.parquet is shown."""

    title: str
    latex: str
    digits: int
    sign: int
    """1 where more is better, −1 where less is, 0 where neither."""
    factor: float = 1.0
    """Shown is the column times this."""


MEASURES = {
    "delta_e": Measure("ΔE00", r"$\Delta E_{00}$", 2, -1),
    "ab_rmse": Measure("ab RMSE", r"$ab$ RMSE", 2, -1),
    "psnr": Measure("PSNR dB", "PSNR dB", 2, 1),
    "ssim": Measure("SSIM", "SSIM", 4, 1),
    "auc": Measure("AuC %", r"AuC \%", 2, 1, 100.0),
    "lpips": Measure("LPIPS", "LPIPS", 4, -1),
    "colourfulness": Measure("colourf.", "colourf.", 2, 0),
    "colourfulness_absolute": Measure("colourf. abs.", "colourf. abs.", 2, 0),
}
ROW_COLUMNS = {
    **dict.fromkeys(("photo", "sha256", "category", "system"), TEXT),
    **dict.fromkeys(MEASURES, REAL),
    "colourfulness_truth": REAL,
    "colourfulness_absolute_truth": REAL,
    "delta_e_single": REAL,
    "mixture": REAL,
    "seconds": REAL,
}
"""Of results.parquet, one row a photo and system. lpips is absent (NaN) where it was not asked for;
delta_e_single: of the strongest expert of a merged system alone, else absent; mixture: what that
expert leaves to the others, a share; seconds: of the networks, as if the system ran alone."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Score:
    """One system on the photos of one category."""

    category: str
    """Empty for all photos."""
    system: str
    num_photos: int
    intervals: dict[str, Interval]
    """By measure, in the units of results.parquet."""
    fid: float | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Difference:
    """Two systems on the same photos of one category: first minus second."""

    category: str
    measure: str
    num_photos: int
    interval: Interval
    num_better: int | None
    """Photos on which the first is better; None of a measure where neither more nor less is."""


def measures_of(results: pd.DataFrame) -> list[str]:
    """The measures that were taken."""
    return [name for name in MEASURES if results[name].notna().any()]


def groups(results: pd.DataFrame) -> list[tuple[str, pd.DataFrame]]:
    """All photos ("") and, where there are several categories, each of them by name."""
    found = set(results["category"])
    own = sorted(found.difference(CATEGORY_NAMES, [""]))
    known = [name for name in (*CATEGORY_NAMES, *own) if name in found]
    named = known if len(found) > 1 else []
    return [("", results), *((name, results[results["category"] == name]) for name in named)]


def score(results: pd.DataFrame) -> list[Score]:
    """Every system in every group, and the truth's colourfulness."""
    scores = []
    for category, rows in groups(results):
        systems = list(dict.fromkeys(rows["system"]))
        measures = measures_of(results)
        parts = {name: rows[rows["system"] == name] for name in systems}
        columns = np.hstack([parts[name][measures].to_numpy(float) for name in systems])
        own = [name for name in MEASURES if f"{name}_truth" in ROW_COLUMNS]
        first = parts[systems[0]]
        columns = np.hstack([columns, first[[f"{name}_truth" for name in own]].to_numpy(float)])
        intervals = iter(mean_intervals(columns))
        for name, kept in [*((name, measures) for name in systems), (TRUTH, own)]:
            found = {measure: next(intervals) for measure in kept}
            scores.append(
                Score(category=category, system=name, num_photos=len(first), intervals=found)
            )
    return scores


def compare(first: pd.DataFrame, second: pd.DataFrame) -> list[Difference]:
    """Two systems photo by photo.

    first, second: rows of results.parquet of one system each. Raises UsageError for unequal photos.
    """
    first, second = _in_order(first), _in_order(second)
    require_same_photos(first["sha256"], second["sha256"])
    measures = [name for name in measures_of(first) if name in measures_of(second)]
    differences = []
    for category, rows in groups(first):
        others = second.loc[rows.index]
        ours, theirs = (part[measures].to_numpy(float) for part in (rows, others))
        for k, interval in enumerate(difference_intervals(ours, theirs)):
            sign = MEASURES[measures[k]].sign
            better = int((sign * ours[:, k] > sign * theirs[:, k]).sum()) if sign else None
            differences.append(
                Difference(
                    category=category,
                    measure=measures[k],
                    num_photos=len(rows),
                    interval=interval,
                    num_better=better,
                )
            )
    return differences


def require_same_photos(one: Iterable[str], other: Iterable[str]) -> None:
    """Raise UsageError unless both are the same photos, by SHA-256."""
    ours, theirs = sorted(one), sorted(other)
    if ours != theirs:
        shared = len(set(ours) & set(theirs))
        raise UsageError(
            f"Expected two systems on the same photos, got {len(ours)} and {len(theirs)} of which "
            f"{shared} are shared. Evaluate both on one IN."
        )


def _in_order(rows: pd.DataFrame) -> pd.DataFrame:
    """By content, so that photos that were moved are still found."""
    return rows.sort_values(["sha256", "photo"]).reset_index(drop=True)


def scores_as_json(scores: Iterable[Score]) -> list[dict[str, Any]]:
    """Rows for programs."""
    return [
        {
            "category": score.category or "all",
            "system": score.system,
            "photos": score.num_photos,
            **{name: list(interval) for name, interval in score.intervals.items()},
            **({} if score.fid is None else {"fid": score.fid}),
        }
        for score in scores
    ]
