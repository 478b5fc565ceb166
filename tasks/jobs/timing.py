"""How long an item takes in its Dask worker, for the events of a run."""

from __future__ import annotations

import time
from dataclasses import dataclass

from tasks.jobs.items import ItemResult, WorkItem, do_item


@dataclass(frozen=True, slots=True)
class TimedResult(ItemResult):
    """What a finished item reports, and its seconds of wall time in the worker."""

    seconds: float


def do_timed(item: WorkItem) -> TimedResult:
    """Do an item's job and time it."""
    started = time.monotonic()
    result = do_item(item)
    seconds = time.monotonic() - started
    return TimedResult(result.name, result.num_photos, result.peak_mb, seconds)
