"""Which samples are black and white: by what a file declares, or by the bits that they use."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from storage.photos.profiles import Pixels

_NARROW = 8
"""Samples that all lie under this part of their range were likely written with fewer bits."""
_MOST_ABOVE = 0.01
"""Share of samples over the white that is declared, up to which they are taken for spots."""


def by_declared(samples: Pixels, bits: int, declared: tuple[float, float]) -> Pixels | None:
    """Samples as shares of a declared range; None where so many lie above it that it cannot be meant.

    samples: unsigned integers of so many bits, at most 16, of any shape. declared: which of them are
    black and white. Returns uint8 (up to 8 bits) or uint16 over its whole range.
    """
    black, white = declared
    if np.count_nonzero(samples > white) > _MOST_ABOVE * samples.size:
        return None
    dtype: Any = np.uint8 if bits <= 8 else np.uint16
    shares = (np.arange(1 << bits) - black) / (white - black)
    return _through(np.rint(np.clip(shares, 0, 1) * np.iinfo(dtype).max).astype(dtype), samples)


def checked(colours: Pixels, *, inverted: bool, stretch: bool) -> tuple[Pixels, str]:
    """Look for samples that use a small part of their range. Returns colours and what to say of them.

    colours: uint8 or uint16, (H, W) gray or (H, W, 3) RGB, whose range nothing declares. inverted:
    whether the file stores the complements. stretch: bring the bits that are used to the whole range.
    """
    top = int(np.iinfo(colours.dtype).max)
    most = top - int(colours.min()) if inverted else int(colours.max())
    if most * _NARROW >= top:
        return colours, ""
    used = (1 << most.bit_length()) - 1
    if not (stretch and used):
        return colours, (
            f"range: every sample lies under 1/{_NARROW} of 0..{top}, at most {most}, and none is "
            f"declared; --range auto reads 0..{used}"
        )
    ramp = np.rint(np.minimum(np.arange(top + 1), used) * (top / used)).astype(colours.dtype)
    table = top - ramp[::-1] if inverted else ramp
    return _through(table, colours), f"range: read as 0..{used} instead of 0..{top} (--range auto)"


def _through(table: NDArray[Any], samples: Pixels) -> Pixels:
    found: Pixels = table[np.minimum(samples, len(table) - 1)]
    return found
