"""Pictures as data URLs: a page shows them without asking any server for a file."""

from __future__ import annotations

import base64
import io
from pathlib import Path

from PIL import Image

_WIDTH, _HEIGHT = 900, 2400
_QUALITY = 75


def picture_url(path: Path) -> str:
    """One of our own sheets as a JPEG of at most 900 × 2400 pixels, some 200 KB."""
    with Image.open(path) as image:
        small = image.convert("RGB")
    small.thumbnail((_WIDTH, _HEIGHT))
    buffer = io.BytesIO()
    small.save(buffer, "JPEG", quality=_QUALITY)
    return "data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode()
