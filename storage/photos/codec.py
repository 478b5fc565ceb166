"""What every codec is: whole or not, pages with header and pixels, and the way back.

`storage.photos.codecs` is the table of them, by the names of `storage.formats.FORMATS`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from storage.errors import PhotoError

SWAPS_SIDES = {5, 6, 7, 8}
"""Orientations (CIPA DC-008, tag 0x0112) that show rows as columns."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Header:
    """What is known of a photo before its pixels are decoded; of several pages, of the first."""

    format: str
    """A key of `storage.formats.FORMATS`."""
    width: int
    """As shown, that is with the orientation tag applied; pixels."""
    height: int
    mode: str
    """Pixel layout in Pillow's words: 1, L, LA, P, RGB, RGBA, CMYK, LAB; with `;16` where a sample
    has over 8 bits (gray then is I;16 or L;16)."""
    orientation: int = 1
    """EXIF/TIFF orientation, 1..8, not yet applied to the pixels of the file."""
    bits: int = 8
    """Of a sample, 1..64."""
    num_pages: int = 1
    """Full-size pages of a TIFF."""
    animated: bool = False
    """Whether it has further frames, which are not read."""
    largest_page: int = 0
    """Pixels of the largest page."""
    page: int = 0
    """Among all pages of the file, from 0, reduced ones too."""
    mask: bool = False
    """Whether the page is a mask or an infrared scan (TIFF's NewSubfileType, bit 2), no picture."""
    thumbnails: tuple[int, ...] = ()
    """Numbers from 1 of the file's reduced pages, which are not read."""
    byteorder: str = "<"
    """Of a TIFF of several pages, as struct's: pages that are copied need it."""
    cut: str = ""
    """What says that pages are missing, of a file that ends before they do; empty where none is."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Samples:
    """Decoded pixels, not yet upright."""

    colours: Any
    """uint8 or uint16, (H, W) gray, (H, W, 3) RGB or (H, W, 4) CMYK."""
    alpha: Any = None
    """uint8 or uint16, (H, W), or None."""
    associated: bool = False
    """Whether the colours are multiplied by alpha already."""
    ranged: bool = False
    """Whether the file says which samples are black and white, by more than their number of bits."""
    inverted: bool = False
    """Whether the file stores the complements of these colours."""
    note: str = ""
    """What people should know of them."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Page:
    """One full-size page, not decoded yet."""

    header: Header
    pixels: Callable[[], Samples]


@dataclass(frozen=True, kw_only=True, slots=True)
class Like:
    """What an encoding takes over from the original's."""

    quality: int
    """Of a JPEG, 1..100; else 0."""
    lossless: bool
    dpi: tuple[float, float] | None


TRUSTED_OF_SLOW = 4_000_000
"""Trusted bytes of formats that take a third of a second a megapixel whatever is in it."""


class Codec(ABC):
    """One format. What is said here holds for most; a codec says what is otherwise with its own."""

    most_side: int | None = None
    """Longest side that can be written, pixels."""
    writes_deep = True
    """Whether 16 bits can be written; as the next three, of what is written, not of what is read."""
    writes_alpha = True
    writes_metadata = False
    """EXIF and XMP within the file; else a sidecar holds them."""
    writes_pages = False
    working_bytes = 0
    """What its decoder takes a pixel beside the samples (facts/formats.md)."""
    trusted_bytes = 256_000_000
    """Of samples that a file of any size may hold; blank pages are all but empty, and quick to decode."""

    def __init__(self, name: str) -> None:
        self.name = name

    def check_whole(self, content: bytes) -> None:
        """Raise PhotoError TRUNCATED without the format's end marker: many decoders are silent."""
        if not self.has_end(content):
            raise PhotoError("TRUNCATED", f"expected the end marker of {self.name}, found none")

    def has_end(self, content: bytes) -> bool:
        """Whether the end marker is there; True where the format has none."""
        return True

    def is_cut(self, content: bytes) -> bool:
        """Whether a file that its decoder refused ends before its picture does. May raise anything."""
        return False

    @abstractmethod
    def pages(self, content: bytes) -> list[Page]:
        """The full-size pages, at least one. Raises PhotoError, and whatever decoders raise."""

    def reduced(self, content: bytes, header: Header, short_side: int) -> Any:
        """Colours as of `Samples`, reduced in decoding to no less than a short side, pixels.

        None where the decoder cannot reduce.
        """
        return None

    def quality(self, content: bytes) -> int:
        """Of a JPEG, 1..100; else 0."""
        return 0

    def lossless(self, content: bytes) -> bool:
        """Whether the file's own encoding is without loss; decides for WebP."""
        return True

    def keeps_values(self, lossless: bool) -> bool:
        """Whether what is written keeps every code value. lossless: whether the original does."""
        return True

    def encode(self, rgb: Any, like: Like) -> bytes:
        """A file of uint8 or uint16, (H, W, 3), or (H, W, 4) with alpha.

        Raises ValueError where the format is not written, or not at once, as a TIFF.
        """
        raise ValueError(f"Expected a format that is written at once, got {self.name}.")


class OnePicture(Codec):
    """A format of which one picture is read."""

    @abstractmethod
    def header(self, content: bytes) -> Header:
        """What is known without decoding. Raises PhotoError, and whatever decoders raise."""

    @abstractmethod
    def pixels(self, content: bytes, header: Header) -> Any:
        """As stored: uint8 or uint16, (H, W) or (H, W, C), C with alpha last. Raises as `header`."""

    def pages(self, content: bytes) -> list[Page]:
        header = self.header(content)
        return [Page(header=header, pixels=partial(self._samples, content, header))]

    def _samples(self, content: bytes, header: Header) -> Samples:
        stored = self.pixels(content, header)
        if stored.ndim == 3 and header.mode != "CMYK" and stored.shape[2] in (2, 4):
            colours = stored[..., 0] if stored.shape[2] == 2 else stored[..., :3]
            return Samples(colours=colours.copy(), alpha=stored[..., -1].copy())
        return Samples(colours=stored)


def shown(name: str, *, width: int, height: int, orientation: int = 1, **facts: Any) -> Header:
    """The header of a picture that is stored with that width and height.

    orientation: as its file says; what is none counts as 1.
    """
    if orientation not in range(1, 9):
        orientation = 1
    if orientation in SWAPS_SIDES:
        width, height = height, width
    facts = {"largest_page": width * height} | facts
    return Header(format=name, width=width, height=height, orientation=orientation, **facts)


def at_full_range(samples: NDArray[Any], top: int) -> NDArray[Any]:
    """Samples of 0..top as uint8 or uint16 over its whole range; those over top count as it."""
    dtype: Any = np.uint8 if top < 256 else np.uint16
    full = int(np.iinfo(dtype).max)
    if top == full:
        return samples
    return np.asarray(np.rint(np.minimum(samples, top) * (full / top)), dtype)
