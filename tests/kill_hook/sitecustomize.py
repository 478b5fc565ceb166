"""Python imports this at its start where the folder is on PYTHONPATH: SIGKILL at a named point.

CHROMAFLOW_KILL is a JSON list of `killing.KillPoint`. The process watches its own audit events
(docs.python.org/3/library/audit_events.html), so nothing of Chromaflow is changed for a test.
"""

from __future__ import annotations

import json
import os
import re
import signal
import sys
from typing import Any

_ROLES = {"driver": "flows.cli.app", "worker": "multiprocessing.forkserver"}
"""What a process of each kind has on its command line."""


class _Killer:
    """Kills its process once, before the n-th matching rename or opening, or after that rename."""

    def __init__(self, wanted: dict[str, Any]) -> None:
        self._when, self._left = wanted["when"], wanted["occurrence"]
        self._path = re.compile(wanted["path"])
        self._marker = wanted["marker"]
        self._renamed_in: str | None = None

    def watch(self, event: str, arguments: tuple[Any, ...]) -> None:
        if event == "open" and isinstance(arguments[0], str | os.PathLike):
            path = os.fspath(arguments[0])
            if self._when == "opening":
                self._strike(path)
            elif self._renamed_in is not None and path == self._renamed_in:
                self._kill()  # the folder is opened to be synced: the rename is through
        elif event == "os.rename" and self._when != "opening":
            target = os.fspath(arguments[1])
            if self._when == "temporary written":
                self._strike(target)
            elif self._path.search(target) and self._counted():
                self._renamed_in = os.path.dirname(target)  # noqa: PTH120

    def _strike(self, path: str) -> None:
        if isinstance(path, str) and self._path.search(path) and self._counted():
            self._kill()

    def _counted(self) -> bool:
        self._left -= 1
        return self._left == 0

    def _kill(self) -> None:
        self._renamed_in = None
        try:
            os.close(os.open(self._marker, os.O_CREAT | os.O_EXCL | os.O_WRONLY))
        except FileExistsError:
            return  # another process of this role was killed before
        os.kill(os.getpid(), signal.SIGKILL)


for _wanted in json.loads(os.environ.get("CHROMAFLOW_KILL", "[]")):
    if any(_ROLES[_wanted["role"]] in word for word in sys.orig_argv):
        sys.addaudithook(_Killer(_wanted).watch)
