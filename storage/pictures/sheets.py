"""Contact sheets: rows of small pictures with a heading a column and a caption a row, as PNG."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw

from storage.pictures.grid import (
    CELL,
    Picture,
    cell_left,
    fit_picture,
    paste_row,
    png_bytes,
    row_height,
)
from storage.pictures.lettering import draw_text

_GAP, _HEADING, _CAPTION = 8, 30, 22
_PAPER, _INK, _BOX = (250, 250, 248), (40, 40, 40), (255, 60, 0)


def contact_sheet(
    headings: Sequence[str], rows: Sequence[tuple[str, Sequence[Picture | None]]]
) -> bytes:
    """Draw a sheet.

    headings: one a column. rows: a caption and one picture a column, uint8 (h, w, 3) of any size,
    fitted into a square cell; None leaves the cell empty. Returns a PNG's bytes.
    """
    width = cell_left(len(headings), left=_GAP, gap=_GAP)
    fitted = [(text, [p if p is None else fit_picture(p) for p in row]) for text, row in rows]
    heights = [row_height(row) for _, row in fitted]
    height = _HEADING + sum(h + _CAPTION + _GAP for h in heights)
    sheet = Image.new("RGB", (width, height), _PAPER)
    draw = ImageDraw.Draw(sheet)
    for column, heading in enumerate(headings):
        x = cell_left(column, left=_GAP, gap=_GAP)
        draw_text(draw, (x, 6), heading, 16, _INK, most=CELL)
    top = _HEADING
    for (caption, pictures), height_of_row in zip(fitted, heights, strict=True):
        paste_row(sheet, pictures, left=_GAP, top=top, gap=_GAP)
        text_top = top + height_of_row + 3
        draw_text(draw, (_GAP, text_top), caption, 13, _INK, most=width - 2 * _GAP)
        top += height_of_row + _CAPTION + _GAP
    return png_bytes(sheet)


def outlined(pixels: Picture, box: tuple[int, int, int, int]) -> Picture:
    """A copy with a box drawn in it. box: left, top, right, bottom, pixels. uint8 (h, w, 3)."""
    image = Image.fromarray(pixels)
    width = max(2, min(image.size) // 100)
    ImageDraw.Draw(image).rectangle(box, outline=_BOX, width=width)
    return np.asarray(image)
