"""Which palette colours a photo, as people and reports write it. Importing this imports no torch."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from colorization.errors import ConfigError

MEAN, LIKELY = "mean", "likely"
PALETTE_SIZE, CODEBOOK_SIZE = 8, 48
"""Numbers of a palette, and entries of a codebook."""
MOST_VARIANTS = 12
_LEVELS = 127
_CODE = re.compile(rf"[0-9a-f]{{{2 * PALETTE_SIZE}}}")


@dataclass(frozen=True, slots=True)
class PaletteChoice:
    """One way to choose. By default the mean of all colourings, which needs no palette."""

    likely: bool = False
    """Whether it is the photo's likeliest one."""
    entry: int = 0
    """Of the codebook, from 1; 0 for none."""
    numbers: tuple[float, ...] = ()
    """The palette itself, −1..1."""

    @property
    def own(self) -> bool:
        """Whether it is one palette for whatever photo."""
        return bool(self.entry or self.numbers)


def parse_palette(text: str) -> PaletteChoice:
    """What a person wrote. Raises ConfigError naming what is allowed."""
    wanted = text.strip().lower()
    if wanted == MEAN:
        return PaletteChoice()
    if wanted == LIKELY:
        return PaletteChoice(likely=True)
    if _CODE.fullmatch(wanted):
        return PaletteChoice(numbers=numbers_of(wanted))
    if wanted.isdecimal() and 1 <= int(wanted) <= CODEBOOK_SIZE:
        return PaletteChoice(entry=int(wanted))
    raise ConfigError(
        f"Expected palette of {MEAN}, {LIKELY}, a number of 1..{CODEBOOK_SIZE}, or a code of "
        f"{2 * PALETTE_SIZE} hexadecimal digits as the report names it; got {text!r}."
    )


def code_of_palette(numbers: Sequence[float]) -> str:
    """A palette, −1..1, as hexadecimal digits: two's complement of 127ths."""
    levels = (round(min(1.0, max(-1.0, x)) * _LEVELS) for x in numbers)
    return "".join(f"{level & 0xFF:02x}" for level in levels)


def numbers_of(code: str) -> tuple[float, ...]:
    """The palette that `code_of_palette` wrote, within 1/254 of each number."""
    levels = bytes.fromhex(code)
    return tuple((level - 256 if level > _LEVELS else level) / _LEVELS for level in levels)
