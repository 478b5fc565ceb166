"""What a local Dask worker loads at its start: Ctrl-C and a hang-up are the driver's alone.

A terminal sends them to all processes of a command. A worker, or its decoder, that died of it would
say so in a traceback, and the photo under way would count as one that kills.
"""

from __future__ import annotations

import signal
from typing import Any


def dask_setup(worker: Any) -> None:
    """Ignore both, here and in processes started from here; the driver stops its workers itself."""
    for number in (signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
