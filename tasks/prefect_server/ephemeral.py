"""The Prefect server of one command: a process of ours that starts while the command imports Prefect.

Prefect would start it itself, but for that it imports the whole server into the flow's process, some
seconds of work, and waits. The command's settings name the server once it answers
(docs/decisions/030).
"""

from __future__ import annotations

import atexit
import os
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http import HTTPStatus
from http.client import HTTPConnection, HTTPException
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryFile

from storage.children import child_environment, module_command
from tasks.prefect_server.guard import guard_server

_APP = "prefect.server.api.server:create_app"
_HOST = "127.0.0.1"
_ENVIRONMENT = {
    "PREFECT_UI_ENABLED": "0",
    "PREFECT__SERVER_EPHEMERAL": "1",
    "PREFECT__SERVER_FINAL": "1",
}
"""As Prefect's own ephemeral server has it (prefect.server.api.server.SubprocessASGIServer)."""
_POLL_SECONDS = 0.05
_ANSWER_SECONDS = 5.0
_END_SECONDS = 5.0


class EphemeralServer:
    """The process of a server on loopback; it ends with this one, however that ends."""

    def __init__(self) -> None:
        self._port = _free_port()
        self._api = f"http://{_HOST}:{self._port}/api"
        self._said = TemporaryFile()  # noqa: SIM115 - as long as the process
        environment = child_environment() | _ENVIRONMENT
        self._process = subprocess.Popen(
            _command(self._port), env=environment, stdout=self._said, stderr=self._said
        )
        self._is_used = False
        atexit.register(self._end)

    def use(self) -> None:
        """Wait until it answers, and have this process and its children use it.

        Does nothing where Prefect's settings name a server. Raises ServerMissingError as soon as it is
        dead, or where it does not answer in the time that the settings grant it.
        """
        from prefect.context import refresh_global_settings_context
        from prefect.settings import get_current_settings

        settings = get_current_settings()
        if settings.api.url:
            return
        self._is_used = True
        self._await_answer(settings.server.ephemeral.startup_timeout_seconds)
        os.environ["PREFECT_API_URL"] = self._api
        refresh_global_settings_context()

    @contextmanager
    def without_heartbeats(self) -> Iterator[None]:
        """Runs within send it none: nobody waits for one, and the thread that sends them is waited for
        at the end of each run, up to a second. Another server that settings name gets them.
        """
        if not self._is_used:
            yield
            return
        from prefect.settings import PREFECT_FLOWS_HEARTBEAT_FREQUENCY, temporary_settings

        with temporary_settings({PREFECT_FLOWS_HEARTBEAT_FREQUENCY: None}):
            yield

    def _await_answer(self, limit: float) -> None:
        deadline = time.monotonic() + limit
        while not self._answers():
            if (code := self._process.poll()) is not None:
                self._pass_on()
                raise _not_started(f"its process ended with {code}")
            if time.monotonic() > deadline:
                self._pass_on()
                raise _not_started(f"no answer within {limit} s")
            time.sleep(_POLL_SECONDS)

    def _answers(self) -> bool:
        connection = HTTPConnection(_HOST, self._port, timeout=_ANSWER_SECONDS)
        try:
            connection.request("GET", "/api/health")
            return connection.getresponse().status == HTTPStatus.OK
        except (OSError, HTTPException):
            return False
        finally:
            connection.close()

    def _end(self) -> None:
        self._process.terminate()
        try:
            self._process.wait(_END_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        if self._is_used:
            self._pass_on()

    def _pass_on(self) -> None:
        """Say on our stderr what it said so far; of one that nobody used, it is of no concern."""
        self._is_used = False
        self._said.seek(0)
        with suppress(OSError):  # nobody reads it
            os.write(2, self._said.read())


def begin_server() -> EphemeralServer | None:
    """Begin to start the server of this command; None where its environment names one.

    Needs no Prefect: a profile that names a server is seen by `EphemeralServer.use`, which must be
    called before the first flow.
    """
    if os.environ.get("PREFECT_API_URL"):
        return None
    guard_server()
    return EphemeralServer()


def _command(port: int) -> list[str]:
    found = find_spec("prefect")
    assert found is not None and found.origin is not None
    place = str(Path(found.origin).parents[1])
    where = ("--app-dir", place, "--factory", _APP, "--host", _HOST, "--port", str(port))
    return module_command("uvicorn", *where, "--log-level", "error", "--lifespan", "on")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind((_HOST, 0))
        return int(probe.getsockname()[1])


def _not_started(why: str) -> Exception:
    from tasks.prefect_server.server import START, ServerMissingError  # Prefect's client with it

    return ServerMissingError(
        f"Expected a Prefect server to start for this command, got: {why}. The lines above say why; "
        f"correct Prefect's settings, or start one with `{START}` and set PREFECT_API_URL."
    )
