"""What the experts of a workspace score beside gray, one colour and the starter's; which are no gain, and
what takes their place."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from storage.records.names import RESULTS_NAME
from storage.records.tables import read_rows
from storage.records.workspace import Workspace
from tasks.engine.published import read_step
from tasks.jobs.stage_items import EXPERT, METHODS, STARTER

_ORDER = (EXPERT, STARTER, *(m for m in METHODS if m not in (EXPERT, STARTER)))
_SHOWN = "delta_e"
_RIVALS = (STARTER, "gray")
_MARGIN = 0.005
"""Of ΔE00: what two decimals do not show is no difference."""


def score_rows(folder: Path, category: str) -> list[dict[str, Any]]:
    """Mean scores of each method over a category's validation photos; none where there are none.

    folder: of an evaluate step.
    """
    values: dict[str, list[Mapping[str, Any]]] = defaultdict(list)
    for row in read_rows(folder / RESULTS_NAME):
        values[row["method"]].append(row)
    return [
        {"category": category, "method": method, "photos": len(values[method])}
        | {name: _mean([row[name] for row in values[method]]) for name in _names(values[method][0])}
        for method in METHODS
        if values[method]  # an earlier version knew fewer
    ]


def workspace_scores(workspace: Workspace) -> list[dict[str, Any]]:
    """Those of all categories whose evaluation is published."""
    links = [link for link in workspace.all_current() if link.parent.name == "evaluate"]
    return [row for link in links for row in score_rows(link, link.name)]


def worse_than_starter(workspace: Workspace) -> list[str]:
    """Categories whose expert, the one that is current, the starter's beats on their validation photos."""
    found = []
    for link in workspace.all_current():
        if link.parent.name != "evaluate":
            continue
        evaluated = read_step(link.resolve())
        trained = read_step(workspace.current("train", link.name).resolve())
        if evaluated is None or trained is None:
            continue
        if evaluated.upstream.get(trained.label) != trained.digest:
            continue  # of an earlier training
        methods = _by_category(score_rows(link, link.name)).get(link.name, {})
        if STARTER in methods and _is_worse(methods, STARTER):
            found.append(link.name)
    return sorted(found)


def score_lines(rows: Iterable[Mapping[str, Any]]) -> list[str]:
    """A table for people: ΔE00 of each category by method."""
    table = _by_category(rows)
    if not table:
        return []
    methods = [m for m in _ORDER if any(m in found for found in table.values())]
    heads = "".join(f"{method:>12}" for method in methods)
    lines = [f"{'ΔE00, less is better':<22}{heads}"]
    for category, found in table.items():
        cells = (f"{found[m][_SHOWN]:>12.2f}" if m in found else f"{'–':>12}" for m in methods)
        lines.append(f"{category:<22}{''.join(cells)}")
    return lines


def score_warnings(rows: Iterable[Mapping[str, Any]]) -> list[str]:
    """Of each category whose expert is no better than gray, or worse than the starter's, a line on what
    helps."""
    found = []
    for category, methods in _by_category(rows).items():
        own = methods[EXPERT][_SHOWN]
        worse = [m for m in _RIVALS if m in methods and _is_worse(methods, m)]
        if worse:
            rivals = " and ".join(f"{_WHOSE[m]} {methods[m][_SHOWN]:.2f}" for m in worse)
            found.append(
                f"The expert of {category} has ΔE00 {own:.2f}, {rivals}: it is worse than what was "
                f"there before. {_INSTEAD if STARTER in worse else ''}{_REMEDY}"
            )
    return found


_WHOSE = {STARTER: "the starter's", "gray": "gray"}
_REMEDY = (
    'Start from the starter ([train] recipe = "starter", init = "starter"), or give it more photos '
    "and epochs."
)
_INSTEAD = (
    "`colorize --models` takes the starter's in its place (--experts mine: yours all the same). "
)


def _is_worse(methods: Mapping[str, Mapping[str, Any]], rival: str) -> bool:
    return bool(methods[EXPERT][_SHOWN] > methods[rival][_SHOWN] + _MARGIN)


def _by_category(rows: Iterable[Mapping[str, Any]]) -> dict[str, dict[str, Mapping[str, Any]]]:
    table: dict[str, dict[str, Mapping[str, Any]]] = defaultdict(dict)
    for row in rows:
        table[row["category"]][row["method"]] = row
    return {category: found for category, found in table.items() if EXPERT in found}


def _names(row: Mapping[str, Any]) -> list[str]:
    return [name for name in row if name not in ("row", "method")]


def _mean(values: Sequence[float]) -> float:
    return round(sum(values) / len(values), 2)
