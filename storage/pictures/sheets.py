"""Contact sheets: rows of small pictures with a heading a column and a caption a row, as PNG."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from storage.visible import visible

Picture = NDArray[Any]
_CELL, _GAP, _HEADING, _CAPTION = 224, 8, 30, 22
_PAPER, _INK, _BOX = (250, 250, 248), (40, 40, 40), (255, 60, 0)


def contact_sheet(
    headings: Sequence[str], rows: Sequence[tuple[str, Sequence[Picture | None]]]
) -> bytes:
    """Draw a sheet.

    headings: one a column. rows: a caption and one picture a column, uint8 (h, w, 3) of any size,
    fitted into a square cell; None leaves the cell empty. Returns a PNG's bytes.
    """
    width = _GAP + len(headings) * (_CELL + _GAP)
    fitted = [(text, [p if p is None else fit_picture(p) for p in row]) for text, row in rows]
    heights = [max((p.shape[0] for p in row if p is not None), default=0) for _, row in fitted]
    height = _HEADING + sum(h + _CAPTION + _GAP for h in heights)
    sheet = Image.new("RGB", (width, height), _PAPER)
    draw = ImageDraw.Draw(sheet)
    heading_font, caption_font = ImageFont.load_default(16), ImageFont.load_default(13)
    for column, heading in enumerate(headings):
        x = _GAP + column * (_CELL + _GAP)
        draw.text((x, 6), heading, fill=_INK, font=heading_font)
    top = _HEADING
    for (caption, pictures), row_height in zip(fitted, heights, strict=True):
        for column, picture in enumerate(pictures):
            if picture is not None:
                image = Image.fromarray(picture)
                left = _GAP + column * (_CELL + _GAP) + (_CELL - image.width) // 2
                sheet.paste(image, (left, top + (row_height - image.height) // 2))
        text_top = top + row_height + 3
        draw.text((_GAP, text_top), visible(caption)[: width // 8], fill=_INK, font=caption_font)
        top += row_height + _CAPTION + _GAP
    buffer = io.BytesIO()
    sheet.save(buffer, "PNG")
    return buffer.getvalue()


def outlined(pixels: Picture, box: tuple[int, int, int, int]) -> Picture:
    """A copy with a box drawn in it. box: left, top, right, bottom, pixels. uint8 (h, w, 3)."""
    image = Image.fromarray(pixels)
    width = max(2, min(image.size) // 100)
    ImageDraw.Draw(image).rectangle(box, outline=_BOX, width=width)
    return np.asarray(image)


def fit_picture(pixels: Picture, side: int = _CELL) -> Picture:
    """Shrink a picture into a square of `side` pixels, aspect kept. uint8 (h, w, 3) in and out."""
    image = Image.fromarray(pixels)
    image.thumbnail((side, side), Image.Resampling.LANCZOS)
    return np.asarray(image)
