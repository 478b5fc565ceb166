"""Bytes ↔ pixels: what a photo is, whether it is whole, its pixels, and the encoding of colour.

Content decides, never the name. Decoding starts from bytes: OpenCV crashes on names that are not
UTF-8, and bytes are hashed anyway. TIFF goes through tifffile, everything else through Pillow with
an allowlist (facts/formats.md).
"""

from __future__ import annotations

import io
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from typing import Any

import imagecodecs
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageCms

from storage import tiff
from storage.errors import PhotoError
from storage.png import png_with_metadata

Pixels = NDArray[np.uint8] | NDArray[np.uint16]

PILLOW_FORMATS = ("JPEG", "PNG", "WEBP", "BMP")
_SIGNATURES = {
    b"\xff\xd8\xff": "JPEG",
    b"\x89PNG\r\n\x1a\n": "PNG",
    b"II*\x00": "TIFF",
    b"MM\x00*": "TIFF",
    b"II+\x00": "TIFF",
    b"MM\x00+": "TIFF",
    b"BM": "BMP",
}
_OTHER_PICTURES = {
    b"GIF8": "GIF",
    b"\x00\x00\x00\x0cjP  ": "JPEG 2000",
    b"\xff\x4f\xff\x51": "JPEG 2000",
    b"8BPS": "Photoshop",
    b"DDS ": "DDS",
    b"qoif": "QOI",
    b"\x01\xda": "SGI",
    b"%!PS": "EPS",
    b"\xff\x0a": "JPEG XL",
    b"\x00\x00\x00\x0cJXL ": "JPEG XL",
    **{b"P%d" % n + white: "PNM" for n in range(1, 8) for white in (b"\n", b" ", b"\r", b"\t")},
    b"Pf\n": "PNM",
    b"PF\n": "PNM",
}
_MOST_SCANS = 256
"""A progressive JPEG has about ten; one with 10,000 kept a decoder busy for over 30 s."""
_ORIENTATION = 0x0112
_SWAPS_SIDES = {5, 6, 7, 8}
_JPEG_QUALITY = 95


@dataclass(frozen=True, kw_only=True, slots=True)
class Header:
    """What is known of a photo before its pixels are decoded."""

    format: str
    """JPEG, PNG, TIFF, WEBP or BMP."""
    width: int
    """As shown, that is with the orientation tag applied; pixels."""
    height: int
    mode: str
    """Pixel layout in Pillow's words: L, LA, RGB, RGBA, P, 1, I;16; RGB;16 for 16-bit colour."""
    orientation: int = 1
    """EXIF/TIFF orientation, 1..8, not yet applied to the pixels of the file."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Photo:
    """A decoded photo, upright."""

    header: Header
    pixels: Pixels
    """uint8 or uint16, (H, W) gray or (H, W, 3) sRGB-encoded."""
    alpha: Pixels | None = None
    """Of the same depth, (H, W); carried to the output unchanged."""
    exif: bytes = b""
    """With orientation 1 and without the stale thumbnail."""
    dpi: tuple[float, float] | None = None


def sniff(content: bytes) -> str:
    """The format by signature. Raises PhotoError EMPTY, NOT_A_PHOTO or UNSUPPORTED_FORMAT."""
    if not content:
        raise PhotoError("EMPTY", "expected a photo, got 0 bytes")
    for signature, name in _SIGNATURES.items():
        if content.startswith(signature):
            return name
    if content[:4] == b"RIFF" and content[8:12] == b"WEBP":
        return "WEBP"
    others = (name for start, name in _OTHER_PICTURES.items() if content.startswith(start))
    other = "HEIF" if content[4:8] == b"ftyp" else next(others, None)
    if other is not None:
        raise PhotoError(
            "UNSUPPORTED_FORMAT", f"expected JPEG, PNG, TIFF, WebP or BMP, got {other}"
        )
    raise PhotoError(
        "NOT_A_PHOTO", f"expected a photo's signature, got bytes {content[:8].hex(' ')}"
    )


def inspect(content: bytes, *, max_megapixels: float = 500.0) -> Header:
    """Read the header and check that the file is whole, without decoding its pixels.

    Raises PhotoError: EMPTY, NOT_A_PHOTO, UNSUPPORTED_FORMAT, TRUNCATED, DAMAGED, TOO_LARGE,
    TOO_SLOW, MULTI_PAGE, UNSUPPORTED_MODE.
    """
    name = sniff(content)
    _check_whole(name, content)
    with decoder_errors():
        if name == "TIFF":
            header = _tiff_header(tiff.read_page(content))
        else:
            with Image.open(io.BytesIO(content), formats=PILLOW_FORMATS) as image:
                if getattr(image, "n_frames", 1) > 1 and name != "JPEG":
                    raise PhotoError("MULTI_PAGE", f"expected one frame, got {image.n_frames}")  # type: ignore[attr-defined]
                header = _pillow_header(name, image, content)
    megapixels = header.width * header.height / 1e6
    if megapixels > max_megapixels:
        raise PhotoError(
            "TOO_LARGE", f"expected at most {max_megapixels:g} megapixels, got {megapixels:.0f}"
        )
    return header


def decode(content: bytes, *, max_megapixels: float = 500.0) -> Photo:
    """Decode at full size and depth, orientation applied. Raises PhotoError as `inspect` does."""
    header = inspect(content, max_megapixels=max_megapixels)
    with decoder_errors():
        if header.format == "TIFF":
            page = tiff.read_page(content)
            pixels, alpha = tiff.read_pixels(page)
            exif, dpi = b"", page.dpi
        else:
            pixels, alpha, exif, dpi = _decode_pillow(header, content)
    return Photo(
        header=header,
        pixels=upright(pixels, header.orientation),
        alpha=None if alpha is None else upright(alpha, header.orientation),
        exif=exif,
        dpi=dpi,
    )


def encode(rgb: Pixels, photo: Photo) -> bytes:
    """Encode colour as the original was: format, depth, resolution, EXIF, alpha; sRGB profile.

    rgb: uint8 or uint16 (H, W, 3), upright, of the photo's depth. Returns the file's bytes.
    """
    name, alpha = photo.header.format, photo.alpha
    if alpha is not None and name in ("PNG", "TIFF", "WEBP"):
        rgb = np.dstack([rgb, alpha]).astype(rgb.dtype)  # type: ignore[assignment]
    if name == "TIFF":
        return tiff.write(rgb, dpi=photo.dpi, profile=srgb_profile())
    if rgb.dtype == np.uint16:
        return png_with_metadata(
            bytes(imagecodecs.png_encode(rgb, level=6)),
            profile=srgb_profile(),
            exif=photo.exif,
            dpi=photo.dpi,
        )
    options: dict[str, Any] = {"icc_profile": srgb_profile(), "exif": photo.exif or None}
    if name == "JPEG":
        options |= {"quality": _JPEG_QUALITY, "subsampling": 0}
    if name == "WEBP":
        options |= {"quality": _JPEG_QUALITY}
    if photo.dpi and name != "WEBP":
        options["dpi"] = photo.dpi
    buffer = io.BytesIO()
    Image.fromarray(rgb).save(buffer, name, **{k: v for k, v in options.items() if v is not None})
    return buffer.getvalue()


@cache
def srgb_profile() -> bytes:
    """An ICC profile of sRGB, made by LittleCMS."""
    return ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


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
    except Image.DecompressionBombError as error:
        raise PhotoError("TOO_LARGE", str(error)) from error
    except Exception as error:  # noqa: BLE001 - parsers raise nearly every built-in error on bad bytes
        code = "TRUNCATED" if "truncated" in str(error).lower() else "DAMAGED"
        raise PhotoError(code, f"{type(error).__name__}: {error}"[:300]) from error


def _check_whole(name: str, content: bytes) -> None:
    """Raise TRUNCATED where the format's own end marker is missing; Pillow is silent on many."""
    if name == "JPEG":
        last_scan = content.rfind(b"\xff\xda")
        if last_scan != content.find(b"\xff\xda"):
            scans = content.count(b"\xff\xda")
            if scans > _MOST_SCANS:
                raise PhotoError("TOO_SLOW", f"expected at most {_MOST_SCANS} scans, got {scans}")
        whole = content.rfind(b"\xff\xd9") > last_scan
    elif name == "PNG":
        whole = b"IEND" in content[-64:] or b"IEND\xaeB`\x82" in content
    elif name == "WEBP":
        whole = int.from_bytes(content[4:8], "little") + 8 <= len(content) + 1
    else:
        return
    if not whole:
        raise PhotoError("TRUNCATED", f"expected the end marker of {name}, found none")


def _pillow_header(name: str, image: Image.Image, content: bytes) -> Header:
    orientation = image.getexif().get(_ORIENTATION, 1)
    orientation = orientation if orientation in range(1, 9) else 1
    width, height = image.size
    if orientation in _SWAPS_SIDES:
        width, height = height, width
    mode = image.mode
    if name == "PNG" and content[24] == 16:
        mode = {0: "I;16", 2: "RGB;16", 4: "LA;16", 6: "RGBA;16"}[content[25]]
    if mode not in ("1", "L", "LA", "P", "PA", "RGB", "RGBA") and not mode.endswith(";16"):
        raise PhotoError("UNSUPPORTED_MODE", f"expected gray or RGB, got {mode}")
    return Header(format=name, width=width, height=height, mode=mode, orientation=orientation)


def _tiff_header(page: tiff.Page) -> Header:
    height, width = page.shape
    if page.orientation in _SWAPS_SIDES:
        height, width = width, height
    return Header(
        format="TIFF", width=width, height=height, mode=page.mode, orientation=page.orientation
    )


def _decode_pillow(
    header: Header, content: bytes
) -> tuple[Pixels, Pixels | None, bytes, tuple[float, float] | None]:
    with Image.open(io.BytesIO(content), formats=PILLOW_FORMATS) as image:
        if header.format == "PNG":
            image.verify()  # checks the CRCs, which load() does not
    with Image.open(io.BytesIO(content), formats=PILLOW_FORMATS) as image:
        exif = image.getexif()
        if exif:
            exif[_ORIENTATION] = 1
        dpi = image.info.get("dpi")
        if header.mode.endswith(";16"):
            pixels, alpha = _split_alpha(imagecodecs.png_decode(content))
        else:
            pixels, alpha = _split_alpha(np.asarray(image.convert(_plain_mode(image))))
        return pixels, alpha, exif.tobytes() if exif else b"", dpi


def _plain_mode(image: Image.Image) -> str:
    if image.mode in ("P", "PA"):
        return "RGBA" if "transparency" in image.info or image.mode == "PA" else "RGB"
    return "L" if image.mode == "1" else image.mode


def _split_alpha(pixels: Any) -> tuple[Pixels, Pixels | None]:
    """Separate the alpha channel of LA and RGBA arrays."""
    if pixels.ndim == 3 and pixels.shape[2] in (2, 4):
        colour = pixels[..., 0] if pixels.shape[2] == 2 else pixels[..., :3]
        return np.ascontiguousarray(colour), np.ascontiguousarray(pixels[..., -1])
    return pixels, None


def upright(pixels: Any, orientation: int) -> Any:
    """Apply an EXIF orientation (CIPA DC-008, tag 0x0112) to an array of (H, W, …)."""
    if orientation in _SWAPS_SIDES:
        pixels = np.swapaxes(pixels, 0, 1)
    if orientation in (2, 3, 7, 6):
        pixels = pixels[:, ::-1]
    if orientation in (3, 4, 7, 8):
        pixels = pixels[::-1]
    return np.ascontiguousarray(pixels)
