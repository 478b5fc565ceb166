"""TIFF through tifffile: Pillow and OpenCV return the negative of MinIsWhite (facts/formats.md)."""

from __future__ import annotations

import io
import logging
import struct
from dataclasses import dataclass
from typing import Any

import numpy as np
import tifffile
from numpy.typing import NDArray

from storage.errors import PhotoError

_MIN_IS_WHITE, _MIN_IS_BLACK, _RGB = 0, 1, 2
_REDUCED_IMAGE = 1
_DTYPES = {np.dtype("bool"): 1, np.dtype("uint8"): 8, np.dtype("uint16"): 16}
"""What a page may decode to, and the bits a sample that it then must have."""
_MOST_PAGES = 10_000
_UNITS = {2: 1.0, 3: 2.54}
"""ResolutionUnit to factor that makes dots an inch: inch, centimetre."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Page:
    """The one full-size page of a TIFF."""

    page: Any
    """tifffile.TiffPage, its file kept open in memory."""
    shape: tuple[int, int]
    """Height and width as stored."""
    mode: str
    orientation: int
    dpi: tuple[float, float] | None


def read_page(content: bytes) -> Page:
    """Find the page. Raises PhotoError: TRUNCATED, MULTI_PAGE, UNSUPPORTED_MODE, DAMAGED."""
    logging.getLogger("tifffile").setLevel(logging.CRITICAL)  # it logs each odd tag of a bad file
    _check_directories(content)
    pages = [page for page in tifffile.TiffFile(io.BytesIO(content)).pages if _full_size(page)]
    if len(pages) != 1:
        raise PhotoError("MULTI_PAGE", f"expected one page, got {len(pages)}")
    page: Any = pages[0]
    spans = zip(page.dataoffsets, page.databytecounts, strict=True)
    if any(offset + count > len(content) for offset, count in spans):
        raise PhotoError("TRUNCATED", "expected all strips inside the file; some lie past its end")
    readable = page.photometric in (_MIN_IS_WHITE, _MIN_IS_BLACK, _RGB) and (
        page.dtype in _DTYPES and page.bitspersample == _DTYPES[page.dtype]
    )
    if not readable:
        raise PhotoError(
            "UNSUPPORTED_MODE",
            f"expected gray or RGB of 1, 8 or 16 bits, got {page.photometric!s} {page.dtype} "
            f"of {page.bitspersample} bits",
        )
    orientation = page.tags.valueof(274, default=1)
    return Page(
        page=page,
        shape=(page.imagelength, page.imagewidth),
        mode=_mode(page),
        orientation=orientation if orientation in range(1, 9) else 1,
        dpi=_dpi(page),
    )


def read_pixels(page: Page) -> tuple[Any, Any]:
    """Decode. Returns pixels (H, W) or (H, W, 3) and alpha (H, W) or None, uint8 or uint16."""
    pixels = page.page.asarray()
    if page.page.axes.startswith("S") and pixels.ndim == 3:  # planes stored one after the other
        pixels = np.moveaxis(pixels, 0, -1)
    if pixels.dtype == np.bool_:
        pixels = pixels.astype(np.uint8) * 255
    num_colours = 3 if page.page.photometric == _RGB else 1
    alpha = None
    if pixels.ndim == 3:
        alpha = pixels[..., num_colours] if pixels.shape[2] > num_colours else None
        pixels = pixels[..., 0] if num_colours == 1 else pixels[..., :3]
    if page.page.photometric == _MIN_IS_WHITE:
        pixels = np.iinfo(pixels.dtype).max - pixels
    return pixels, alpha


def write(pixels: NDArray[Any], *, dpi: tuple[float, float] | None, profile: bytes) -> bytes:
    """Encode RGB or RGBA, uint8 or uint16, losslessly. Returns the file's bytes."""
    buffer = io.BytesIO()
    tifffile.imwrite(
        buffer,
        pixels,
        photometric="rgb",
        compression="zlib",
        predictor=True,
        extrasamples=["unassalpha"] if pixels.shape[2] == 4 else None,
        resolution=dpi,
        resolutionunit="INCH" if dpi else None,
        iccprofile=profile,
        metadata=None,
        software="Chromaflow",
    )
    return buffer.getvalue()


def _full_size(page: Any) -> bool:
    return not int(page.tags.valueof(254, default=0)) & _REDUCED_IMAGE


def _mode(page: Any) -> str:
    name = "RGB" if page.photometric == _RGB else "L"
    return {"bool": "1", "uint8": name, "uint16": f"{name};16"}[page.dtype.name]


def _dpi(page: Any) -> tuple[float, float] | None:
    factor = _UNITS.get(page.tags.valueof(296, default=2))
    values = [page.tags.valueof(tag) for tag in (282, 283)]
    if factor is None or any(not value or not value[1] or not value[0] for value in values):
        return None
    x, y = (factor * value[0] / value[1] for value in values)
    return x, y


def _check_directories(content: bytes) -> None:
    """Follow the chain of directories (TIFF 6.0, section 2): tifffile goes round a loop for ever."""
    order = "<" if content[:2] == b"II" else ">"
    big = content[2:4] in (b"+\x00", b"\x00+")
    pointer, count_form, entry_bytes = ("Q", "Q", 20) if big else ("I", "H", 12)
    place, seen = (8 if big else 4), set[int]()
    try:
        while True:
            (directory,) = struct.unpack_from(order + pointer, content, place)
            if directory == 0:
                return
            if directory in seen or len(seen) >= _MOST_PAGES:
                raise PhotoError("DAMAGED", "expected a chain of pages with an end, got a loop")
            seen.add(directory)
            (count,) = struct.unpack_from(order + count_form, content, directory)
            place = directory + struct.calcsize(count_form) + count * entry_bytes
    except struct.error:
        return  # it ends past the file: tifffile says what is wrong with it
