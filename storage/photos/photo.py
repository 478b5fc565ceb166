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

from storage.containers.parsing import is_damage
from storage.errors import PhotoError
from storage.formats import require_codec, sniff
from storage.metadata.extraction import Metadata, read_metadata
from storage.photos import by_pillow, jpeg, jpegxl, tiff
from storage.photos.profiles import Pixels, to_srgb, why_ignored

_SWAPS_SIDES = {5, 6, 7, 8}
_MOST_SIDE = 200_000
_LOOKED_AT = 1 << 16
"""Of a WebP: its picture chunk comes after the profile."""


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


_CHANNELS = {"LA": 2, "PA": 2, "RGB": 3, "LAB": 3, "RGBA": 4, "CMYK": 4}
_TRUSTED, _MOST_RATIO = 256_000_000, 500
"""Bytes of pixels that a file of any size may hold, and how far beyond that it may be compressed."""


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
    metadata: Metadata = field(default_factory=Metadata)

    @property
    def dtype(self) -> type[np.uint8] | type[np.uint16]:
        """Of the output's samples: the depth of the original, at most 16 bits."""
        return np.uint16 if self.header.bits > 8 else np.uint8


def inspect(content: bytes, *, max_megapixels: float = 500.0) -> Header:
    """Read the header and check that the file is whole, without decoding its pixels.

    Raises PhotoError: EMPTY, NOT_A_PHOTO, UNSUPPORTED_FORMAT, CODEC_MISSING, TRUNCATED, DAMAGED,
    TOO_LARGE, TOO_SLOW, UNSUPPORTED_MODE, RANGE.
    """
    name = sniff(content)
    require_codec(name)
    _check_whole(name, content)
    with decoder_errors():
        header = _headers(name, content)[0]
    _check_size(header, max_megapixels, len(content))
    return header


def decode(content: bytes, *, max_megapixels: float = 500.0) -> Photo:
    """The first page at full size and depth. Raises PhotoError as `inspect` does."""
    return next(decode_pages(content, max_megapixels=max_megapixels))


def decode_pages(content: bytes, *, max_megapixels: float = 500.0) -> Iterator[Photo]:
    """Every page at full size and depth, one at a time. Raises PhotoError as `inspect` does."""
    name = sniff(content)
    require_codec(name)
    _check_whole(name, content)
    with decoder_errors():
        pages: list[tiff.Page] = tiff.read_pages(content) if name == "TIFF" else []
        headers = [_tiff_header(page, pages) for page in pages] or _headers(name, content)
    for number, header in enumerate(headers):
        _check_size(header, max_megapixels, len(content))
        with decoder_errors():
            photo = _decode_page(header, pages[number] if pages else None, content)
        yield photo


def _decode_page(header: Header, page: tiff.Page | None, content: bytes) -> Photo:
    associated = False
    if page is not None:
        samples, alpha, associated = tiff.read_pixels(page)
    else:
        samples, alpha = _split_alpha(_read_samples(header, content), header.mode)
    metadata = read_metadata(header.format, content, page.index if page else 0)
    pixels = to_srgb(samples, metadata.profile, metadata.gamma)
    if why := why_ignored(metadata.profile, 1 if samples.ndim == 2 else samples.shape[2]):
        metadata = replace(metadata, lost=(*metadata.lost, f"ICC profile: {why}"))
    is_jpeg = header.format == "JPEG"
    return Photo(
        header=header,
        pixels=upright(pixels, header.orientation),
        alpha=None if alpha is None else upright(alpha, header.orientation),
        associated=associated,
        quality=jpeg.quality_of(content) if is_jpeg else 0,
        lossless=not is_jpeg and (header.format != "WEBP" or b"VP8L" in content[:_LOOKED_AT]),
        metadata=metadata,
    )


def _read_samples(header: Header, content: bytes) -> Any:
    if header.format == "JXL":
        return jpegxl.read_pixels(content)
    if header.format == "DNG":
        return _develop(content)
    return by_pillow.read_pixels(header.format, content, header.mode)


def _headers(name: str, content: bytes) -> list[Header]:
    if name == "TIFF":
        pages = tiff.read_pages(content)
        return [_tiff_header(page, pages) for page in pages]
    if name == "JXL":
        facts = jpegxl.read_header(content)
    elif name == "DNG":
        facts = _dng_header(content)
    else:
        with by_pillow.open_image(name, content) as image:
            facts = by_pillow.read_header(name, image, content)
    return [_header(name, **facts)]


def _header(name: str, *, width: int, height: int, orientation: int = 1, **facts: Any) -> Header:
    if orientation in _SWAPS_SIDES:
        width, height = height, width
    facts = {"largest_page": width * height} | facts
    return Header(format=name, width=width, height=height, orientation=orientation, **facts)


def _tiff_header(page: tiff.Page, pages: list[tiff.Page]) -> Header:
    return _header(
        "TIFF",
        width=page.shape[1],
        height=page.shape[0],
        orientation=page.orientation,
        mode=page.mode,
        bits=page.bits,
        num_pages=len(pages),
        largest_page=max(page.shape[0] * page.shape[1] for page in pages),
    )


def _check_size(header: Header, max_megapixels: float, num_bytes: int) -> None:
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
    if math.isinf(max_megapixels):  # asked again for a photo that was let in
        return
    channels = _CHANNELS.get(header.mode.partition(";")[0], 1)
    decoded = header.largest_page * channels * -(-header.bits // 8)
    if decoded > _TRUSTED and decoded > _MOST_RATIO * num_bytes:
        raise PhotoError(
            "TOO_LARGE",
            f"expected at most {_MOST_RATIO} times the file's size in pixels, got "
            f"{decoded / 1e6:.0f} MB in {num_bytes / 1e6:.1f} MB: no photograph is that empty",
        )


def _check_whole(name: str, content: bytes) -> None:
    """Raise TRUNCATED where the format's own end marker is missing; decoders are silent on many."""
    if name == "JPEG":
        jpeg.check_whole(content)
        return
    if name == "PNG":
        whole = b"IEND" in content[-64:] or b"IEND\xaeB`\x82" in content
    elif name == "WEBP":
        whole = int.from_bytes(content[4:8], "little") + 8 <= len(content) + 1
    elif name == "JPEG2000":
        whole = content.rfind(b"\xff\xd9") > content.rfind(b"\xff\x93")
    else:
        return
    if not whole:
        raise PhotoError("TRUNCATED", f"expected the end marker of {name}, found none")


@contextmanager
def decoder_errors() -> Iterator[None]:
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
        raise PhotoError("CODEC_MISSING", f"{type(error).__name__}: {error}"[:300]) from error
    except Image.DecompressionBombError as error:
        raise PhotoError("TOO_LARGE", str(error)) from error
    except Exception as error:
        if not is_damage(error):
            raise
        code = "TRUNCATED" if "truncated" in str(error).lower() else "DAMAGED"
        raise PhotoError(code, f"{type(error).__name__}: {error}"[:300]) from error


def _dng_header(content: bytes) -> dict[str, Any]:
    import io

    import rawpy

    with rawpy.imread(io.BytesIO(content)) as raw:
        sizes = raw.sizes
        turned = sizes.flip in (5, 6)
        sides = (sizes.height, sizes.width) if turned else (sizes.width, sizes.height)
    return {"width": sides[0], "height": sides[1], "mode": "RGB;16", "bits": 16}


def _develop(content: bytes) -> Any:
    """A raw picture as sRGB, upright, without brightening."""
    import io

    import rawpy

    with rawpy.imread(io.BytesIO(content)) as raw:
        return raw.postprocess(
            use_camera_wb=True, no_auto_bright=True, output_bps=16, gamma=(2.4, 12.92)
        )


def _split_alpha(samples: Any, mode: str) -> tuple[Any, Any]:
    """Separate the alpha channel of (H, W, 2) and (H, W, 4); CMYK has none."""
    if samples.ndim == 3 and mode != "CMYK" and samples.shape[2] in (2, 4):
        colour = samples[..., 0] if samples.shape[2] == 2 else samples[..., :3]
        return np.ascontiguousarray(colour), np.ascontiguousarray(samples[..., -1])
    return samples, None


def upright(pixels: Any, orientation: int) -> Any:
    """Apply an EXIF orientation (CIPA DC-008, tag 0x0112) to an array of (H, W, …)."""
    if orientation in _SWAPS_SIDES:
        pixels = np.swapaxes(pixels, 0, 1)
    if orientation in (2, 3, 7, 6):
        pixels = pixels[:, ::-1]
    if orientation in (3, 4, 7, 8):
        pixels = pixels[::-1]
    return np.ascontiguousarray(pixels)
