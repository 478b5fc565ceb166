"""Pixels to bytes: colour encoded as the original was, with its metadata and an sRGB profile."""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from itertools import chain
from typing import Any, BinaryIO

import imagecodecs
import numpy as np
import tifffile
from numpy.typing import NDArray
from PIL import ImageCms

from storage.containers.tiff_copying import TiffPage
from storage.errors import PhotoError
from storage.formats import FORMATS
from storage.metadata.embedding import EMBEDDED, embed, embed_tiff
from storage.metadata.extraction import Metadata
from storage.photos.codec import Header, Like
from storage.photos.codecs import CODECS
from storage.photos.photo import Photo
from storage.photos.profiles import Pixels

_CLASSIC_TIFF = 3_900_000_000
"""Bytes above which a TIFF is written as BigTIFF: its pointers have 32 bits."""
_PROFILE_DATE = struct.pack(">6H", 2026, 1, 1, 0, 0, 0)
"""Of ICC.1:2022, 7.2.8: the same bytes whenever a photo is encoded."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ColoredPage:
    """One page to write."""

    photo: Photo
    """The original, for what its encoding was."""
    strips: Iterable[Pixels]
    """Its colours from top to bottom, (rows, W, 3) of one dtype; all of equal height but the last."""
    shape: tuple[int, int]
    """Height and width of all strips together: a label may have added rows."""
    metadata: Metadata


def output_format(header: Header, wanted: str = "") -> str:
    """The format that a photo's colour is written in. wanted: of OUTPUT_FORMATS, or empty."""
    if wanted:
        return wanted.upper()
    own = FORMATS[header.format].output
    return "PNG" if header.mode == "RGBA" and not CODECS[own].writes_alpha else own


def output_dtype(photo: Photo, format_name: str) -> type[np.uint8] | type[np.uint16]:
    """The depth of the output: the original's, unless the format has 8 bits only."""
    return photo.dtype if CODECS[format_name].writes_deep else np.uint8


def is_lossless(photo: Photo, format_name: str) -> bool:
    """Whether the output keeps every code value."""
    return CODECS[format_name].keeps_values(photo.lossless)


def holds_metadata(format_name: str) -> bool:
    """Whether the output carries EXIF and XMP itself; the others get a sidecar."""
    return CODECS[format_name].writes_metadata


def check_encodable(photo: Photo, format_name: str) -> None:
    """Raise PhotoError where the output format cannot hold what the original has."""
    header, codec = photo.header, CODECS[format_name]
    most = codec.most_side
    if most is not None and max(header.width, header.height) > most:
        raise PhotoError(
            "TOO_LARGE",
            f"expected sides of at most {most} pixels for {format_name}, "
            f"got {header.width}×{header.height}",
        )
    if header.num_pages > 1 and not codec.writes_pages:
        raise PhotoError(
            "MULTI_PAGE", f"expected one page for {format_name}, got {header.num_pages}"
        )
    if photo.alpha is not None and not codec.writes_alpha:
        raise PhotoError("UNSUPPORTED_MODE", f"expected no alpha for {format_name}, got one")


def encode(file: BinaryIO, pages: Iterable[ColoredPage | TiffPage], format_name: str) -> None:
    """Write pages to a file that is open for reading and writing.

    A TIFF is written strip by strip, and gets copies of pages that are not coloured; other formats
    hold one page, which is put together first. Raises PhotoError as `copy_page` does.
    """
    codec = CODECS[format_name]
    if codec.writes_pages:
        _write_tiff(file, pages)
        return
    (page,) = pages
    assert isinstance(page, ColoredPage)
    rgb = _with_alpha(_straight(np.concatenate(list(page.strips)), page), page)
    photo, dpi = page.photo, page.metadata.dpi
    encoded = codec.encode(rgb, Like(quality=photo.quality, lossless=photo.lossless, dpi=dpi))
    if format_name in EMBEDDED:
        encoded = embed(format_name, encoded, page.metadata, profile=srgb_profile())
    file.write(encoded)


@cache
def srgb_profile() -> bytes:
    """An ICC profile of sRGB, made by LittleCMS, without the time at which it was made."""
    made = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    return made[:24] + _PROFILE_DATE + made[36:84] + bytes(16) + made[100:]


def _straight(rgb: Any, page: ColoredPage) -> Any:
    """Take out the alpha that a TIFF has multiplied in: other formats hold it beside the colours."""
    alpha = page.photo.alpha
    if alpha is None or not page.photo.associated:
        return rgb
    opacity = np.maximum(alpha, 1)[: len(rgb), :, None] / np.iinfo(alpha.dtype).max
    straight = rgb.copy()
    straight[: len(opacity)] = np.clip(
        np.rint(rgb[: len(opacity)] / opacity), 0, np.iinfo(rgb.dtype).max
    )
    return straight


def _with_alpha(rgb: Any, page: ColoredPage, top: int = 0) -> Any:
    """Add the alpha of the rows from `top` on; rows that a label added are opaque."""
    alpha = page.photo.alpha
    if alpha is None:
        return rgb
    opaque = np.iinfo(rgb.dtype).max
    column = np.full(rgb.shape[:2], opaque, rgb.dtype)
    rows = alpha[top : top + len(rgb)]
    column[: len(rows)] = rows if rows.dtype == rgb.dtype else _other_depth(rows, rgb.dtype)
    return np.dstack([rgb, column])


def _other_depth(alpha: NDArray[Any], dtype: Any) -> NDArray[Any]:
    share = np.iinfo(dtype).max / np.iinfo(alpha.dtype).max
    return np.rint(alpha * share).astype(dtype)


def _write_tiff(file: BinaryIO, pages: Iterable[ColoredPage | TiffPage]) -> None:
    written: list[Metadata | TiffPage] = []
    writer: tifffile.TiffWriter | None = None
    for page in pages:
        if isinstance(page, TiffPage):
            written.append(page)
            continue
        if writer is None:
            writer = tifffile.TiffWriter(
                file,
                bigtiff=_num_bytes(page) > _CLASSIC_TIFF,
                byteorder=page.photo.header.byteorder,
            )
        _write_tiff_page(writer, page)
        written.append(page.metadata)
    if writer is None:
        raise PhotoError("DAMAGED", "expected a page, got none")
    writer.close()
    embed_tiff(file, written)


def _num_bytes(page: ColoredPage) -> int:
    """Of the whole file before compression, taking all pages to be as large as the largest one."""
    height, width = page.shape
    header, itemsize = page.photo.header, np.dtype(page.photo.dtype).itemsize
    return header.num_pages * max(height * width, header.largest_page) * 4 * itemsize


def _write_tiff_page(writer: tifffile.TiffWriter, page: ColoredPage) -> None:
    strips = iter(page.strips)
    first = next(strips)
    has_alpha = page.photo.alpha is not None
    kind = "assocalpha" if page.photo.associated else "unassalpha"
    dpi = page.metadata.dpi
    writer.write(
        _tiff_strips(first, strips, page),
        shape=(*page.shape, 4 if has_alpha else 3),
        dtype=first.dtype,
        photometric="rgb",
        compression="zlib",
        predictor=True,
        rowsperstrip=len(first),
        extrasamples=[kind] if has_alpha else None,
        resolution=dpi,
        resolutionunit="INCH" if dpi else None,
        iccprofile=srgb_profile(),
        metadata=None,
        software="Chromaflow",
        maxworkers=1,
    )


def _tiff_strips(first: Pixels, others: Iterator[Pixels], page: ColoredPage) -> Iterator[bytes]:
    """Deflated strips with horizontal differencing (TIFF 6.0, section 14)."""
    top = 0
    for strip in chain([first], others):
        samples = np.ascontiguousarray(_with_alpha(strip, page, top))
        top += len(strip)
        differences: Any = np.ascontiguousarray(imagecodecs.delta_encode(samples, axis=-2))
        stored = differences.dtype.newbyteorder(page.photo.header.byteorder)
        packed = differences.astype(stored, copy=False).view(np.uint8)
        yield bytes(imagecodecs.deflate_encode(packed, level=6))
