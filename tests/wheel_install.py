"""The wheel, built from this tree and installed into a folder of its own."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
_LEFT_OUT = shutil.ignore_patterns(".git", ".venv*", "build", "*.egg-info")


def install_wheel(folder: Path) -> tuple[Path, Path]:
    """Returns the wheel and the folder for PYTHONPATH, whose bin/ has the command."""
    tree, site = folder / "tree", folder / "site"
    shutil.copytree(ROOT, tree, ignore=_LEFT_OUT)  # setuptools leaves build/ where it builds
    pip = (sys.executable, "-m", "pip")
    build = ("wheel", "--no-deps", "--no-build-isolation", "--wheel-dir", folder, tree)
    subprocess.run([*pip, *build], check=True, capture_output=True)
    (wheel,) = folder.glob("chromaflow-*.whl")
    install = ("install", "--no-deps", "--no-index", "--target", site, wheel)
    subprocess.run([*pip, *install], check=True, capture_output=True)
    return wheel, site
