"""Pictures in rows of equal cells: what sheets and figures are drawn with."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

Picture = NDArray[Any]
"""uint8 (h, w, 3), of any size."""
CELL = 224
"""Side of the square that a picture is fitted into, pixels."""


def fit_picture(pixels: Picture, side: int = CELL) -> Picture:
    """Shrink a picture into a square of `side` pixels, aspect kept. uint8 (h, w, 3) in and out."""
    image = Image.fromarray(pixels)
    image.thumbnail((side, side), Image.Resampling.LANCZOS)
    return np.asarray(image)


def row_height(row: Sequence[Picture | None]) -> int:
    """Of the highest picture of a row; 0 for a row without pictures."""
    return max((picture.shape[0] for picture in row if picture is not None), default=0)


def cell_left(column: int, *, left: int, gap: int) -> int:
    """Where a column begins, pixels. left: of the first; gap: between cells."""
    return left + column * (CELL + gap)


def paste_row(
    sheet: Image.Image, row: Sequence[Picture | None], *, left: int, top: int, gap: int
) -> None:
    """Paste fitted pictures, each in the middle of its cell; None leaves one empty."""
    height = row_height(row)
    for column, picture in enumerate(row):
        if picture is not None:
            image = Image.fromarray(picture)
            x = cell_left(column, left=left, gap=gap) + (CELL - image.width) // 2
            sheet.paste(image, (x, top + (height - image.height) // 2))


def png_bytes(sheet: Image.Image, *, optimize: bool = False) -> bytes:
    """A drawing as a PNG file."""
    buffer = io.BytesIO()
    sheet.save(buffer, "PNG", optimize=optimize)
    return buffer.getvalue()
