"""Whether anybody asked for Prefect, told without its import: where nobody did, a command runs without."""

from __future__ import annotations

import os
from pathlib import Path

_NAMED = (
    "PREFECT_API_URL",
    "PREFECT_API_DATABASE_CONNECTION_URL",
    "PREFECT_SERVER_DATABASE_CONNECTION_URL",
    "PREFECT_SERVER_DATABASE_DRIVER",
    "PREFECT_SERVER_DATABASE_HOST",
)
"""Variables that name a server, or a database to keep the history of runs in."""
_OWN = ("PREFECT_SERVER_ALLOW_EPHEMERAL_MODE", "PREFECT_SERVER_EPHEMERAL_ENABLED")
"""Variables that ask for a server of the command's own."""
_NO = ("", "0", "false", "f", "no", "n", "off")
_FILES = (("prefect.toml", ""), (".env", "PREFECT_"), ("pyproject.toml", "tool.prefect"))
"""Files of a working folder that Prefect reads, and what they hold where they speak of it."""


def is_asked_for() -> bool:
    """Whether a server or database is named, a server of one's own is asked for, or a file of Prefect's
    settings is there, which may do either."""
    if any(os.environ.get(name) for name in _NAMED):
        return True
    if any(os.environ.get(name, "").lower() not in _NO for name in _OWN):
        return True
    return _profiles().is_file() or any(_speaks(Path(name), word) for name, word in _FILES)


def _profiles() -> Path:
    """Prefect's profiles; without PREFECT_HOME a command looks for none, as its home is the workspace."""
    named = os.environ.get("PREFECT_PROFILES_PATH")
    home = os.environ.get("PREFECT_HOME")
    return Path(named or (Path(home) / "profiles.toml" if home else os.devnull)).expanduser()


def _speaks(path: Path, word: str) -> bool:
    try:
        return word in path.read_text(errors="replace")
    except OSError:  # none there, or none that Prefect could read
        return False
