"""The Prefect server that runs and deployments are kept on: is there one, and may it be used?"""

from __future__ import annotations

import stat
from pathlib import Path

from httpx import HTTPError, HTTPStatusError
from prefect.client.orchestration import get_client
from prefect.settings import get_current_settings

from storage.errors import UsageError
from tasks.environment import refuse_open_server

START = "prefect server start"
_ADDRESS = "http://127.0.0.1:4200/api"
_PRIVATE = 0o700
_REFUSALS = (401, 403)


class ServerMissingError(Exception):
    """No Prefect server answers: start one."""

    exit_code = 3


def require_server() -> str:
    """The address of the running server, from PREFECT_API_URL or Prefect's profile.

    Raises ServerMissingError naming the command that starts one, and as `check_server` does.
    """
    url = get_current_settings().api.url
    if not url:
        raise ServerMissingError(
            f"Expected a Prefect server, got no address. Start one with `{START}`, then set "
            f"PREFECT_API_URL={_ADDRESS}."
        )
    check_server()
    return url


def check_server() -> None:
    """Ask the server that Prefect's settings name, if any, whether it may be used.

    Raises ServerMissingError where it does not answer, UsageError where it wants another password and
    for an address other than loopback without authentication.
    """
    api = get_current_settings().api
    if not api.url:
        return
    refuse_open_server(api.url, has_credentials=bool(api.auth_string or api.key))
    try:
        with get_client(sync_client=True) as client:
            client.api_version()
    except (HTTPError, OSError) as error:
        if isinstance(error, HTTPStatusError) and error.response.status_code in _REFUSALS:
            raise UsageError(
                f"Expected credentials that the Prefect server at {api.url} takes, got: "
                f"{error.response.status_code}. Set PREFECT_API_AUTH_STRING to the user:password "
                "that it was started with."
            ) from error
        raise ServerMissingError(
            f"Expected a Prefect server at {api.url}, got: {error}. Start one with `{START}`, or "
            "unset PREFECT_API_URL."
        ) from error


def close_home() -> str:
    """Make Prefect's folder on this machine its owner's only; what was changed, or nothing.

    It holds addresses with passwords, and results that are unpickled when they are read.
    """
    home: Path = get_current_settings().home
    home.mkdir(mode=_PRIVATE, parents=True, exist_ok=True)
    mode = stat.S_IMODE(home.stat().st_mode)
    if mode == _PRIVATE:
        return ""
    home.chmod(_PRIVATE)
    return f"{mode:04o} → {_PRIVATE:04o}"
