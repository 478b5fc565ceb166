"""Bytes to pixels: what a photo is, whether it is whole, and its pixels, upright and in sRGB.

Content decides, never the name. Decoding starts from bytes: OpenCV crashes on names that are not
UTF-8, and bytes are hashed anyway. TIFF goes through tifffile, most else through Pillow with an
allowlist (facts/formats.md). `storage.photos.encoding` is the way back.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from PIL import Image

from storage.containers.parsing import is_damage, part, plain_words
from storage.errors import PhotoError
from storage.formats import require_codec, sniff
from storage.metadata.extraction import Metadata, read_metadata
from storage.photos.codec import SWAPS_SIDES, Codec, Header, Page
from storage.photos.codecs import CODECS
from storage.photos.profiles import Pixels, to_srgb, why_ignored
from storage.photos.ranges import checked

_MOST_SIDE = 200_000


_CHANNELS = {"LA": 2, "PA": 2, "RGB": 3, "LAB": 3, "RGBA": 4, "CMYK": 4}
_MOST_RATIO = 500
"""How far a file may be compressed, beyond what its codec trusts."""
_COPIES = 3
"""Of the samples, on their way from the file to what is coloured."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Photo:
    """One decoded page of a photo, upright."""

    header: Header
    """Of this page."""
    pixels: Pixels
    """uint8 or uint16, (H, W) gray or (H, W, 3), sRGB-encoded. Finer than the file where a profile
    was applied, so that nothing is rounded twice; `bits` of the header says what the file holds."""
    alpha: Pixels | None = None
    """uint8 or uint16, (H, W); carried to the output unchanged."""
    associated: bool = False
    """Whether the pixels are multiplied by alpha already (TIFF 6.0, ExtraSamples 1)."""
    quality: int = 0
    """Of a JPEG, 1..100; else 0."""
    lossless: bool = True
    """Whether its own encoding is without loss; decides for WebP."""
    note: str = ""
    """What people should know of it."""
    metadata: Metadata = field(default_factory=Metadata)

    @property
    def dtype(self) -> type[np.uint8] | type[np.uint16]:
        """Of the output's samples: the depth of the original, at most 16 bits."""
        return np.uint16 if self.header.bits > 8 else np.uint8


def inspect(
    content: bytes,
    *,
    max_megapixels: float = 500.0,
    max_bytes: float = math.inf,
    salvage: bool = False,
) -> Header:
    """Read the header and check that the file is whole, without decoding its pixels.

    max_bytes: of memory that decoding may take.
    salvage: a file that is cut will do, if pages of it can be read. Raises PhotoError: EMPTY, NOT_A_PHOTO, UNSUPPORTED_FORMAT, CODEC_MISSING, TRUNCATED, DAMAGED,
    TOO_LARGE, TOO_SLOW, UNSUPPORTED_MODE, RANGE.
    """
    codec, pages = _opened(content, salvage)
    _check_size(codec, pages[0].header, max_megapixels, max_bytes, len(content))
    return pages[0].header


def decode(content: bytes, *, max_megapixels: float = 500.0) -> Photo:
    """The first page at full size and depth. Raises PhotoError as `inspect` does."""
    return next(decode_pages(content, max_megapixels=max_megapixels))


def decode_pages(
    content: bytes,
    *,
    max_megapixels: float = 500.0,
    max_bytes: float = math.inf,
    salvage: bool = False,
    stretch: bool = False,
) -> Iterator[Photo]:
    """Every page at full size and depth, one at a time. Options and errors as of `inspect`.

    stretch: bring samples that use a small part of their range to all of it.
    """
    codec, pages = _opened(content, salvage)
    for page in pages:
        _check_size(codec, page.header, max_megapixels, max_bytes, len(content))
        with decoder_errors(codec, content):
            photo = _decode_page(codec, page, content, stretch)
        yield photo


def _opened(content: bytes, salvage: bool) -> tuple[Codec, list[Page]]:
    """The pages of a whole file, none decoded. salvage: else one that is cut raises TRUNCATED."""
    name = sniff(content)
    require_codec(name, content)
    codec = CODECS[name]
    codec.check_whole(content)
    with decoder_errors(codec, content):
        pages = codec.pages(content)
    if (cut := pages[0].header.cut) and not salvage:
        readable = "1 page" if len(pages) == 1 else f"{len(pages)} pages"
        raise PhotoError(
            "TRUNCATED", f"{cut}; {readable} can be read: --salvage colours only these"
        )
    return codec, pages


def _decode_page(codec: Codec, page: Page, content: bytes, stretch: bool) -> Photo:
    samples, orientation = page.pixels(), page.header.orientation
    colours, alpha = samples.colours, samples.alpha
    notes = [samples.note]
    if not (samples.ranged or samples.associated) and _has_plain_range(page.header):
        colours, narrow = checked(colours, inverted=samples.inverted, stretch=stretch)
        notes.append(narrow)
    metadata = read_metadata(codec.name, content, page.header.page)
    pixels = to_srgb(colours, metadata.profile, metadata.gamma)
    if why := why_ignored(metadata.profile, 1 if colours.ndim == 2 else colours.shape[2]):
        metadata = replace(metadata, lost=(*metadata.lost, f"ICC profile: {why}"))
    return Photo(
        header=page.header,
        pixels=upright(pixels, orientation),
        alpha=None if alpha is None else upright(alpha, orientation),
        associated=samples.associated,
        quality=codec.quality(content),
        lossless=codec.lossless(content),
        note="; ".join(filter(None, notes)),
        metadata=metadata,
    )


def _has_plain_range(header: Header) -> bool:
    """Whether 0 is black and the largest code value white."""
    return header.bits > 1 and not header.mode.startswith(("P", "CMYK", "LAB"))


def _check_size(
    codec: Codec, header: Header, max_megapixels: float, max_bytes: float, num_bytes: int
) -> None:
    if max(header.width, header.height) > _MOST_SIDE:
        raise PhotoError(
            "TOO_LARGE",
            f"expected sides of at most {_MOST_SIDE} pixels, got {header.width}×{header.height}",
        )
    megapixels = header.largest_page / 1e6
    if megapixels > max_megapixels:
        raise PhotoError(
            "TOO_LARGE", f"expected at most {max_megapixels:g} megapixels, got {megapixels:.0f}"
        )
    channels = _CHANNELS.get(header.mode.partition(";")[0], 1)
    decoded = header.largest_page * channels * -(-header.bits // 8)
    needed = _COPIES * decoded + codec.working_bytes * header.largest_page
    if needed > max_bytes:
        raise PhotoError(
            "TOO_LARGE",
            f"expected a photo that a worker can hold in {max_bytes / 1e9:.1f} GB, got "
            f"{megapixels:.0f} megapixels, which need about {needed / 1e9:.1f} GB",
        )
    if math.isinf(max_megapixels):  # asked again for a photo that was let in
        return
    if decoded > codec.trusted_bytes and decoded > _MOST_RATIO * num_bytes:
        raise PhotoError(
            "TOO_LARGE",
            f"expected at most {_MOST_RATIO} times the file's size in pixels, got "
            f"{decoded / 1e6:.0f} MB in {num_bytes / 1e6:.1f} MB: no photograph is that empty",
        )


@contextmanager
def decoder_errors(codec: Codec, content: bytes) -> Iterator[None]:
    """Turn whatever a decoder raises for a bad file into one PhotoError."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # decoders warn of odd metadata; pixels decide here
            yield
    except PhotoError:
        raise
    except MemoryError as error:
        raise PhotoError("OUT_OF_MEMORY", "the decoder ran out of memory") from error
    except ImportError as error:
        raise PhotoError("CODEC_MISSING", f"a package is missing: {plain_words(error)}") from error
    except Image.DecompressionBombError as error:
        raise PhotoError("TOO_LARGE", str(error)) from error
    except Exception as error:
        if not is_damage(error):
            raise
        code = "TRUNCATED" if part(False, codec.is_cut, content) else "DAMAGED"
        raise PhotoError(code, f"its decoder says: {plain_words(error)}") from error


def upright(pixels: Any, orientation: int) -> Any:
    """Apply an EXIF orientation (CIPA DC-008, tag 0x0112) to an array of (H, W, …)."""
    if orientation in SWAPS_SIDES:
        pixels = np.swapaxes(pixels, 0, 1)
    if orientation in (2, 3, 7, 6):
        pixels = pixels[:, ::-1]
    if orientation in (3, 4, 7, 8):
        pixels = pixels[::-1]
    return np.ascontiguousarray(pixels)
