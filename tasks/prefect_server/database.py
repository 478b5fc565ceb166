"""A migrated Prefect database to copy: each workspace and output tree has one of its own.

Prefect migrates an empty database for 6 s when its server starts. That is done once on a machine for
each Prefect version, in the cache; a new home gets a copy.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from importlib.metadata import version
from pathlib import Path
from tempfile import TemporaryDirectory

from storage.children import child_environment, module_command
from storage.records.ledger import atomic_path
from storage.records.names import DATABASE_NAME
from tasks.weights.models import cache_folder

_UPGRADE = ("server", "database", "upgrade", "--yes")
_TIMEOUT = 180.0


def provide_database(home: Path) -> bool:
    """Put a migrated database into a Prefect home that has none. Returns whether it did.

    It does nothing where the user's settings name a server or a database. Where the cache cannot be
    written or Prefect's migration fails, Prefect migrates in the home itself, as it always does.
    """
    named = (
        "PREFECT_API_URL",
        "PREFECT_API_DATABASE_CONNECTION_URL",
        "PREFECT_SERVER_DATABASE_CONNECTION_URL",
        "PREFECT_SERVER_DATABASE_DRIVER",
        "PREFECT_SERVER_DATABASE_HOST",
    )
    if _holds_something(home / DATABASE_NAME) or any(os.environ.get(name) for name in named):
        return False
    template = cache_folder() / f"prefect-{version('prefect')}.db"
    try:
        if not template.is_file():
            _migrate(template)
        with atomic_path(home / DATABASE_NAME) as temporary:
            shutil.copyfile(template, temporary)
    except (OSError, subprocess.SubprocessError):
        return False
    return True


def _holds_something(path: Path) -> bool:
    """SQLite leaves an empty file where a database was only opened."""
    return path.exists() and path.stat().st_size > 0


def _migrate(template: Path) -> None:
    """Have Prefect migrate an empty database, and keep it. Raises OSError, SubprocessError."""
    template.parent.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(dir=template.parent, prefix="prefect-") as folder:
        command = module_command("prefect", *_UPGRADE)
        environment = child_environment() | {"PREFECT_HOME": folder}
        subprocess.run(command, env=environment, check=True, capture_output=True, timeout=_TIMEOUT)
        (Path(folder) / DATABASE_NAME).replace(template)
