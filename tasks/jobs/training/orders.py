"""Which photos each step of an epoch takes: all of them once, or a fixed share of each category."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from colorization.training.feeding import num_steps, step_rows
from storage.shards.reader import JoinedReader, ShardReader

Rows = NDArray[np.int64]
StepOrder = Callable[[int], Rows]
"""Step of an epoch → the rows of its photos."""


@dataclass(frozen=True, slots=True)
class CategoryPhotos:
    """The photos of one category among those of several, in an order without an end.

    All come once, then all again in another order, wherever the epochs end: a category of few photos
    is seen more often, each photo of it as often as the others.
    """

    name: str
    reader: ShardReader
    rows: Rows
    """int64 (n,), of all categories' reader, as the rows of its own."""
    head: int
    """Of the network, that learns them."""
    _orders: dict[tuple[int, int], Rows] = field(default_factory=dict, init=False, compare=False)

    def __len__(self) -> int:
        return len(self.rows)

    def take(self, first: int, count: int, seed: int) -> Rows:
        """`count` rows from place `first` of the order on."""
        taken = []
        while count:
            turn, place = divmod(first, len(self))
            part = self._order(turn, seed)[place : place + count]
            taken.append(part)
            first, count = first + len(part), count - len(part)
        return np.concatenate(taken)

    def _order(self, turn: int, seed: int) -> Rows:
        if (seed, turn) not in self._orders:
            own = self.reader.epoch_order((seed, self.head, turn))
            self._orders.clear()
            self._orders[seed, turn] = self.rows[np.searchsorted(self.reader.rows, own)]
        return self._orders[seed, turn]


def shares(batch: int, num_categories: int) -> list[int]:
    """How many photos of each category a step has; what is left over goes to the last ones.

    Raises ValueError for a batch that has not one of each.
    """
    if batch < num_categories:
        raise ValueError(f"Expected a batch of {num_categories} or more, got {batch}.")
    return [(batch + i) // num_categories for i in range(num_categories)]


def step_order(
    reader: ShardReader | JoinedReader,
    categories: Sequence[CategoryPhotos],
    batch: int,
    seed: int,
    epoch: int,
) -> StepOrder:
    """The rows of each step of an epoch, which depend on seed, epoch and step alone.

    categories: none where all photos of the reader come once an epoch; else each step has its
    `shares`, and an epoch as many photos as there are.
    """
    if not categories:
        order = reader.epoch_order((seed, epoch))
        return lambda step: order[step_rows(len(order), batch, step)]
    counts = shares(batch, len(categories))
    before = epoch * num_steps(len(reader), batch)

    def rows(step: int) -> Rows:
        pairs = zip(categories, counts, strict=True)
        return np.concatenate(
            [photos.take((before + step) * count, count, seed) for photos, count in pairs]
        )

    return rows
