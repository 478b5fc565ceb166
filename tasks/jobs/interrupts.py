"""What a local Dask worker loads at its start: Ctrl-C is the driver's alone.

A terminal sends it to all processes of a command. A worker, or its decoder, that died of it would
say so in a traceback, and the photo under way would count as one that kills.
"""

from __future__ import annotations

import signal
from typing import Any


def dask_setup(worker: Any) -> None:
    """Ignore SIGINT, here and in processes started from here; the driver stops its workers itself."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
