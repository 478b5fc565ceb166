"""A run that dies takes the Prefect server with it that it started."""

from __future__ import annotations

import signal
import time
from pathlib import Path
from typing import Any

import psutil
import pytest
from command import start
from killing import see_all_gone, session

SERVER = "prefect.server.api.server:create_app"


@pytest.mark.parametrize("signal_number", [signal.SIGKILL, signal.SIGTERM])
def test_nothing_of_a_killed_run_is_left_with_a_server_of_its_own(
    tmp_path: Path, make_photo: Any, ephemeral_server: None, signal_number: signal.Signals
) -> None:
    make_photo(tmp_path / "in/a.png", gray=True)
    command = start("colorize", tmp_path / "in", tmp_path / "out")
    server = awaited_server(command.pid)
    guard = guard_of(command.pid)
    command.send_signal(signal_number)
    command.communicate(timeout=30)
    for process in (server, guard):
        process.wait(timeout=20)
    see_all_gone(command.pid, set())


def awaited_server(leader: int) -> psutil.Process:
    """The ephemeral server of a command, as soon as it is there."""
    deadline = time.monotonic() + 60
    while True:
        for process in session(leader):
            if SERVER in process.cmdline():
                return process
        assert time.monotonic() < deadline
        time.sleep(0.1)


def guard_of(parent: int) -> psutil.Process:
    """The process that waits for the command's end."""
    children = psutil.Process(parent).children()
    (guard,) = (child for child in children if "tasks.prefect_server.guard" in child.cmdline())
    return guard
