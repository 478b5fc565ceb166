"""Ends the ephemeral Prefect server of a run that was killed, which nobody else would.

    python -m tasks.prefect_server.guard TOKEN

lives in a session of its own, beyond Ctrl-C and kills of the run's group, until its stdin ends,
which is when the run is over in any way; then it ends the server that still carries TOKEN.
"""

from __future__ import annotations

import os
import secrets
import subprocess
import sys

import psutil

from storage.children import child_environment, module_command

_TOKEN = "CHROMAFLOW_RUN_TOKEN"
_SERVER = "prefect.server.api.server:create_app"
_PATIENCE = 5.0
"""Seconds that a server gets to end by itself."""
_guards: list[subprocess.Popen[bytes]] = []
"""Of this process, held for its life: a pipe that is collected closes, and the guard would take that
for the run's end."""


def guard_server() -> None:
    """Have the server that this process is going to start ended with it."""
    token = os.environ[_TOKEN] = secrets.token_hex(16)
    guard = subprocess.Popen(
        module_command(__name__, token),
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        env=child_environment(),
        start_new_session=True,
    )
    _guards.append(guard)


def _end_servers(token: str) -> None:
    servers = [process for process in psutil.process_iter() if _is_server(process, token)]
    for server in servers:
        server.terminate()
    for server in psutil.wait_procs(servers, timeout=_PATIENCE)[1]:
        server.kill()


def _is_server(process: psutil.Process, token: str) -> bool:
    try:
        return _SERVER in process.cmdline() and process.environ().get(_TOKEN) == token
    except psutil.Error:  # another user's, or gone
        return False


if __name__ == "__main__":
    sys.stdin.buffer.read()
    _end_servers(sys.argv[1])
