"""The starter weights: where they lie, and how a library or command says what they may be used for."""

from __future__ import annotations

from pathlib import Path

import colorization

_STARTER = Path(colorization.__file__).parent / "starter"


def starter_path(name: str) -> Path:
    """Weights that come with the package. name: a category, or 'segmenter'."""
    return _STARTER / f"{name}.safetensors"
