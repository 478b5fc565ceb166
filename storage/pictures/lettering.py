"""Text of any script on a drawing, with fonts that are bundled: the same on every machine.

A character that no font has is drawn as its code point, never as an empty box (docs/decisions/047).
"""

from __future__ import annotations

import io
import unicodedata
from collections.abc import Container, Iterator
from functools import lru_cache
from importlib.resources import files

from PIL import ImageDraw, ImageFont, features

from storage.pictures.unshaped import in_drawn_order
from storage.visible import visible

_FOLDER = files("storage.pictures") / "fonts"
FONTS = (
    "DejaVuSans.ttf",
    *(f"NotoSans{script}-Regular.ttf" for script in ("Devanagari", "Thai", "Bengali", "Tamil")),
    *(f"NotoSans{script}-Regular.ttf" for script in ("Telugu", "Kannada", "Malayalam", "Oriya")),
    *(f"NotoSans{script}-Regular.ttf" for script in ("Gujarati", "Gurmukhi", "Sinhala", "Khmer")),
    *(f"NotoSans{script}-Regular.ttf" for script in ("Lao", "Myanmar")),
    "DroidSansFallbackFull.ttf",
    "NanumSquareR.ttf",
)
"""In fonts/, the first that has a character draws it. The first one has Latin, Cyrillic, Greek, Armenian,
Georgian, Hebrew and Arabic, the last two Chinese and Japanese, and Korean."""
_UNSEEN = frozenset("\u200c\u200d" + "".join(map(chr, range(0xFE00, 0xFE10))))
"""Joiners and variation selectors: they say how their neighbours look."""
_CUT = "…"
Ink = tuple[int, int, int]


def draw_text(
    draw: ImageDraw.ImageDraw,
    place: tuple[float, float],
    text: str,
    size: int,
    ink: Ink,
    *,
    most: float = float("inf"),
) -> None:
    """Draw a line of text. place: its left and top, pixels. most: its width, else it is cut."""
    x, y = place
    for part, font in _fitted(text, size, most):
        draw.text((x, y + size), part, fill=ink, font=font, anchor="ls", direction=_direction())
        x += font.getlength(part, direction=_direction())


def text_length(text: str, size: int) -> float:
    """Width of a line of text, pixels."""
    return sum(font.getlength(part, direction=_direction()) for part, font in _parts(text, size))


def undrawn(text: str) -> list[str]:
    """The characters that no font has, as they are drawn instead: U+1F600."""
    return sorted({_code_point(c) for c in _readable(text) if _font_of(c) is None})


def is_shaped() -> bool:
    """Whether Pillow's shaping is there: it wants the system's FriBidi (libfribidi0)."""
    return bool(features.check("raqm"))


def _fitted(text: str, size: int, most: float) -> list[tuple[str, ImageFont.FreeTypeFont]]:
    """The parts of a text, of a longest beginning of it that fits."""
    if text_length(text, size) <= most:
        return list(_parts(text, size))
    shortest, longest = 0, len(text)
    while longest - shortest > 1:
        middle = (shortest + longest) // 2
        fits = text_length(text[:middle] + _CUT, size) <= most
        shortest, longest = (middle, longest) if fits else (shortest, middle)
    return list(_parts(text[:shortest] + _CUT, size))


def _parts(text: str, size: int) -> Iterator[tuple[str, ImageFont.FreeTypeFont]]:
    """The text cut where its font changes."""
    for number, part in _runs(_readable(text)):
        shaped = part if is_shaped() else in_drawn_order(part)
        yield shaped, _open(FONTS[number], size)


def _readable(text: str) -> str:
    """Composed: names of macOS come as letters and marks apart."""
    return visible(unicodedata.normalize("NFC", text))


def _runs(text: str) -> list[tuple[int, str]]:
    """Font and text of each part. Marks go with the letter before them, if its font has them."""
    found: list[tuple[int, str]] = []
    for character in text:
        current = found[-1][0] if found else 0
        font = _font_of(character, current if _is_mark(character) else 0)
        drawn = character if font is not None else _code_point(character)
        font = font or 0 if character not in _UNSEEN else current
        if found and found[-1][0] == font:
            found[-1] = (font, found[-1][1] + drawn)
        else:
            found.append((font, drawn))
    return found


def _font_of(character: str, first: int = 0) -> int | None:
    """The first font that has a character, `first` before all; None where none has it."""
    if character in _UNSEEN or character.isascii():
        return first
    code = ord(character)
    return next((n for n in (first, *range(len(FONTS))) if code in _characters(FONTS[n])), None)


def _is_mark(character: str) -> bool:
    return unicodedata.category(character).startswith("M")


def _code_point(character: str) -> str:
    return f"‹U+{ord(character):04X}›"


def _direction() -> str | None:
    """A caption goes from left to right, whatever letters it begins with."""
    return "ltr" if is_shaped() else None


@lru_cache
def _characters(name: str) -> Container[int]:
    """Code points of a font."""
    from fontTools.ttLib import TTFont

    with TTFont(io.BytesIO((_FOLDER / name).read_bytes()), lazy=True) as font:
        return frozenset(font.getBestCmap())


@lru_cache(maxsize=64)
def _open(name: str, size: int) -> ImageFont.FreeTypeFont:
    return ImageFont.truetype(io.BytesIO((_FOLDER / name).read_bytes()), size)
