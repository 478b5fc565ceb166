"""A folder full of strangers' modules, and the installed command in it, for tests."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

COMMAND = Path(sys.executable).with_name("chromaflow")
MODULES = (
    *(
        "base64",
        "chromaflow",
        "json",
        "storage",
        "tasks",
        "flows",
        "sitecustomize",
        "socket",
        "struct",
        "types",
    ),
    *("numpy", "prefect", "distributed", "yaml", "signal", "uvicorn", "click", "selectors", "cv2"),
)
BOMB = "import os\nopen({folder!r} + '/imported-' + __name__ + str(os.getpid()), 'w').close()\n"


def lay_modules(folder: Path) -> None:
    """Files and a folder that are named as what our processes import; each says when it is."""
    bomb = BOMB.format(folder=str(folder))
    for name in MODULES:
        (folder / f"{name}.py").write_text(bomb)
    for name in ("colorization", "PIL"):
        (folder / name).mkdir()
        (folder / name / "__init__.py").write_text(bomb)


def run_in(folder: Path, *words: object, variables: Mapping[str, str] | None = None) -> str:
    """The installed command in a folder. Returns stderr; fails unless it exits with 0."""
    environment = {**os.environ, **(variables or {})}
    environment.pop("PYTHONSAFEPATH", None)
    done = subprocess.run(
        [COMMAND, *map(str, words)],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=280,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stderr
