"""Prefect's settings for a run, set before Prefect is imported; the user's own always win."""

from __future__ import annotations

import os
from pathlib import Path
from urllib.parse import urlsplit

from storage.errors import UsageError

_LOOPBACK = {"localhost", "127.0.0.1", "::1"}


def configure_prefect(home: Path) -> None:
    """Keep the ephemeral server's state in `home`, quiet and on loopback.

    Raises UsageError for a remote server without authentication.
    """
    url = os.environ.get("PREFECT_API_URL", "")
    refuse_open_server(url, has_credentials=_has_credentials())
    defaults = {
        "PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS": "180",
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "DO_NOT_TRACK": "1",
        "PREFECT_LOGGING_LEVEL": "ERROR",
        "PREFECT_LOGGING_SERVER_LEVEL": "ERROR",
        "PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL": "CRITICAL",  # the server keeps the rest
        "PREFECT_CLI_COLORS": "false",
    }
    if not url:
        defaults["PREFECT_HOME"] = str(home.resolve())
        if "PREFECT_SERVER_EPHEMERAL_ENABLED" not in os.environ:  # its newer name
            defaults["PREFECT_SERVER_ALLOW_EPHEMERAL_MODE"] = "true"
    for name, value in defaults.items():
        os.environ.setdefault(name, value)


def refuse_open_server(url: str, *, has_credentials: bool) -> None:
    """Raise UsageError for the address of a remote server that is used without authentication."""
    host = urlsplit(url).hostname
    if host and host not in _LOOPBACK and not has_credentials:
        raise UsageError(
            f"Expected PREFECT_API_URL on loopback or with authentication, got {url}. "
            "Set PREFECT_API_AUTH_STRING or PREFECT_API_KEY."
        )


def _has_credentials() -> bool:
    names = ("PREFECT_API_AUTH_STRING", "PREFECT_API_KEY")
    return any(os.environ.get(name) for name in names)
