"""The codec of each format: one object that reads and, where it can, writes it."""

from __future__ import annotations

from storage.photos.by_pillow import Avif, Bmp, Gif, Heif, Jpeg2000, Png, Pnm, WebP
from storage.photos.codec import Codec
from storage.photos.jpeg import Jpeg
from storage.photos.jpeg_kinds import RareJpeg
from storage.photos.jpegxl import JpegXl
from storage.photos.raw import Raw
from storage.photos.tiff import Tiff

_KINDS: dict[str, type[Codec]] = {
    "JPEG": Jpeg,
    "PNG": Png,
    "TIFF": Tiff,
    "WEBP": WebP,
    "BMP": Bmp,
    "GIF": Gif,
    "PPM": Pnm,
    "JPEG2000": Jpeg2000,
    "JXL": JpegXl,
    "AVIF": Avif,
    "HEIF": Heif,
    "JPEGLS": RareJpeg,
    "LJPEG": RareJpeg,
    "JPEG12": RareJpeg,
    "DNG": Raw,
    "RAW": Raw,
}
CODECS = {name: kind(name) for name, kind in _KINDS.items()}
"""By the keys of `storage.formats.FORMATS`."""
