"""From what was seen of every file to the manifest: duplicates, the sample, the split, positions.

Everything here depends on contents, the seed and the manifest before, never on the order of work.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from storage.records.duplicates import Report, near_twins, silent
from storage.records.manifest import Quarantined, split_of

POSITIONS_PER_GENERATION = 256
"""New photos start at a multiple of this, so that earlier shards stay as they are."""
ALL = "all"
"""The one split of an archive."""
Row = dict[str, Any]
"""What ingest saw of one file: path, sha256, bytes, width, height, likeness, …"""


@dataclass(frozen=True, kw_only=True, slots=True)
class Earlier:
    """The manifest before, and how many positions were ever given in each split."""

    rows: Sequence[Row] = ()
    positions: Mapping[str, int] = field(default_factory=dict)
    generation: int = 0


@dataclass(frozen=True, kw_only=True, slots=True)
class Selected:
    """The photos that later stages use, and those that they do not, with a reason."""

    rows: list[Row]
    """Manifest rows: with split, position and generation."""
    dropped: list[Quarantined]
    positions: dict[str, int]
    generation: int
    num_left_out: int
    """By `limit`; they are no failure and have no reason."""


def sampling_key(seed: int, content_hash: str) -> float:
    """A number in 0..1 by which a sample is drawn: seed and content decide it, nothing else."""
    digest = hashlib.sha256(f"sample:{seed}:{content_hash}".encode()).digest()
    return int.from_bytes(digest[:7], "big") / 256**7


def quotas(sizes: Mapping[Any, int], limit: int) -> dict[Any, int]:
    """Shares of `limit` in proportion to the strata's sizes, by largest remainder.

    limit: 0 for all. Returns at most its size for each stratum.
    """
    total = sum(sizes.values())
    if limit <= 0 or limit >= total:
        return dict(sizes)
    exact = {stratum: limit * size / total for stratum, size in sizes.items()}
    shares = {stratum: int(share) for stratum, share in exact.items()}
    rest = limit - sum(shares.values())
    by_remainder = sorted(exact, key=lambda s: (shares[s] - exact[s], str(s)))
    for stratum in by_remainder[:rest]:
        shares[stratum] += 1
    return shares


def select(
    seen: Iterable[Row],
    *,
    earlier: Earlier,
    val_share: float | None,
    limit: int,
    max_distance: int,
    seed: int,
    report: Report = silent,
) -> Selected:
    """Choose among usable photos.

    seen: one row a usable file; rows with checked = False take part in nothing but the count.
    val_share: 0..1, for photos without an official split; None puts all into one split, `all`.
    limit: most photos to keep; 0 for all. max_distance: of near twins, in bits of 256; below 0
    keeps them and exact duplicates too. An archive of gray photos wants None, 0 and −1. report: told
    how many photos were compared with those before them.
    """
    seen = list(seen)
    checked = [row for row in seen if row["checked"]]
    placed = {row["sha256"] for row in earlier.rows}
    ordered = sorted(checked, key=lambda row: _preference(row, placed))
    kept, dropped = ordered, list[Quarantined]()
    if max_distance >= 0:
        kept, dropped = _without_twins(ordered, max_distance, report)
    sampled = _sample(kept, seen, limit, seed)
    official = {row["official_split"] for row in seen}
    rows, positions, generation = _place(sampled, earlier, official, val_share)
    return Selected(
        rows=rows,
        dropped=dropped,
        positions=positions,
        generation=generation,
        num_left_out=len(seen) - len(checked) + len(kept) - len(sampled),
    )


def select_all(seen: Iterable[Row]) -> Iterator[Row]:
    """What `select` chooses where all photos stay, none is in an official split and there is no earlier
    manifest: every row as it comes, in the split `all`."""
    for position, row in enumerate(seen):
        yield row | {"split": ALL, "position": position, "generation": 1}


def stratum_of(row: Mapping[str, Any]) -> tuple[str, str]:
    """Official split and label: what a sample keeps the proportions of."""
    return row["official_split"], row["label"]


def _preference(row: Row, placed: set[str]) -> tuple[Any, ...]:
    """Sort key: of two twins the earlier one stays."""
    return (
        row["sha256"] not in placed,
        row["official_split"] not in ("val", "test"),
        -row["width"] * row["height"],
        row["sha256"],
        row["path"],
    )


def _without_twins(
    ordered: list[Row], max_distance: int, report: Report
) -> tuple[list[Row], list[Quarantined]]:
    kept: list[Row] = []
    dropped: list[Quarantined] = []
    first_of: dict[str, str] = {}
    for row in ordered:
        original = first_of.setdefault(row["sha256"], row["path"])
        if original == row["path"]:
            kept.append(row)
        else:
            dropped.append(_drop(row, "DUPLICATE", f"the same bytes as {original}"))
    twins = near_twins(_hashes(kept, "likeness"), _hashes(kept, "mirrored"), max_distance, report)
    for row, twin in zip(kept, twins, strict=True):
        if twin is not None:
            detail = f"looks like {kept[twin]['path']}, which stays"
            dropped.append(_drop(row, "NEAR_DUPLICATE", detail))
    return [row for row, twin in zip(kept, twins, strict=True) if twin is None], dropped


def _hashes(rows: list[Row], column: str) -> NDArray[np.uint8]:
    joined = b"".join(bytes.fromhex(row[column]) for row in rows)
    return np.frombuffer(joined, np.uint8).reshape(-1, 32)


def _sample(kept: list[Row], seen: list[Row], limit: int, seed: int) -> list[Row]:
    if limit <= 0:
        return kept
    shares = quotas(Counter(stratum_of(row) for row in seen), limit)
    taken: Counter[tuple[str, str]] = Counter()
    sampled = []
    for row in sorted(kept, key=lambda row: sampling_key(seed, row["sha256"])):
        if taken[stratum_of(row)] < shares[stratum_of(row)]:
            taken[stratum_of(row)] += 1
            sampled.append(row)
    return sampled


def _place(
    rows: list[Row], earlier: Earlier, official: set[str], val_share: float | None
) -> tuple[list[Row], dict[str, int], int]:
    """Give each photo a split and a position; those that had one keep it (decision 005)."""
    by_path = {row["path"]: row for row in rows}
    contents = {row["sha256"] for row in rows}
    taken: set[tuple[str, int]] = set()
    placed: list[Row] = []
    waiting = {row["path"]: row for row in rows}
    by_content = {(row["sha256"], row["path"]): row for row in earlier.rows}
    moved = {row["sha256"]: row for row in earlier.rows}

    def keep(row: Row, before: Row) -> None:
        place = before["split"], before["position"]
        fits = _official_split(row, official) in ("", before["split"])
        if fits and place not in taken and row["path"] in waiting:
            taken.add(place)
            placed.append(row | {k: before[k] for k in ("split", "position", "generation")})
            del waiting[row["path"]]

    for row in rows:  # the same photo at the same path
        if before := by_content.get((row["sha256"], row["path"])):
            keep(row, before)
    for row in list(waiting.values()):  # the same photo, moved
        if before := moved.get(row["sha256"]):
            keep(row, before)
    for before in earlier.rows:  # another photo at the path of one that is gone
        if before["sha256"] not in contents and before["path"] in by_path:
            keep(by_path[before["path"]], before)
    positions = dict(earlier.positions)
    generation = earlier.generation + bool(waiting)
    starts = {
        split: -(-given // POSITIONS_PER_GENERATION) * POSITIONS_PER_GENERATION
        for split, given in positions.items()
    }
    for row in sorted(waiting.values(), key=lambda row: row["order"]):
        split = _split(row, official, val_share)
        position = starts.setdefault(split, 0)
        placed.append(row | {"split": split, "position": position, "generation": generation})
        starts[split] = positions[split] = position + 1
    return sorted(placed, key=lambda r: (r["split"], r["position"])), positions, generation


def _official_split(row: Row, official: set[str]) -> str:
    """The split that the dataset prescribes, or empty where the content hash decides.

    official: all that the dataset has. Without train photos there is nothing to keep apart; without
    val photos some train photos become val.
    """
    own: str = row["official_split"]
    if "train" not in official or (own == "train" and "val" not in official):
        return ""
    return own


def _split(row: Row, official: set[str], val_share: float | None) -> str:
    if val_share is None:
        return ALL
    return _official_split(row, official) or split_of(row["sha256"], val_share)


def _drop(row: Row, code: str, detail: str) -> Quarantined:
    return Quarantined(path=row["path"], code=code, detail=detail, stage="ingest")
