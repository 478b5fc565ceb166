"""What people decided in `chromaflow review`, as settings of single photos: the next run obeys it.

A palette or hints become part of a photo's row, and with it of its key: it is coloured again, and no other
one. What is approved stays as it is, whatever else changes, until a run is forced.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from storage.records.decisions import APPROVED, REJECTED, Decisions, Photo, read_decisions
from storage.records.workspace import Workspace
from tasks.archive.ownership import known_outputs
from tasks.engine.kept import Output


def said_of_photos(
    decisions: Decisions, archive: int
) -> Callable[[Mapping[str, Any]], dict[str, Any]]:
    """Of a manifest's row what is decided of its photo: `palette`, `hints`, `decided` and `approved`.

    archive: its number in the output folder. What the config says of a photo's palette and hints is
    replaced by what was decided. approved: SHA-256 of the colour photo that was looked at.
    """

    def said(row: Mapping[str, Any]) -> dict[str, Any]:
        found = decisions.photos.get((archive, row["path"], row["sha256"]))
        if found is None:
            return {}
        one: dict[str, Any] = {"palette": found.palette} if found.palette else {}
        one |= {"hints": [list(hint) for hint in found.hints]} if found.hints else {}
        one |= {"decided": found.wish} if found.wish else {}
        return one | ({"approved": found.output} if found.verdict == APPROVED else {})

    return said


class Standing:
    """Outputs that lie there, to find the one of a photo that is approved."""

    def __init__(self, known: Iterable[Output]) -> None:
        self._outputs: dict[Photo, list[Output]] = defaultdict(list)
        for output in known:
            if not (output.aside or output.facts.variant):
                self._outputs[output.photo].append(output)

    def of(self, archive: int, row: Mapping[str, Any]) -> Output | None:
        """The photo's output that was approved: the very file, or one coloured as was decided; None for a
        photo that is not approved, or whose output is gone."""
        if "approved" not in row:
            return None
        candidates = [
            output
            for output in self._outputs[(archive, row["path"], row["sha256"])]
            if output.facts.decided == row.get("decided", "")
        ]
        same = [output for output in candidates if output.content == row["approved"]]
        found = same or (candidates if row.get("decided") else [])
        return found[0] if found else None


def review_counts(workspace: Workspace, output: Path) -> dict[str, int]:
    """How many photos are approved, rejected, noted, and to be coloured again, as far as they are there."""
    decisions = read_decisions(output)
    if not decisions.photos:
        return {}
    counts: dict[str, int] = defaultdict(int)
    for one in known_outputs(workspace):
        found = decisions.photos.get(one.photo)
        if found is None or one.why or one.facts.variant:
            continue
        counts["approved"] += found.approves(one.facts.decided, one.content)
        counts["rejected"] += found.verdict == REJECTED
        counts["to be coloured again"] += not found.is_done(one.facts.decided)
        counts["with a note"] += bool(found.note)
    return {name: count for name, count in counts.items() if count}
