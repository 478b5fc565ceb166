"""Which photos an evaluation draws, by rule and not by hand, and beside what."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from tasks.jobs.evaluation_items import (
    BASELINES,
    SEGMENTATION,
    STRONGEST,
    TRUTH,
    Figure,
    SystemSpec,
)

_GRAY = BASELINES[0]
_MOST, _MOST_FAILURES = 5, 2
FIGURE_NAMES = ("successes.png", "failures.png", "merge.png", "comparison.png")
"""The paper's figures 3, 9's last rows, 5 with 8, and 9."""


def choose_figures(
    results: pd.DataFrame, systems: Sequence[SystemSpec], leader: str
) -> list[Figure]:
    """Successes and failures: the largest and the smallest gain in ΔE00 of the leader over gray.
    Merge: the photos that its segmenter divides most, where it has one.

    leader: name of a system.
    """
    rows = results.set_index("photo")
    ours, gray = (rows[rows["system"] == name] for name in (leader, _GRAY))
    gain = (gray["delta_e"] - ours["delta_e"]).sort_values(ascending=False, kind="stable")
    captions = {
        photo: f"{photo}   CIEDE2000 of gray {gray.at[photo, 'delta_e']:.1f}, of {leader} "
        f"{ours.at[photo, 'delta_e']:.1f}"
        for photo in gain.index
    }
    best, worst = list(gain.index[:_MOST]), list(gain.index[::-1][:_MOST])
    lead = leader if next(s.is_merged for s in systems if s.name == leader) else ""
    merge_columns = (SEGMENTATION, STRONGEST) if lead else ()
    mixed = list(
        ours["mixture"].sort_values(ascending=False, kind="stable").index[: _MOST if lead else 0]
    )
    compared = list(dict.fromkeys([*best, *reversed(worst[:_MOST_FAILURES])]))
    names = tuple(system.name for system in systems)
    plain, merged = (_GRAY, leader, TRUTH), (_GRAY, *merge_columns, leader, TRUTH)
    chosen = zip(
        FIGURE_NAMES,
        (best, worst, mixed, compared),
        (plain, plain, merged, (_GRAY, *merge_columns, *names, TRUTH)),
        strict=True,
    )
    return [
        Figure(name=name, columns=columns, lead=lead, captions={p: captions[p] for p in photos})
        for name, photos, columns in chosen
        if photos
    ]
