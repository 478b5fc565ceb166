"""Which systems an evaluation compares, and whether they can be compared at all."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from colorization.metrics.baselines import BASELINES
from storage.errors import UsageError
from storage.records.ledger import read_json
from storage.records.names import FACTS_NAME, RESULTS_NAME
from storage.records.tables import read_table
from tasks.evaluation.inputs import PhotoSet
from tasks.evaluation.scores import compare
from tasks.evaluation.tables import Comparison
from tasks.jobs.evaluation.items import SystemSpec

Pair = tuple[str, str]
"""Two names of systems, or FOLDER:NAME of an earlier evaluation."""


def earlier_rows(
    name: str, geometry: dict[str, Any], systems: Sequence[SystemSpec]
) -> pd.DataFrame | None:
    """Rows of FOLDER:NAME of an earlier evaluation; None for a system of this one.

    Raises UsageError for a name that is neither, and for other crops or sizes.
    """
    known = [*BASELINES, *(system.name for system in systems)]
    if name in known:
        return None
    folder, _, system = name.rpartition(":")
    facts = read_json(Path(folder) / FACTS_NAME) if folder else None
    if facts is None:
        raise UsageError(
            f"Expected --compare of {', '.join(known)}, or FOLDER:NAME of an earlier evaluation; got "
            f"{name!r}."
        )
    if facts["geometry"] != geometry:
        theirs, ours = (f"{g['crop']} {g['size']}" for g in (facts["geometry"], geometry))
        raise UsageError(
            f"Expected an evaluation at the same crop and size to compare with, got {theirs} in "
            f"{folder} against {ours} here. Use --crop and --size as there."
        )
    results = read_table(Path(folder) / RESULTS_NAME)
    rows = results[results["system"] == system]
    if rows.empty:
        names = ", ".join(dict.fromkeys(results["system"]))
        raise UsageError(f"Expected a system of {names} in {folder}; got {system!r}.")
    return rows


def leading_system(pair: Pair | None, systems: Sequence[SystemSpec]) -> str:
    """The system that figures are about: the first that is compared, else the first merged one."""
    names = [system.name for system in systems]
    asked = [name for name in pair or () if name in names]
    merged = [system.name for system in systems if system.is_merged]
    return (asked or merged or names)[0]


def compare_pair(
    pair: Pair, earlier: Sequence[pd.DataFrame | None], results: pd.DataFrame
) -> Comparison:
    """earlier: what `earlier_rows` found for each name. Raises UsageError for unequal photos."""
    first, second = (
        results[results["system"] == name] if other is None else other
        for name, other in zip(pair, earlier, strict=True)
    )
    return Comparison(first=pair[0], second=pair[1], differences=compare(first, second))


def require_categories(sets: Sequence[PhotoSet], systems: Sequence[SystemSpec]) -> None:
    """Raise UsageError where a system uses each category's own expert, but a photo has none."""
    every = [photo for photos in sets for photo in photos.photos]
    for system in systems:
        if system.merge != "own":
            continue
        names = system.networks
        without = [p["name"] for p in every if system.expert_for(p["category"]) not in names]
        if without:
            raise UsageError(
                f"Expected photos in folders named as categories for {system.name}, which uses `,own` "
                f"and knows {', '.join(names)}; got {without[0]}. Use `,soft` or `,hard`, or move the "
                "photos."
            )
