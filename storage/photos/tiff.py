"""TIFF through tifffile: Pillow and OpenCV return the negative of MinIsWhite (facts/formats.md)."""

from __future__ import annotations

import io
import logging
from functools import partial
from typing import Any

import numpy as np
import tifffile
from numpy.typing import NDArray
from PIL import Image

from storage.containers.tiff_directories import TiffReader
from storage.errors import PhotoError
from storage.photos.codec import Codec, Header, Page, Samples, shown
from storage.photos.ranges import by_declared

_MIN_IS_WHITE, _MIN_IS_BLACK, _RGB, _PALETTE, _MASK, _CMYK, _YCBCR, _CIELAB, _ICCLAB = (
    0,
    1,
    2,
    3,
    4,
    5,
    6,
    8,
    9,
)
_COLOURS = {
    _MIN_IS_WHITE: 1,
    _MIN_IS_BLACK: 1,
    _RGB: 3,
    _PALETTE: 1,
    _MASK: 1,
    _CMYK: 4,
    _YCBCR: 3,
    _CIELAB: 3,
    _ICCLAB: 3,
}
"""PhotometricInterpretation that is read, and its samples a pixel beside alpha."""
_MODES = {_RGB: "RGB", _PALETTE: "P", _CMYK: "CMYK", _YCBCR: "RGB", _CIELAB: "LAB", _ICCLAB: "LAB"}
_JPEG_COMPRESSIONS = {6, 7, 34892, 33007}
_OLD_JPEG = 6
_REDUCED_IMAGE, _TRANSPARENCY_MASK = 1, 4
"""Bits of NewSubfileType; SilverFast's infrared pages have the second too."""
_PIXEL_TAGS = frozenset(
    (258, 273, 279, 280, 281, 320, 324, 325, 338, 339, 340, 341, 347, 513, 519, 520, 521)
)
"""Without which a page's pixels are not what they were; the others say something beside them."""
_UNSPECIFIED, _ASSOCIATED = 0, 1
"""TIFF 6.0, ExtraSamples."""


class Tiff(Codec):
    """TIFF and BigTIFF, all pages. `storage.photos.encoding` writes it strip by strip."""

    writes_metadata = True
    writes_pages = True

    def pages(self, content: bytes) -> list[Page]:
        """The full-size pages in their order; thumbnails are left out.

        Of a file that is cut those that are whole, and the header's `cut` says what is missing.
        Raises PhotoError: TRUNCATED where none is, UNSUPPORTED_MODE, RANGE, DAMAGED, TOO_LARGE.
        """
        logging.getLogger("tifffile").setLevel(logging.CRITICAL)  # it logs each odd tag
        num_whole, cut = _whole_directories(content)
        found, thumbnails = dict[int, Any](), list[int]()
        directories: Any = tifffile.TiffFile(io.BytesIO(content)).pages if num_whole else ()
        for i in range(num_whole):
            page = directories[i]
            if not (page.imagewidth and page.imagelength):
                continue  # no picture at all, but a C2PA manifest
            if _kind(page) & _REDUCED_IMAGE:
                thumbnails.append(i + 1)
            elif _leaves_file(page, len(content)):
                cut = cut or f"page {i + 1} has strips that lie past the end of the file"
            else:
                _check_readable(page)
                found[i] = page
        if not found:
            code, problem = ("TRUNCATED", cut) if cut else ("DAMAGED", "got none")
            raise PhotoError(code, f"expected a page of full size, {problem}")
        shared = {
            "num_pages": len(found),
            "largest_page": max(page.imagelength * page.imagewidth for page in found.values()),
            "thumbnails": tuple(thumbnails),
            "byteorder": ">" if len(found) > 1 and content.startswith(b"MM") else "<",
            "cut": cut,
        }
        return [
            Page(header=self._header(page, page=i, **shared), pixels=partial(_pixels, page, i))
            for i, page in found.items()
        ]

    def _header(self, directory: Any, **facts: Any) -> Header:
        return shown(
            self.name,
            width=directory.imagewidth,
            height=directory.imagelength,
            orientation=directory.tags.valueof(274, default=1),
            mode=_mode(directory),
            bits=_bits(directory),
            mask=bool(_kind(directory) & _TRANSPARENCY_MASK),
            **facts,
        )


def _pixels(page: Any, index: int) -> Samples:
    """Decode one page. index: among all pages of the file."""
    if int(page.compression) == _OLD_JPEG:
        return Samples(colours=_by_libtiff(page, index))
    samples, ranged, note = page.asarray(), True, ""
    if page.axes.startswith("S") and samples.ndim == 3:  # planes stored one after the other
        samples = np.moveaxis(samples, 0, -1)
    if samples.dtype.kind == "f" or _bits(page) > 16 or samples.dtype.kind == "i":
        colours, alpha = _split(_scaled_from_range(samples, page), page)
    elif page.photometric in (_PALETTE, _CIELAB, _ICCLAB):
        colours, alpha = _split(samples, page)
    else:
        colours, alpha = _split(samples, page)
        colours, ranged, note = _scaled(colours, page)
        alpha = None if alpha is None else _scaled_from_bits(alpha, _bits(page))
    kind = int(page.extrasamples[0]) if page.extrasamples else _UNSPECIFIED
    if kind == _UNSPECIFIED:
        alpha = None  # it may be anything: taken for alpha, it would hide the photo
    return Samples(
        colours=_plain(colours, page),
        alpha=alpha,
        associated=kind == _ASSOCIATED,
        ranged=ranged,
        inverted=page.photometric == _MIN_IS_WHITE,
        note=note,
    )


def _by_libtiff(page: Any, index: int) -> Any:
    """Pixels of the JPEG of TIFF 6.0, section 22, which tifffile does not decode."""
    file: Any = page.parent.filehandle
    file.seek(0)
    with Image.open(io.BytesIO(file.read()), formats=("TIFF",)) as image:
        image.seek(index)
        return np.asarray(image if image.mode in ("L", "CMYK") else image.convert("RGB"))


def _whole_directories(content: bytes) -> tuple[int, str]:
    """How many directories are whole, and what is wrong with the next one; empty where none follows.

    Raises PhotoError for what cannot come of a cut: a loop, which tifffile goes round for ever.
    """
    num_whole, reader = 0, TiffReader(io.BytesIO(content))
    try:
        for offset in reader.pages():
            reader.check_whole(offset, _PIXEL_TAGS)
            num_whole += 1
    except PhotoError as error:
        if error.code != "TRUNCATED":
            raise
        return num_whole, f"the directory of page {num_whole + 1} is cut: {error.detail}"
    return num_whole, ""


def _leaves_file(page: Any, num_bytes: int) -> bool:
    """num_bytes: of the file."""
    spans = zip(page.dataoffsets, page.databytecounts, strict=True)
    return any(offset + count > num_bytes for offset, count in spans)


def _check_readable(page: Any) -> None:
    colours = _COLOURS.get(page.photometric)
    spare = page.samplesperpixel - (colours or 0)
    kind = page.dtype.kind if page.dtype is not None else "?"
    raw_ycbcr = page.photometric == _YCBCR and int(page.compression) not in _JPEG_COMPRESSIONS
    if (
        colours is None
        or kind not in "buif"
        or raw_ycbcr
        or not 0 <= spare <= 1
        or page.is_volumetric
    ):
        raise PhotoError(
            "UNSUPPORTED_MODE",
            "expected gray, RGB, palette, CMYK, JPEG's YCbCr or Lab with at most one alpha, got "
            f"{page.photometric!s} {page.dtype} with {spare} extra samples",
        )
    if (kind in "if" or page.dtype.itemsize > 2) and _declared_range(page) is None:
        raise PhotoError(
            "RANGE",
            f"expected SMinSampleValue and SMaxSampleValue to say which {page.dtype} are black and "
            "white, got neither",
        )


def _declared_range(page: Any) -> tuple[float, float] | None:
    """SMinSampleValue and SMaxSampleValue (TIFF 6.0, section 19), the same for all samples."""
    low, high = (np.atleast_1d(page.tags.valueof(tag, default=np.nan)) for tag in (340, 341))
    try:
        black, white = float(low.min()), float(high.max())
    except (TypeError, ValueError):
        return None
    return (black, white) if np.isfinite([black, white]).all() and black < white else None


def _scaled(colours: NDArray[Any], page: Any) -> tuple[Any, bool, str]:
    """Unsigned samples of 1..16 bits as whole uint8 or uint16, whether by a declared range, a note."""
    bits = _bits(page)
    declared = _declared_of_integers(page) if bits >= 8 and page.photometric != _YCBCR else None
    scaled = by_declared(colours, bits, declared) if declared else None
    if declared is None or scaled is not None:
        found = _scaled_from_bits(colours, bits) if scaled is None else scaled
        return found, scaled is not None, ""
    note = f"range: 0..{declared[1]:g} is declared, but many samples lie above: read by their bits"
    return _scaled_from_bits(colours, bits), False, note


def _declared_of_integers(page: Any) -> tuple[float, float] | None:
    """Which samples are black and white; None for the whole range, or where nothing sensible is said.

    MinSampleValue and MaxSampleValue (TIFF 6.0, section 8) are statistics, and count only where white
    lies in the lower half: no scan that uses its bits is that dark.
    """
    top, num_colours = float((1 << _bits(page)) - 1), _COLOURS[page.photometric]
    for low, high, most in ((340, 341, top), (280, 281, top / 2)):
        black, white = (_extremes(page, tag, num_colours) for tag in (low, high))
        if white is not None:
            black = (0, 0) if black is None else black
            found = black[0], white[1]
            return found if 0 <= found[0] < found[1] <= most and found != (0, top) else None
    return None


def _extremes(page: Any, tag: int, num_colours: int) -> tuple[float, float] | None:
    """The least and the largest value of a tag among the colours; None where they are no numbers."""
    value = page.tags.valueof(tag, default=None)  # tifffile gives bytes for those of type BYTE
    values = np.atleast_1d(list(value) if isinstance(value, bytes) else value)
    try:
        numbers = [float(number) for number in values[:num_colours]]
    except (TypeError, ValueError):
        return None
    return (min(numbers), max(numbers)) if numbers and np.isfinite(numbers).all() else None


def _scaled_from_range(samples: NDArray[Any], page: Any) -> NDArray[np.uint16]:
    declared = _declared_range(page)
    if declared is None:  # the page was found with one: the tags do not say the same twice
        raise PhotoError("RANGE", "expected samples that say which are black and white")
    black, white = declared
    shares = (samples.astype(np.float64) - black) / (white - black)
    if not np.isfinite(shares).all():
        raise PhotoError("RANGE", "expected finite samples, got NaN or infinity")
    return np.rint(np.clip(shares, 0, 1) * 65535).astype(np.uint16)


def _scaled_from_bits(samples: NDArray[Any], bits: int) -> Any:
    """Unsigned samples of 1..16 bits as whole uint8 or uint16."""
    if samples.dtype == np.bool_:
        return samples.astype(np.uint8) * 255
    if bits in (8, 16):
        return samples
    dtype: Any = np.uint8 if bits < 8 else np.uint16
    top = (1 << bits) - 1
    table = np.rint(np.arange(top + 1) * (np.iinfo(dtype).max / top)).astype(dtype)
    return table[np.minimum(samples, top)]


def _split(samples: NDArray[Any], page: Any) -> tuple[Any, Any]:
    """Colours and alpha."""
    num_colours = _COLOURS[page.photometric]
    if samples.ndim == 2:
        return samples, None
    alpha = samples[..., num_colours] if samples.shape[2] > num_colours else None
    return (samples[..., 0] if num_colours == 1 else samples[..., :num_colours]), alpha


def _plain(colours: Any, page: Any) -> Any:
    """Gray, RGB or CMYK of what the page stores."""
    if page.photometric == _MIN_IS_WHITE:
        return np.iinfo(colours.dtype).max - colours
    if page.photometric == _PALETTE:
        if page.colormap is None:
            raise PhotoError("DAMAGED", "expected a colour map beside palette samples, got none")
        return _through_palette(colours, page.colormap)
    if page.photometric in (_CIELAB, _ICCLAB):
        return _lab_to_srgb(colours, signed=page.photometric == _CIELAB)
    return colours


def _through_palette(indices: NDArray[Any], palette: NDArray[np.uint16]) -> Any:
    table = palette.T
    if table.max() < 256:  # some writers put 8-bit values where 16 bits belong
        table = table * np.uint16(257)
    eight_bit = not (table % 257).any()  # ColorMap holds 16 bits; of an 8-bit palette both bytes
    table = (table // 257).astype(np.uint8) if eight_bit else table
    rgb = table[np.minimum(indices.astype(np.intp), len(table) - 1)]
    gray = (table == table[:, :1]).all()
    return np.ascontiguousarray(rgb[..., 0] if gray else rgb)


def _lab_to_srgb(stored: NDArray[Any], *, signed: bool) -> NDArray[np.uint16]:
    """CIELab or ICCLab (TIFF Technical Note 4) of 8 or 16 bits to 16-bit sRGB."""
    from skimage.color import lab2rgb

    scale = np.iinfo(stored.dtype).max
    half, unit = (scale + 1) // 2, (scale + 1) // 256
    ab = stored[..., 1:].astype(np.int32)
    ab = np.where(ab >= half, ab - (scale + 1), ab) if signed else ab - half
    lab = np.dstack([stored[..., :1] * (100 / scale), ab / unit])
    rgb: NDArray[np.uint16] = np.rint(lab2rgb(lab) * 65535).astype(np.uint16)
    return rgb


def _kind(page: Any) -> int:
    """NewSubfileType."""
    return int(page.tags.valueof(254, default=0))


def _bits(page: Any) -> int:
    """Of a sample, of the deepest; 32 and 64 for float too."""
    bits = page.bitspersample
    return bits if isinstance(bits, int) else max(bits)


def _mode(page: Any) -> str:
    bits = _bits(page)
    if page.photometric in (_MIN_IS_WHITE, _MIN_IS_BLACK, _MASK) and bits == 1:
        return "1"
    name = _MODES.get(page.photometric, "L") + (
        "A" if page.samplesperpixel > _COLOURS[page.photometric] else ""
    )
    return f"{name};16" if bits > 8 else name
