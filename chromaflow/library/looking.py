"""A photo before it is coloured: what is seen of it, what speaks against colouring it, what of it is kept."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from colorization.colour.full_size import Kept
from colorization.colour.lab import rgb_to_lab
from colorization.colour.own_colour import LOOK_SIDE, OwnColour, own_colour
from colorization.colour.toning import COLOUR, tone_of
from colorization.merging.hinting import Hint
from storage.errors import PhotoError
from storage.photos.photo import Photo
from storage.photos.reduced import thumbnail

_LEAST_CHROMA = 3.0
"""Lab units: what JPEG leaves of neutral has less, at the next side."""
_OPAQUE = 127
_LOOK_SIDE = 128
"""Short side at which toning is judged, pixels."""


@dataclass(frozen=True, slots=True)
class Look:
    """What is seen of a photo whose pixels have three channels."""

    small: Any
    """Reduced, (h, w, 3) of its dtype; white where it is transparent."""
    tone: str
    """Of `colorization.colour.toning`, by what is not transparent."""
    chroma: float
    """The largest of a still smaller picture."""

    def own_colour(self) -> OwnColour | None:
        """What of its colours is no toning; None for a colour photo, which is to be coloured anew."""
        if self.tone == COLOUR or self.chroma < _LEAST_CHROMA:
            return None
        return own_colour(rgb_to_lab(self.small))


def look_at(photo: Photo) -> Look | None:
    """None for one channel, which has no colour."""
    if photo.pixels.ndim == 2:
        return None
    small: Any = thumbnail(photo.pixels, LOOK_SIDE)
    opaque = None
    if photo.alpha is not None:
        opacity: Any = thumbnail(photo.alpha, LOOK_SIDE)
        opaque = opacity >= np.iinfo(opacity.dtype).max // 2
        small = np.where(opaque[..., None], small, np.iinfo(small.dtype).max).astype(small.dtype)
        opaque = thumbnail(opaque.astype(np.uint8) * 255, _LOOK_SIDE) > _OPAQUE
    lab = rgb_to_lab(thumbnail(small, _LOOK_SIDE))
    seen = lab if opaque is None or not opaque.any() else lab[:, None, opaque]
    return Look(small, tone_of(seen), float(np.hypot(lab[1], lab[2]).max()))


def against(photo: Photo, look: Look | None, accept: Collection[str]) -> PhotoError | None:
    """Why a page is better not coloured: ANIMATED, MASK, BILEVEL or ALREADY_COLOR.

    accept: codes that are no reason.
    """
    return next((why for why in _unusual(photo, look) if why.code not in accept), None)


def _unusual(photo: Photo, look: Look | None) -> Iterator[PhotoError]:
    """What people accept or not."""
    if photo.header.animated:
        yield PhotoError("ANIMATED", "expected one frame, got several")
    if photo.header.mask:
        yield PhotoError("MASK", "expected a picture, got a mask or an infrared scan")
    if photo.header.bits == 1:
        yield PhotoError("BILEVEL", "expected grays, got black and white only")
    if look is not None and look.tone == COLOUR:
        yield PhotoError("ALREADY_COLOR", "expected gray or an even toning, got colours")


def kept_of(look: Look | None, toning: str) -> Kept:
    """What stays of a photo's own colour. toning: neutral, keep or replace."""
    own = look.own_colour() if look and toning != "replace" else None
    return Kept(toning=toning == "keep", own=own)


def hint_at(x: float, y: float, rgb: tuple[float, ...], size: tuple[int, int]) -> Hint:
    """A colour at a point as the networks see it.

    x, y: pixels from the left and top. rgb: 0..255, sRGB-encoded. size: width and height of the photo.
    """
    a, b = rgb_to_lab(np.array([[rgb]], np.uint8))[1:, 0, 0].tolist()
    return Hint(across=(x + 0.5) / size[0], down=(y + 0.5) / size[1], ab=(a, b))
