"""Python imports this at its start where the folder is on PYTHONPATH: one photo ends its worker.

CHROMAFLOW_DEADLY is FUNCTION:PART. Where that function of a job opens a file while it has a photo in
hand whose path holds the part, the process exits, as a library's crash would end it.
"""

from __future__ import annotations

import os
import sys
from typing import Any

_FUNCTION, _, _PART = os.environ.get("CHROMAFLOW_DEADLY", "").partition(":")
_WORKERS = ("multiprocessing.forkserver", "tasks.jobs.apart")


def _watch(event: str, arguments: tuple[Any, ...]) -> None:
    if event != "open":
        return
    frame = sys._getframe(1)
    while frame is not None:
        if frame.f_code.co_name == _FUNCTION:
            photo = frame.f_locals.get("photo") or frame.f_locals.get("row")
            if photo is not None and _PART in photo["path"]:
                os._exit(9)
        frame = frame.f_back


if _FUNCTION and any(worker in word for worker in _WORKERS for word in sys.orig_argv):
    sys.addaudithook(_watch)
