"""Which photos an evaluation draws, by rule and not by hand, and beside what."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from colorization.metrics.baselines import BASELINES
from tasks.jobs.evaluation.items import (
    SEGMENTATION,
    STRONGEST,
    TRUTH,
    Figure,
    SystemSpec,
    expert_column,
)

_GRAY = BASELINES[0]
_MOST, _MOST_FAILURES, _MOST_MIXED = 5, 2, 3
FIGURE_NAMES = ("successes.png", "failures.png", "merge.png", "experts.png", "comparison.png")
"""The paper's figures 3, 9's last rows, 5, 6 to 8, and 9."""
_SUCCESSES, _FAILURES = "Success cases", "Failure cases"
_NUMBERS = "Under each picture its mean CIEDE2000 to the truth; dark: the least of its row."


def choose_figures(
    results: pd.DataFrame, systems: Sequence[SystemSpec], leader: str
) -> list[Figure]:
    """Successes and failures: the largest and the smallest gain in ΔE00 of the leader over gray.
    Merge: those of a merged leader over its strongest expert. Experts: the photos that its segmenter
    divides most. Everywhere the categories take turns.

    results: as results.parquet. leader: name of a system.
    """
    rows = results.set_index("photo")
    ours, gray = (rows[rows["system"] == name] for name in (leader, _GRAY))
    lead = next(system for system in systems if system.name == leader)
    gain = gray["delta_e"] - ours["delta_e"]
    most = min(_MOST, -(-len(gain) // 2))
    best = _in_turn(gain, ours["category"])[:most]
    worst = tuple(p for p in _in_turn(-gain, ours["category"]) if p not in best)[:_MOST]
    figures = [
        Figure(
            name=name,
            columns=(_GRAY, leader, TRUTH),
            lead="",
            groups=_filled((heading, photos)),
            rule=f"{heading}: photos on which {leader} gains {how} over gray, the categories in "
            f"turn. {_NUMBERS}",
        )
        for name, heading, how, photos in (
            (FIGURE_NAMES[0], _SUCCESSES, "most", best),
            (FIGURE_NAMES[1], _FAILURES, "least", worst),
        )
    ]
    merge_columns = (SEGMENTATION, STRONGEST) if lead.is_merged else ()
    if lead.is_merged:
        figures += _merge_figures(ours, lead)
    names = tuple(system.name for system in _comparators(systems, lead))
    figures.append(
        Figure(
            name=FIGURE_NAMES[-1],
            columns=(_GRAY, *merge_columns, leader, *names, TRUTH),
            lead=leader if lead.is_merged else "",
            groups=_filled((_SUCCESSES, best), (_FAILURES, worst[:_MOST_FAILURES])),
            rule=f"Photos on which {leader} gains most, and least, over gray, the categories in turn. "
            f"{_NUMBERS}",
        )
    )
    return [figure for figure in figures if figure.groups]


def _merge_figures(ours: pd.DataFrame, lead: SystemSpec) -> list[Figure]:
    gain = ours["delta_e_single"] - ours["delta_e"]
    better = _in_turn(gain[gain > 0], ours["category"])
    worse = _in_turn(-gain[gain < 0], ours["category"])
    mixed = _in_turn(ours["mixture"][ours["mixture"] > 0], ours["category"])
    experts = tuple(expert_column(name) for name in lead.networks)
    merging, dividing = FIGURE_NAMES[2:4]
    return [
        Figure(
            name=merging,
            columns=(_GRAY, SEGMENTATION, STRONGEST, lead.name, TRUTH),
            lead=lead.name,
            groups=_filled(
                ("Merging gains", better[:_MOST]), ("Merging loses", worse[:_MOST_FAILURES])
            ),
            rule=f"Photos on which {lead.name} gains, and loses, most against its strongest expert "
            f"alone, the categories in turn. {_NUMBERS}",
        ),
        Figure(
            name=dividing,
            columns=(_GRAY, SEGMENTATION, *experts, lead.name, TRUTH),
            lead=lead.name,
            groups=_filled(("", mixed[:_MOST_MIXED])),
            rule=f"Photos that the segmenter divides most among the experts of {lead.name}, the "
            f"categories in turn. {_NUMBERS}",
        ),
    ]


def _comparators(systems: Sequence[SystemSpec], lead: SystemSpec) -> list[SystemSpec]:
    """The systems of other networks than the leader's; where there is none, all but the leader."""
    others = [system for system in systems if system.name != lead.name]
    own = set(lead.networks.values())
    return [system for system in others if not set(system.networks.values()) <= own] or others


def _in_turn(values: pd.Series[float], categories: pd.Series[str]) -> tuple[str, ...]:
    """Photos by falling value, the first of each category before the second of any."""
    ordered = values.sort_values(ascending=False, kind="stable")
    turns = ordered.groupby(categories.loc[ordered.index], sort=False).cumcount()
    return tuple(map(str, turns.sort_values(kind="stable").index))


def _filled(*groups: tuple[str, tuple[str, ...]]) -> tuple[tuple[str, tuple[str, ...]], ...]:
    return tuple(group for group in groups if group[1])
