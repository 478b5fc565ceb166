"""What a Dask worker loads at its start where it is to step back behind what else the machine does."""

from __future__ import annotations

import os
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

_VARIABLE = "CHROMAFLOW_NICE"


def niceness_variables(nice: int | None) -> Mapping[str, str]:
    """The environment of a worker with this niceness, 0..19; None for that of who starts it."""
    return {} if nice is None else {_VARIABLE: str(nice)}


def dask_setup(worker: Any) -> None:
    """Take the niceness that the environment names, unless it is more already: less needs root.

    Linux keeps it for each thread; threads and processes that come later have that of who starts them.
    """
    wanted = max(int(os.environ.get(_VARIABLE, "0")), os.getpriority(os.PRIO_PROCESS, 0))
    for thread in Path("/proc/self/task").iterdir():
        with suppress(ProcessLookupError):  # it has ended meanwhile
            os.setpriority(os.PRIO_PROCESS, int(thread.name), wanted)
