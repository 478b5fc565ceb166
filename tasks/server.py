"""The Prefect server that deployments live on: is there one, and may it be used?"""

from __future__ import annotations

import stat
from pathlib import Path

from prefect.client.orchestration import get_client
from prefect.settings import get_current_settings

from tasks.environment import refuse_open_server

START = "prefect server start"
_ADDRESS = "http://127.0.0.1:4200/api"
_PRIVATE = 0o700


class ServerMissingError(Exception):
    """No Prefect server answers: start one."""

    exit_code = 3


async def require_server() -> str:
    """The address of the running server, from PREFECT_API_URL or Prefect's profile.

    Raises ServerMissingError naming the command that starts one, UsageError for an address other
    than loopback without authentication.
    """
    api = get_current_settings().api
    if not api.url:
        raise ServerMissingError(
            f"Expected a Prefect server, got no address. Start one with `{START}`, then set "
            f"PREFECT_API_URL={_ADDRESS}."
        )
    refuse_open_server(api.url, has_credentials=bool(api.auth_string or api.key))
    async with get_client() as client:
        problem = await client.api_healthcheck()
    if problem is not None:
        raise ServerMissingError(
            f"Expected a Prefect server at {api.url}, got: {problem}. Start one with `{START}`."
        )
    return api.url


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
