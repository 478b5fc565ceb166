"""The photos that the report shows first."""

from __future__ import annotations

from heapq import heappush, heappushpop
from typing import Any

from tasks.report.rows import COLOURED, Row, shares_of

_FIRST = 6
"""Photos that the first screen shows."""


class FirstPhotos:
    """The photos to look at first: half of them the least certain, the others the largest change.

    Of runs that recorded no uncertainty those whose categories are mixed most evenly count as the least
    certain; change is from gray: colourfulness. Only the best so far are held.
    """

    def __init__(self) -> None:
        self._best: dict[str, list[tuple[float, int, str, Row]]] = {why: [] for why in _MEASURES}
        self._num_rows = 0

    def add(self, row: Row) -> None:
        """The next row."""
        if row["status"] != COLOURED or not row.get("pack"):
            return
        self._num_rows += 1
        for why, measure in _MEASURES.items():
            if (measured := measure(row)) is not None:
                entry = (measured[0], -self._num_rows, measured[1], row)
                if len(self._best[why]) < _FIRST:
                    heappush(self._best[why], entry)
                else:
                    heappushpop(self._best[why], entry)

    def found(self) -> list[dict[str, Any]]:
        """As the page takes them; a photo comes once."""
        found: dict[str, dict[str, Any]] = {}
        for why, best in self._best.items():
            left = [one for one in sorted(best, reverse=True) if one[3]["path"] not in found]
            for _, _, words, row in left[: _FIRST // 2]:
                keep = ("path", "output", "format", "width", "height", "pack", "picture")
                own = {name: row.get(name) for name in keep}
                found[row["path"]] = own | {"why": why, "said": words}
        return list(found.values())


def _doubt(row: Row) -> tuple[float, str] | None:
    if row.get("uncertainty") is not None:
        return row["uncertainty"], f"uncertainty {row['uncertainty']:.1f} Lab units"
    shares = shares_of(row)
    return (-max(shares), f"its largest category has {100 * max(shares):.0f} %") if shares else None


def _change(row: Row) -> tuple[float, str] | None:
    found = row.get("colourfulness")
    return None if found is None else (found, f"colourfulness {found:.1f}")


_MEASURES = {"Least certain": _doubt, "Largest change": _change}
