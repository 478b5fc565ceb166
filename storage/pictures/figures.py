"""Figures as papers have them: columns of pictures, a number under each, rows in named groups."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from PIL import Image, ImageDraw, ImageFont

from storage.pictures.grid import (
    CELL,
    Picture,
    cell_left,
    fit_picture,
    paste_row,
    png_bytes,
    row_height,
)

_GAP, _MARGIN = 6, 12
_HEADING, _NOTE, _GROUP, _LINE = 34, 24, 30, 22
_BETWEEN = 14
"""Pixels between groups."""
_PAPER, _INK, _FAINT = (255, 255, 255), (20, 20, 20), (120, 120, 120)
_HEADING_SIZE, _NOTE_SIZE, _FOOTER_SIZE = 19, 15, 15
_CHARACTER = 7.4
"""Mean width of a letter of the footer, pixels."""


@dataclass(frozen=True, slots=True)
class Panel:
    """One picture of a figure."""

    picture: Picture
    """uint8 (h, w, 3), of any size."""
    note: str = ""
    """Under it."""
    is_strong: bool = False
    """Whether the note is dark, the others faint."""


def figure(
    headings: Sequence[str],
    groups: Sequence[tuple[str, Sequence[Sequence[Panel]]]],
    *,
    legend: Mapping[str, tuple[int, int, int]],
    footer: str,
) -> bytes:
    """Draw a figure.

    headings: one a column. groups: what stands upright beside the rows (empty for nothing), and the
    rows, one panel a column. legend: colours by what they mean. Returns a PNG's bytes.
    """
    left = _MARGIN + (_GROUP if any(name for name, _ in groups) else 0)
    width = cell_left(len(headings), left=left, gap=_GAP) - _GAP + _MARGIN
    lines = textwrap.wrap(footer, max(20, int((width - 2 * _MARGIN) / _CHARACTER)))
    fitted = [
        (name, [[fit_picture(panel.picture) for panel in row] for row in rows])
        for name, rows in groups
    ]
    heights = [[row_height(row) + _NOTE for row in rows] for _, rows in fitted]
    below = _LINE * (len(lines) + bool(legend)) + _MARGIN
    middle = sum(map(sum, heights)) + _BETWEEN * (len(groups) - 1)
    sheet = Image.new("RGB", (width, _HEADING + middle + below), _PAPER)
    draw = ImageDraw.Draw(sheet)
    for column, heading in enumerate(headings):
        _centred(draw, cell_left(column, left=left, gap=_GAP), 6, heading, _HEADING_SIZE, _INK)
    top = _HEADING
    for (name, rows), (_, panels), row_heights in zip(fitted, groups, heights, strict=True):
        if name:
            _upright(sheet, name, top, sum(row_heights) - _NOTE)
        for row, notes, height in zip(rows, panels, row_heights, strict=True):
            paste_row(sheet, row, left=left, top=top, gap=_GAP)
            for column, panel in enumerate(notes):
                x = cell_left(column, left=left, gap=_GAP)
                ink = _INK if panel.is_strong else _FAINT
                stroke = 0.5 if panel.is_strong else 0
                note_top = top + height - _NOTE + 2
                _centred(draw, x, note_top, panel.note, _NOTE_SIZE, ink, stroke)
            top += height
        top += _BETWEEN
    top -= _BETWEEN
    if legend:
        _legend(draw, left, top + 4, legend)
        top += _LINE
    font = ImageFont.load_default(_FOOTER_SIZE)
    for number, line in enumerate(lines):
        draw.text((left, top + 4 + number * _LINE), line, fill=_FAINT, font=font)
    return png_bytes(sheet, optimize=True)


def _centred(
    draw: ImageDraw.ImageDraw,
    left: int,
    top: int,
    text: str,
    size: int,
    ink: tuple[int, int, int],
    stroke: float = 0,
) -> None:
    """Text over the middle of a cell, smaller where it would not fit."""
    font = ImageFont.load_default(size)
    length = draw.textlength(text, font)
    if length > CELL:
        font = ImageFont.load_default(max(8, size * CELL / length))
        length = draw.textlength(text, font)
    place = (left + (CELL - length) / 2, top)
    draw.text(place, text, fill=ink, font=font, stroke_width=stroke)


def _upright(sheet: Image.Image, text: str, top: int, height: int) -> None:
    """Text from the bottom to the top, in the left margin."""
    band = Image.new("RGB", (height, _GROUP), _PAPER)
    font = ImageFont.load_default(_HEADING_SIZE)
    draw = ImageDraw.Draw(band)
    draw.text(((height - draw.textlength(text, font)) / 2, 2), text, fill=_INK, font=font)
    sheet.paste(band.transpose(Image.Transpose.ROTATE_90), (_MARGIN - 4, top))


def _legend(
    draw: ImageDraw.ImageDraw, left: int, top: int, legend: Mapping[str, tuple[int, int, int]]
) -> None:
    font = ImageFont.load_default(_FOOTER_SIZE)
    x: float = left
    for name, colour in legend.items():
        draw.rectangle((x, top + 2, x + 14, top + 16), fill=colour)
        draw.text((x + 20, top), name, fill=_INK, font=font)
        x += 20 + draw.textlength(name, font) + 22
