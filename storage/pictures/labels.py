"""A visible label on a derivative: "AI colorized" in a corner, or in a border below.

It is off unless asked for: the pixels under it are no longer the photo's.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from storage.errors import PhotoError
from storage.photos.profiles import Pixels

TEXT = "AI colorized"
_SHARE = 1 / 28
"""Height of the label as a share of the photo's short side."""
_LEAST_HEIGHT = 12


def labelled_shape(shape: tuple[int, int], label: str) -> tuple[int, int]:
    """Height and width with the label. label: corner, border or empty. shape: (H, W)."""
    return (shape[0] + _height(shape), shape[1]) if label == "border" else shape


def label_box(shape: tuple[int, int], label: str) -> tuple[slice, slice]:
    """Rows and columns of the labelled picture that are not the photo's. shape: of the photo."""
    height, width = shape
    if label == "border":
        return slice(height, height + _height(shape)), slice(0, width)
    if label == "corner":
        plate = _plate(_height(shape), width)
        return slice(max(0, height - len(plate)), height), slice(width - plate.shape[1], width)
    return slice(0, 0), slice(0, 0)


def with_label(strips: Iterable[Pixels], shape: tuple[int, int], label: str) -> Iterator[Pixels]:
    """The strips of a photo, top to bottom, with a label drawn; all but the last stay as high.

    strips: uint8 or uint16, (rows, W, 3). shape: (H, W) of the photo.
    """
    if label == "border":
        yield from _with_border(strips, shape)
        return
    rows, columns = label_box(shape, label)
    top = 0
    for strip in strips:
        first, last = max(rows.start, top), min(rows.stop, top + len(strip))
        if first < last:
            plate = _deep(_plate(_height(shape), shape[1]), strip)
            offset = max(0, len(plate) - shape[0]) - rows.start
            strip = strip.copy()
            strip[first - top : last - top, columns] = plate[first + offset : last + offset]
        top += len(strip)
        yield strip


def _with_border(strips: Iterable[Pixels], shape: tuple[int, int]) -> Iterator[Pixels]:
    """Rows below the photo; what the last strip lacks to its height is filled up first."""
    band = np.full((_height(shape), shape[1], 3), 255, np.uint8)
    plate = _plate(len(band), shape[1])
    band[:, shape[1] - plate.shape[1] :] = 255 - plate
    pending: Pixels | None = None
    rows = 0
    for strip in strips:
        if pending is not None:
            yield pending
        rows, pending = max(rows, len(strip)), strip
    if pending is None:
        raise PhotoError("DAMAGED", "expected rows of pixels, got none")
    rest = np.concatenate([pending, _deep(band, pending)])
    for top in range(0, len(rest), rows):
        yield rest[top : top + rows]


def _height(shape: tuple[int, int]) -> int:
    return max(_LEAST_HEIGHT, round(min(shape) * _SHARE))


@lru_cache(maxsize=4)
def _plate(height: int, most_width: int) -> NDArray[np.uint8]:
    """White text on black, uint8 (height, w, 3), not wider than the photo."""
    font = ImageFont.load_default(size=max(8, round(height * 0.7)))
    left, top, right, bottom = font.getbbox(TEXT)
    width = int(right - left) + height
    image = Image.new("RGB", (width, height), (0, 0, 0))
    place = ((width - (right - left)) / 2 - left, (height - (bottom - top)) / 2 - top)
    ImageDraw.Draw(image).text(place, TEXT, (255, 255, 255), font=font)
    return np.asarray(image)[:, :most_width]


def _deep(plate: NDArray[np.uint8], strip: Pixels) -> Pixels:
    """The plate at the depth of the strip."""
    return plate if strip.dtype == np.uint8 else plate.astype(np.uint16) * np.uint16(257)
