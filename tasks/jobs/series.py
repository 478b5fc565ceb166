"""Which palette is to be expected of the photos of a folder together."""

from __future__ import annotations

from collections import defaultdict

import numpy as np
from numpy.typing import NDArray

from colorization.networks.palette_choice import code_of_palette, numbers_of
from storage.errors import PhotoError
from storage.photos.decoder import shared_decoder
from tasks.jobs.colouring.archive_photos import reading
from tasks.jobs.items import ItemResult, commit_item, read_unchanged
from tasks.jobs.models import load_merged
from tasks.jobs.stage_items import SeriesItem

_LEAST = 1e-4
"""Of a likelihood, so that one photo's no forbids nothing to all."""


def judge_series(item: SeriesItem) -> ItemResult:
    """For each folder of the item the palette that is likely for all of its photos.

    It is to be expected of the geometric mean of their likelihoods, as `likely` is of one photo's.

    What cannot be read is not asked; the colorize step says why.
    """
    colorizer, decoder = load_merged(item.models), shared_decoder()
    votes: dict[str, list[NDArray[np.float64]]] = defaultdict(list)
    codes: list[str] = []
    for row in item.photos:
        votes[row["series"]]  # named, even if nothing of it can be read
        try:
            content = read_unchanged(item, row)
            page = next(decoder.pages(content, max_megapixels=float("inf"), **reading(item)))
        except PhotoError:
            continue
        likelihood, codes = colorizer.likelihood_of(page.pixels, page.alpha)
        votes[row["series"]].append(np.log(np.maximum(likelihood, _LEAST)))
    series = [
        {"folder": name, "palette": _expected(own, codes), "asked": len(own)}
        for name, own in sorted(votes.items())
    ]
    return commit_item(item, files=[], num_photos=len(item.photos), quarantined=[], series=series)


def _expected(votes: list[NDArray[np.float64]], codes: list[str]) -> str:
    """The code of the mean entry, weighted by the votes; empty where none was asked."""
    if not votes or not codes:
        return ""
    weight = np.exp(np.mean(votes, axis=0))
    palette = (weight / weight.sum()) @ np.array([numbers_of(code) for code in codes])
    return code_of_palette(palette.tolist())
