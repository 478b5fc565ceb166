"""What a weights file says of itself, without reading its tensors."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open

from storage.errors import DamagedError


def read_provenance(path: Path) -> dict[str, Any]:
    """What the trainer recorded in a safetensors file; empty for files of other kinds.

    Raises DamagedError when the file is not what its name says.
    """
    if path.suffix != ".safetensors":
        return {}
    try:
        with safe_open(path, framework="numpy") as file:
            header = file.metadata() or {}
    except (SafetensorError, OSError) as error:
        raise DamagedError(
            f"Expected safetensors weights in {path}, got: {error}. Train again or copy it again."
        ) from error
    provenance: dict[str, Any] = json.loads(header.get("chromaflow", "{}"))
    return provenance
