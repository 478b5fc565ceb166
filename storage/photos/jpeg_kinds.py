"""JPEG that Pillow does not read: lossless JPEG, JPEG of 12 bits and JPEG-LS, through imagecodecs."""

from __future__ import annotations

from typing import Any

import imagecodecs
import numpy as np
from numpy.typing import NDArray

from storage.containers.segments import APP1, EXIF_START, jpeg_ends, jpeg_frame, jpeg_segments
from storage.errors import PhotoError
from storage.photos.by_pillow import orientation_of
from storage.photos.codec import Header, OnePicture, at_full_range, shown

_MODES = {1: "L", 3: "RGB"}


class RareJpeg(OnePicture):
    """One of these; written as PNG, which keeps their depth."""

    def has_end(self, content: bytes) -> bool:
        return jpeg_ends(content)

    def lossless(self, content: bytes) -> bool:
        return self.name != "JPEG12"

    def header(self, content: bytes) -> Header:
        """By the frame; a JPEG-LS with a tolerance is read like one without."""
        frame = jpeg_frame(content)
        if frame is None or frame.channels not in _MODES or not 2 <= frame.bits <= 16:
            got = f"{frame.channels} of {frame.bits}" if frame else "none"
            raise PhotoError(
                "UNSUPPORTED_MODE", f"expected 1 or 3 components of 2 to 16 bits, got {got}"
            )
        return shown(
            self.name,
            width=frame.width,
            height=frame.height,
            orientation=orientation_of(_exif(content)),
            mode=_MODES[frame.channels] + (";16" if frame.bits > 8 else ""),
            bits=frame.bits,
        )

    def pixels(self, content: bytes, header: Header) -> NDArray[Any]:
        decode: Any = (
            imagecodecs.jpegls_decode if self.name == "JPEGLS" else imagecodecs.jpeg_decode
        )
        return at_full_range(np.asarray(decode(content)), (1 << header.bits) - 1)


def _exif(content: bytes) -> bytes:
    segments = (content[s.data] for s in jpeg_segments(content) if s.name == APP1)
    return next((data for data in segments if data.startswith(EXIF_START)), b"")
