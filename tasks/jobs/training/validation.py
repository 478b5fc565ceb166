"""Scores of a network that learns on photos that it does not learn from, and what they are read against."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from colorization.colour.lab import decode_lab
from colorization.errors import DivergedError
from colorization.metrics.scores import colourfulness_of, mean_scores, photo_scores
from colorization.training.loop import Trainer
from tasks.jobs.training.loading import Split
from tasks.jobs.training.orders import Rows

_EVAL_BATCH = 16
_LARGEST_AB = 1e4
_OF_EACH = ("delta_e", "ab_rmse", "colourfulness")
"""Scores that are kept of each category too, where one network learns several."""
_GRAY = {"delta_e": "gray_delta_e", "ab_rmse": "gray_ab_rmse"}


def validate(trainer: Trainer, val: Split) -> dict[str, Any]:
    """Mean scores over the validation split; empty without photos.

    Where several categories learn a head each, every photo is coloured by its own, and `delta_e_birds`
    and the like are means over one category's photos. Raises DivergedError for colours that are none:
    the last step of an epoch may have diverged.
    """
    scores: list[dict[str, float]] = []
    for rows, stored in _batches(val):
        L, ab_truth = decode_lab(stored)
        ab = trainer.predict(stored, val.heads_of(rows))
        if not np.abs(ab).max() < _LARGEST_AB:
            raise DivergedError(
                f"Expected ab within ±{_LARGEST_AB:.0f}, got {np.abs(ab).max():.3g} after step "
                f"{trainer.position.step}. Lower learning_rate "
                f"(now {trainer.recipe.optimization.learning_rate}) and train again."
            )
        scores += [photo_scores(*photo) for photo in zip(L, ab, ab_truth, strict=True)]
    return mean_scores(scores) | _of_each(val, scores, _OF_EACH) if scores else {}


def baselines(val: Split) -> dict[str, float]:
    """What scores are read against: those of gray, and the truth's colourfulness."""
    found: list[dict[str, float]] = []
    for _, stored in _batches(val):
        for L, truth in zip(*decode_lab(stored), strict=True):
            gray = photo_scores(L, np.zeros_like(truth), truth)
            own = {name: gray[score] for score, name in _GRAY.items()}
            found.append(own | {"truth_colourfulness": colourfulness_of(L, truth)})
    if not found:
        return {}
    return _means(found, found[0]) | _of_each(val, found, found[0])


def _batches(val: Split) -> Iterator[tuple[Rows, NDArray[np.uint8]]]:
    """Rows and stored Lab of all photos, a few at a time."""
    every = val.reader.rows
    for first in range(0, len(every), _EVAL_BATCH):
        rows = every[first : first + _EVAL_BATCH]
        yield rows, val.reader.read(rows)


def _means(found: list[dict[str, float]], names: Iterable[str]) -> dict[str, float]:
    return {name: float(np.mean([row[name] for row in found])) for name in names}


def _of_each(val: Split, found: list[dict[str, float]], names: Iterable[str]) -> dict[str, float]:
    """Means of each category's photos, by `NAME_CATEGORY`. found: as the reader's rows."""
    means: dict[str, float] = {}
    for photos in val.categories:
        own = [found[i] for i in np.flatnonzero(val.heads == photos.head)]
        means |= {f"{name}_{photos.name}": mean for name, mean in _means(own, names).items()}
    return means
