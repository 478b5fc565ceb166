"""JPEG that Pillow does not read: lossless JPEG, JPEG of 12 bits and JPEG-LS, through imagecodecs."""

from __future__ import annotations

from typing import Any

import imagecodecs
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from storage.containers.segments import APP1, EXIF_START, jpeg_frame, jpeg_segments
from storage.errors import PhotoError
from storage.photos.codec import Header, OnePicture, shown

_ORIENTATION = 0x0112
_MODES = {1: "L", 3: "RGB"}


class RareJpeg(OnePicture):
    """One of these; written as PNG, which keeps their depth."""

    def has_end(self, content: bytes) -> bool:
        return content.rfind(b"\xff\xd9") > content.rfind(b"\xff\xda")

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
            orientation=_orientation(content),
            mode=_MODES[frame.channels] + (";16" if frame.bits > 8 else ""),
            bits=frame.bits,
        )

    def pixels(self, content: bytes, header: Header) -> NDArray[Any]:
        decode: Any = (
            imagecodecs.jpegls_decode if self.name == "JPEGLS" else imagecodecs.jpeg_decode
        )
        samples = np.asarray(decode(content))
        if header.bits in (8, 16):
            return samples
        top = 65535 if header.bits > 8 else 255
        scaled = np.rint(samples * (top / ((1 << header.bits) - 1)))
        return scaled.clip(0, top).astype(np.uint16 if header.bits > 8 else np.uint8)


def _orientation(content: bytes) -> int:
    for segment in jpeg_segments(content):
        if segment.name == APP1 and content[segment.data].startswith(EXIF_START):
            exif = Image.Exif()
            exif.load(content[segment.data])
            orientation = exif.get(_ORIENTATION, 1)
            return orientation if orientation in range(1, 9) else 1
    return 1
