"""One page's colours: what is asked of the networks and what their answer makes of its pixels."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import ImageColor
from torch import Tensor

from chromaflow.library.looking import against, hint_at, kept_of, look_at
from colorization.colour.full_size import Kept, colour_strips, full_size_strips
from colorization.merging.hinting import Hint
from colorization.merging.inference import MergedColorizer
from colorization.merging.prediction import Asked
from colorization.networks.palette_choice import PaletteChoice
from storage.errors import REASONS, PhotoError, UsageError
from storage.photos.photo import Photo

HintSpec = tuple[float, float, str | tuple[int, int, int]]
"""x, y, pixels from the left and top, and the colour there: as in HTML, or R, G, B of 0..255."""


@dataclass(frozen=True, slots=True)
class Colouring:
    """One way to colour a photo."""

    image: Any
    """Of the kind that was given: an array, a picture, or the path of the file."""
    palette: str
    """The code that colours so again; empty for the mean colours."""


@dataclass(frozen=True, slots=True)
class Page:
    """A page that is to be coloured."""

    photo: Photo
    asked: Asked
    kept: Kept

    def pixels(self, ab: Tensor) -> Any:
        """In colour, (H, W, 3). ab: float32 (1, 2, h, w), Lab units, at network size."""
        photo = self.photo
        return np.concatenate(list(colour_strips(photo.pixels, ab, photo.dtype, self.kept)))


def page_of(
    colorizer: MergedColorizer,
    photo: Photo,
    *,
    hints: Iterable[HintSpec] = (),
    palette: PaletteChoice,
    toning: str,
    accept: Sequence[str],
) -> Page:
    """A photo as the networks see it. Raises PhotoError for what is not to be coloured, UsageError."""
    look = look_at(photo)
    if why := against(photo, look, accept):
        raise why
    size = (photo.header.width, photo.header.height)
    given = [_hint(hint, size) for hint in hints]
    return Page(
        photo, colorizer.asked(photo.pixels, photo.alpha, given, palette), kept_of(look, toning)
    )


def without_colour(why: PhotoError) -> bool:
    """Whether a photo was refused for what it is, which `accept` overrules."""
    return REASONS[why.code].acceptable


def made_by(palette: str, runtime: str, saturation: float = 1.0) -> str:
    """What an output says of how its colours were made."""
    said = [f"palette {palette}"] if palette else []
    said += [f"saturation {saturation:g}"] if saturation != 1 else []
    said += [f"computed by {runtime}"] if runtime else []
    return "; ".join(said)


def full_size_map(uncertainty: Tensor, shape: tuple[int, ...]) -> Any:
    """float32 (H, W), Lab units. uncertainty: (1, 1, h, w). shape: H, W."""
    rows = [strip[0] for _, strip in full_size_strips(uncertainty, (shape[0], shape[1]))]
    return np.clip(np.concatenate(rows), 0, None)


def _hint(hint: HintSpec, size: tuple[int, int]) -> Hint:
    try:
        x, y, colour = hint
        rgb = ImageColor.getrgb(colour)[:3] if isinstance(colour, str) else tuple(colour)
        inside = 0 <= x < size[0] and 0 <= y < size[1]
    except (TypeError, ValueError) as error:
        raise UsageError(
            'Expected hints as (x, y, colour) with colour "#a03020", a name, or (R, G, B); got '
            f"{hint!r}."
        ) from error
    if not inside:
        raise UsageError(
            f"Expected hints within the photo, {size[0]} × {size[1]} pixels; got one at x {x:g}, "
            f"y {y:g}."
        )
    if len(rgb) != 3 or not all(0 <= level <= 255 for level in rgb):
        raise UsageError(f"Expected a colour of three numbers of 0..255, got {colour!r}.")
    return hint_at(x, y, rgb, size)
