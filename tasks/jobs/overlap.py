"""Items of one Dask worker that overlap: the next one begins while the end of one is written."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

_ending = threading.Lock()
"""Held by the one item of this process that is being ended: two would hold twice the memory."""


@contextmanager
def next_item_may_begin() -> Iterator[None]:
    """Within it this process's worker takes its next item; waits for the one before to have ended."""
    from distributed import get_worker, secede  # not for processes that must be light

    with _ending:
        try:
            get_worker()
        except ValueError:  # none: the item is done by itself
            yield
            return
        secede()
        yield
