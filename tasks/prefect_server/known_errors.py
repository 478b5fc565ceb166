"""A known error of a deployed flow is one line in the Prefect worker's log, as it is on a terminal.

Prefect logs what a task or flow raises with its traceback, at each level that it passes. A mistake of
ours keeps that; a `ChromaflowError` says what to do, and is said once.
"""

from __future__ import annotations

import logging

from chromaflow.errors import ChromaflowError

_LOGGERS = ("prefect.flow_runs", "prefect.task_runs", "prefect.engine")
_LAST_LINE = "Finished in state "


class _OneLine(logging.Filter):
    """Known errors without traceback, and once. One for all loggers of the process."""

    def __init__(self) -> None:
        super().__init__()
        self._said: list[BaseException] = []

    def filter(self, record: logging.LogRecord) -> bool:
        error = record.exc_info[1] if record.exc_info else None
        if error is None:
            if self._said and str(record.msg).startswith(f"{_LAST_LINE}Failed"):
                record.msg, record.args = f"{_LAST_LINE}Failed", ()
            return True
        if not isinstance(error, ChromaflowError):
            return True
        if any(error is said for said in self._said):
            return False
        self._said.append(error)
        record.msg, record.args = " ".join(str(error).split()), ()
        record.exc_info = record.exc_text = None
        return True


def say_known_errors_in_one_line() -> None:
    """Have Prefect's loggers of this process do so; flows call it first. Again it does nothing."""
    loggers = [logging.getLogger(name) for name in _LOGGERS]
    if not any(isinstance(known, _OneLine) for known in loggers[0].filters):
        one_line = _OneLine()
        for logger in loggers:
            logger.addFilter(one_line)
