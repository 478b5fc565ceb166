"""What Prefect logs of an error: one line where it is known, once; all of it where it is a bug."""

from __future__ import annotations

import io
import logging
from collections.abc import Iterator

import pytest

from chromaflow.errors import ChromaflowError
from storage.errors import UsageError
from tasks.prefect_server.known_errors import say_known_errors_in_one_line

NAMES = ("prefect.flow_runs", "prefect.task_runs", "prefect.engine")


@pytest.fixture
def said() -> Iterator[io.StringIO]:
    """What Prefect's three loggers print, as a Prefect worker's log shows it."""
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    loggers = [logging.getLogger(name) for name in NAMES]
    before = [(logger.level, logger.filters[:], logger.handlers[:]) for logger in loggers]
    for logger in loggers:
        logger.filters.clear()
        logger.handlers[:] = [handler]  # not Prefect's own, which sends to a server
        logger.setLevel(logging.INFO)
    say_known_errors_in_one_line()
    say_known_errors_in_one_line()
    yield stream
    for logger, (level, filters, handlers) in zip(loggers, before, strict=True):
        logger.handlers[:] = handlers
        logger.setLevel(level)
        logger.filters[:] = filters


def log_as_prefect(error: Exception) -> None:
    """The records of Prefect's flow engine, of its last line and of the process around it."""
    flow_runs, _, engine = (logging.getLogger(name) for name in NAMES)
    try:
        raise error
    except type(error) as caught:
        flow_runs.exception("Encountered exception during execution: %r", caught)
        flow_runs.info(f"Finished in state Failed({str(caught)!r})")
        engine.error("Execution of flow run exited with unexpected exception", exc_info=True)


@pytest.mark.parametrize(
    "error",
    [
        ChromaflowError("Expected a folder at 100%,\n got none. Make it."),
        UsageError("Expected a folder at 100%, got none. Make it."),
    ],
)
def test_a_known_error_is_said_once_in_one_line(said: io.StringIO, error: Exception) -> None:
    log_as_prefect(error)
    assert said.getvalue().splitlines() == [
        "Expected a folder at 100%, got none. Make it.",
        "Finished in state Failed",
    ]


def test_a_bug_keeps_its_traceback(said: io.StringIO) -> None:
    log_as_prefect(TypeError("a mistake of ours"))
    assert said.getvalue().count("Traceback") == 2
    assert "Finished in state Failed('a mistake" in said.getvalue()
