"""Python processes that we start: what they may import, and that they end with who started them.

Python puts the working folder first on `sys.path` for `-m` and `-c`, and people call `chromaflow` in
the folders that they look through: a `base64.py` there would run in place of Python's own.
PYTHONSAFEPATH (docs.python.org/3/using/cmdline.html#envvar-PYTHONSAFEPATH) leaves that folder out.
"""

from __future__ import annotations

import os
import sys
import time
from multiprocessing.process import ORIGINAL_DIR  # type: ignore[attr-defined]
from pathlib import Path

SAFE_PATH = {"PYTHONSAFEPATH": "1"}
_OUR_ROOT = Path(__file__).parents[1]


def shut_out_working_folder() -> None:
    """Have every Python process import nothing from its working folder that is started from here,
    by us or by Prefect, Dask and torch. What PYTHONPATH names stays."""
    os.environ.update(SAFE_PATH)


def module_command(module: str, *words: str) -> list[str]:
    """What runs a module as a process of its own; start it in `child_environment()`."""
    return [sys.executable, "-P", "-m", module, *words]


def child_environment() -> dict[str, str]:
    """The environment of such a process: it finds what this one finds, but in the working folder."""
    return os.environ | SAFE_PATH | {"PYTHONPATH": os.pathsep.join(_import_path())}


def _import_path() -> list[str]:
    """`sys.path` without what Python put there because the process was started in it."""
    named = [path for path in os.environ.get("PYTHONPATH", "").split(os.pathsep) if path]
    meant = {_OUR_ROOT, *(Path(path).absolute() for path in named)}
    paths = [Path(path).absolute() for path in sys.path if path]
    return [str(path) for path in paths if str(path) != ORIGINAL_DIR or path in meant]


def end_with_parent(parent: int) -> None:
    """End this process when the one that started it is gone: it may be killed while this one is busy.

    Blocks; for a thread of its own. parent: its process id, asked for at the start.
    """
    while os.getppid() == parent:
        time.sleep(1)
    os._exit(1)
