"""The Prefect server that runs and deployments are kept on: is there one, and may it be used?"""

from __future__ import annotations

import stat
from pathlib import Path

import prefect
from httpx import HTTPError, HTTPStatusError, Timeout
from prefect.client.orchestration import get_client
from prefect.settings import PREFECT_CLIENT_MAX_RETRIES, get_current_settings, temporary_settings

from chromaflow.errors import ChromaflowError
from storage.errors import UsageError
from tasks.prefect_server.environment import refuse_open_server

START = "prefect server start"
_ADDRESS = "http://127.0.0.1:4200/api"
_PRIVATE = 0o700
_REFUSALS = (401, 403)
_PATIENCE = Timeout(30.0, connect=4.0)
"""Seconds that a server may take to say its version: one that is there may be busy."""


class ServerMissingError(ChromaflowError):
    """No Prefect server answers: start one."""

    code = "SERVER_MISSING"
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

    Raises ServerMissingError where it does not answer or is of another version, UsageError where it
    wants another password and for an address other than loopback without authentication.
    """
    api = get_current_settings().api
    if not api.url:
        return
    refuse_open_server(api.url, has_credentials=bool(api.auth_string or api.key))
    try:
        with temporary_settings({PREFECT_CLIENT_MAX_RETRIES: 0}):
            found = get_client({"timeout": _PATIENCE}, sync_client=True).api_version()
    except ValueError as error:  # what it says is no JSON
        raise ServerMissingError(
            f"Expected a Prefect server at {api.url}, got another one. Correct PREFECT_API_URL; it "
            "ends in /api."
        ) from error
    except (HTTPError, OSError) as error:
        if isinstance(error, HTTPStatusError) and error.response.status_code in _REFUSALS:
            raise UsageError(
                f"Expected credentials that the Prefect server at {api.url} takes, got: "
                f"{error.response.status_code}. Set PREFECT_API_AUTH_STRING to the user:password "
                "that it was started with."
            ) from error
        raise ServerMissingError(
            f"Expected a Prefect server at {api.url}, got: {str(error).splitlines()[0]}. Start one "
            f"with `{START}`, or correct or unset PREFECT_API_URL."
        ) from error
    _check_version(str(found), api.url)


def _check_version(found: str, url: str) -> None:
    """Prefect promises that a server serves clients of its own version and of older ones.

    An older server of the same minor version is let pass: what we call has not changed there.
    """
    own = prefect.__version__
    major, minor = _numbers(own)
    there = _numbers(found)
    if not there or there[0] != major or there[1] < minor:
        raise ServerMissingError(
            f"Expected a Prefect server {major}.{minor} or a later {major}.x at {url}, got "
            f"{found[:40]}. Install prefect=={own} where it runs, or name another in PREFECT_API_URL."
        )


def _numbers(version: str) -> tuple[int, ...]:
    """Major and minor; empty where it is no version."""
    parts = version.split(".")[:2]
    return tuple(map(int, parts)) if len(parts) == 2 and all(map(str.isdigit, parts)) else ()


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
