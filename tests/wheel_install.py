"""Source distribution and wheel, built from this tree, and the wheel in an environment of its own."""

from __future__ import annotations

import shutil
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path

ROOT = Path(__file__).parents[1]
_LEFT_OUT = shutil.ignore_patterns(".git", ".venv*", "build", "*.egg-info")


def build_distributions(folder: Path) -> tuple[Path, Path]:
    """The wheel, built from the source distribution, and that."""
    tree = folder / "tree"
    shutil.copytree(ROOT, tree, ignore=_LEFT_OUT)  # setuptools leaves build/ where it builds
    words = [sys.executable, "-m", "build", "--no-isolation", "--outdir", folder / "dist", tree]
    subprocess.run(words, check=True, capture_output=True)
    (wheel,) = (folder / "dist").glob("chromaflow-*.whl")
    (source,) = (folder / "dist").glob("chromaflow-*.tar.gz")
    return wheel, source


def install_wheel(folder: Path, wheel: Path) -> Path:
    """The python of a new environment with the wheel; what it needs is this environment's."""
    venv.create(folder / "venv", with_pip=False)
    python = folder / "venv/bin/python"
    (site,) = (folder / "venv/lib").glob("python*/site-packages")
    (site / "needed.pth").write_text(sysconfig.get_path("purelib") + "\n")
    install = ("install", "--no-deps", "--no-index", "--prefix", folder / "venv", wheel)
    words = [sys.executable, "-m", "pip", "--python", python, *install]
    subprocess.run(words, check=True, capture_output=True)
    return python
