"""Prefect's own settings: what cannot work is said at once, in one line that names the setting.

Left to itself, Prefect ends in a traceback at the import, or waits minutes for a server whose database
cannot be opened.
"""

from __future__ import annotations

import asyncio
import io
import os
import sqlite3
from contextlib import closing, redirect_stderr
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any

from storage.errors import UsageError

_EPHEMERAL = ("PREFECT_SERVER_ALLOW_EPHEMERAL_MODE", "PREFECT_SERVER_EPHEMERAL_ENABLED")
_DATABASE = ("PREFECT_API_DATABASE_CONNECTION_URL", "PREFECT_SERVER_DATABASE_CONNECTION_URL")
_DRIVERS = ("sqlite+aiosqlite", "postgresql+asyncpg")
_PLACES = "a PREFECT_ variable, prefect.toml, pyproject.toml, .env or Prefect's profile"
_SECONDS = 3.0
"""To open a database in."""


def check_settings() -> None:
    """Raise UsageError for settings with which no flow can run; it names the setting.

    Imports Prefect. A server that PREFECT_API_URL names is left to `tasks.prefect_server.server.check_server`.
    """
    settings = load_settings()
    if settings.api.url:
        return
    if not settings.server.ephemeral.enabled:
        raise UsageError(
            f"Expected a Prefect server in PREFECT_API_URL, or {_named(_EPHEMERAL)}=true, under which "
            "a command starts one for itself; got neither. Set one of them."
        )
    _check_database(settings.server.database.connection_url.get_secret_value())


def load_settings() -> Any:
    """Prefect's settings, read and its folder made. Raises UsageError naming the one that is wrong."""
    said = io.StringIO()  # Prefect prints the error of the import, over several lines
    try:
        with redirect_stderr(said):
            from prefect.settings import get_current_settings

            settings = get_current_settings()
    except ValueError as error:  # pydantic's ValidationError, or a file that is no TOML
        problems: list[dict[str, Any]] = getattr(error, "errors", list)()
        if not problems:
            raise UsageError(f"Expected settings for Prefect, got: {error}. Correct it.") from error
        problem = problems[0]
        raise UsageError(
            f"Expected a setting that Prefect takes, got {_origin(problem)}: {problem['msg']}. "
            "Correct or unset it."
        ) from error
    _check_home(settings.home)
    return settings


def _origin(problem: dict[str, Any]) -> str:
    """`PREFECT_…=value` where the environment holds what pydantic complains of."""
    field, value = str(problem["loc"][-1]), str(problem["input"])
    found = [name for name in os.environ if name.startswith("PREFECT_")]
    found = [name for name in found if os.environ[name] == value]
    found.sort(key=lambda name: not name.endswith(field.upper()))
    return f"{found[0]}={value}" if found else f"{field} = {value!r} in {_PLACES}"


def _check_home(home: Path) -> None:
    try:
        home.mkdir(mode=0o700, parents=True, exist_ok=True)
        with TemporaryFile(dir=home) as probe:
            probe.write(b"x")
    except OSError as error:
        raise UsageError(
            f"Expected a folder that can be written as PREFECT_HOME, got {home}: {error.strerror}. "
            "Set PREFECT_HOME to another folder."
        ) from error


def _check_database(url: str) -> None:
    """Open the database of the server that the command would start."""
    kind, _, place = url.partition("://")
    try:
        if kind not in _DRIVERS:
            raise ValueError(f"expected it to begin with {' or '.join(_DRIVERS)}")
        if kind == _DRIVERS[0]:
            _open_file(place.partition("?")[0].removeprefix("/"))
        else:
            asyncio.run(asyncio.wait_for(_connect(url), _SECONDS))
    except (OSError, ValueError, sqlite3.Error, TimeoutError) as error:
        _refuse_database(kind, error)


def _open_file(path: str) -> None:
    """Open a SQLite file to write. path: empty or :memory: for none."""
    if path in ("", ":memory:"):
        return
    if path.startswith("file:"):
        path = path.removeprefix("file:")
    with closing(sqlite3.connect(path, timeout=0)) as database:
        try:
            database.execute("BEGIN IMMEDIATE")
        except sqlite3.OperationalError as error:
            if "locked" not in str(error):  # another process writes: it can be opened
                raise


async def _connect(url: str) -> None:
    from sqlalchemy import text
    from sqlalchemy.exc import SQLAlchemyError
    from sqlalchemy.ext.asyncio import create_async_engine

    engine = create_async_engine(url)
    try:
        async with engine.connect() as connection:
            await connection.execute(text("SELECT 1"))
    except SQLAlchemyError as error:
        raise ValueError(str(getattr(error, "orig", None) or error)) from error
    finally:
        await engine.dispose()


def _refuse_database(kind: str, error: Exception) -> None:
    """The URL itself may hold a password, and is not printed."""
    what = str(error) or f"no answer within {_SECONDS:g} s"
    raise UsageError(
        f"Expected a database that can be opened in {_named(_DATABASE)} ({kind}://…), got: {what}. "
        "Correct or unset it."
    ) from error


def _named(names: tuple[str, ...]) -> str:
    """The one of several names of a setting that the environment uses."""
    return next((name for name in names if name in os.environ), names[0])
