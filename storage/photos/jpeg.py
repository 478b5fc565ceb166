"""JPEG: pixels from a decoder that reports damage, and the quality of the original."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import simplejpeg
from numpy.typing import NDArray

from storage.containers.segments import APP14, jpeg_ends, jpeg_segments
from storage.errors import PhotoError
from storage.photos.by_pillow import Pillow
from storage.photos.codec import Header, Like, Samples

_LEAST_QUALITY = 95
_SPACES = {"L": "GRAY", "RGB": "RGB"}
"""Modes that simplejpeg decodes, and its words for them."""
_SCAN = b"\xff\xda"

_HARMLESS = (
    "extraneous bytes before marker",
    "bad ICC marker",
    "Could not determine subsampling",
)
"""What simplejpeg refuses though the picture is whole: warnings of libjpeg-turbo, and samplings
that its TurboJPEG interface does not know. Pillow decodes these."""
_FLAT = 4
_OTHER_POLARITY = (
    "CMYK without Adobe's marker showed one flat colour: read in the other polarity, 0 as no ink"
)
_MOST_SCANS = 256
"""A progressive JPEG has about ten; one with 10,000 kept a decoder busy for over 30 s."""
_LUMA = (
    (16, 11, 10, 16, 24, 40, 51, 61),
    (12, 12, 14, 19, 26, 58, 60, 55),
    (14, 13, 16, 24, 40, 57, 69, 56),
    (14, 17, 22, 29, 51, 87, 80, 62),
    (18, 22, 37, 56, 68, 109, 103, 77),
    (24, 35, 55, 64, 81, 104, 113, 92),
    (49, 64, 78, 87, 103, 121, 120, 101),
    (72, 92, 95, 98, 112, 100, 103, 99),
)
"""ISO/IEC 10918-1, table K.1."""


class Jpeg(Pillow):
    """JPEG."""

    moves = False
    most_side = 65_535
    writes_deep = False
    writes_alpha = False
    writes_metadata = True

    def check_whole(self, content: bytes) -> None:
        """As of any, and raise PhotoError TOO_SLOW with more scans than any encoder's."""
        if content.rfind(_SCAN) != content.find(_SCAN):
            scans = content.count(_SCAN)
            if scans > _MOST_SCANS:
                raise PhotoError("TOO_SLOW", f"expected at most {_MOST_SCANS} scans, got {scans}")
        super().check_whole(content)

    def has_end(self, content: bytes) -> bool:
        return jpeg_ends(content)

    def pixels(self, content: bytes, header: Header) -> NDArray[np.uint8]:
        """As of any. Raises ValueError where libjpeg-turbo warns of damage; Pillow is silent there."""
        return self._decoded(content, header.mode, {})

    def reduced(self, content: bytes, header: Header, short_side: int) -> Any:
        """Reduced by eighths, gray and RGB. Raises as `pixels`."""
        if header.mode not in _SPACES:
            return None
        least = {"min_height": short_side, "min_width": short_side, "min_factor": 1}
        return self._decoded(content, header.mode, least)

    def _decoded(self, content: bytes, mode: str, reduced: dict[str, int]) -> NDArray[np.uint8]:
        if mode in _SPACES:
            try:
                pixels = np.asarray(simplejpeg.decode_jpeg(content, _SPACES[mode], **reduced))
                return pixels[..., 0] if mode == "L" else pixels
            except ValueError as error:
                if not any(harmless in str(error) for harmless in _HARMLESS):
                    raise
        with self.open(content) as image:
            return np.asarray(image)

    def _samples(self, content: bytes, header: Header) -> Samples:
        found = super()._samples(content, header)
        if header.mode != "CMYK" or _says_polarity(content) or not _is_flat(found.colours):
            return found
        other = 255 - found.colours
        if _is_flat(other):
            return found
        return replace(found, colours=other, note=_OTHER_POLARITY)

    def quality(self, content: bytes) -> int:
        """The quality that it was saved with, 1..100, by its luminance table.

        The lowest quality of the scale of the Independent JPEG Group whose table quantizes no
        coefficient more coarsely than the file's does.
        """
        with self.open(content) as image:
            tables: dict[int, Any] = getattr(image, "quantization", {})
        if not tables:
            return 75
        own = np.sort(np.asarray(tables[min(tables)], np.int64))
        fitting = (quality for quality in range(1, 101) if (_scaled(quality) <= own).all())
        return next(fitting, 100)

    def lossless(self, content: bytes) -> bool:
        return False

    def keeps_values(self, lossless: bool) -> bool:
        return False

    def encode(self, rgb: Any, like: Like) -> bytes:
        encoded = simplejpeg.encode_jpeg(
            np.ascontiguousarray(rgb),
            quality=max(_LEAST_QUALITY, like.quality),
            colorspace="RGB",
            colorsubsampling="444",
        )
        return bytes(encoded)


def _says_polarity(content: bytes) -> bool:
    """Whether Adobe's marker is there, after which 255 is no ink."""
    return any(
        piece.name == APP14 and content[piece.data].startswith(b"Adobe")
        for piece in jpeg_segments(content)
    )


def _is_flat(cmyk: NDArray[np.uint8]) -> bool:
    """Whether a picture shows one colour only, where 255 is all ink."""
    light = (255 - cmyk[..., :3].astype(np.uint16)) * (255 - cmyk[..., 3:].astype(np.uint16)) // 255
    return int(np.ptp(light)) <= _FLAT


def _scaled(quality: int) -> NDArray[np.int64]:
    """The luminance table of a quality, sorted: orders of storage differ among readers."""
    scale = 5000 // quality if quality < 50 else 200 - 2 * quality
    table = (np.asarray(_LUMA, np.int64).ravel() * scale + 50) // 100
    return np.sort(np.clip(table, 1, 255))
