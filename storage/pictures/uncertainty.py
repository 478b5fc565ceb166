"""Maps of uncertainty beside the outputs: small gray PNGs, one level a fixed step of Lab units."""

from __future__ import annotations

import io
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image, PngImagePlugin

STEP = 0.25
"""Lab units a gray level; level 255 stands for 63.75 and more."""


def uncertainty_map(pages: Sequence[NDArray[np.float32]]) -> bytes:
    """A PNG's bytes: 8-bit gray, the pages of a photo one below the other.

    pages: float32 (h, w), Lab units, at network size.
    """
    width = max(page.shape[1] for page in pages)
    padded = [np.pad(page, ((0, 0), (0, width - page.shape[1]))) for page in pages]
    levels = np.rint(np.concatenate(padded) / STEP).clip(0, 255).astype(np.uint8)
    said = PngImagePlugin.PngInfo()
    said.add_text("Description", f"Uncertainty of the colours, {STEP} Lab units a level")
    buffer = io.BytesIO()
    Image.fromarray(levels).save(buffer, "PNG", pnginfo=said)
    return buffer.getvalue()
