"""Small pictures of the photos of a chunk, in one file that the report's page can load from disk.

A page opened from a disk may run scripts that lie beside it, but may not read other files. So a pack
is a script of one call, with JPEGs in base64: no strings from outside are in it.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import simplejpeg
from numpy.typing import NDArray

from storage.photos.profiles import Pixels
from storage.records.fingerprint import hash_bytes
from storage.records.ledger import FileRecord, write_recorded
from storage.records.names import PACKS_FOLDER

_QUALITY = 70
_MOST_ASPECT = 8
"""A longer photo is squeezed to that, so that both sides can be seen."""


def reduce_to(pixels: Pixels, long_side: int) -> Pixels:
    """Shrink by area until the long side is so long; smaller photos come back as they are.

    pixels: uint8 or uint16, (H, W) or (H, W, 3), and so returned.
    """
    height, width = pixels.shape[:2]
    scale = long_side / max(height, width)
    if scale >= 1:
        return pixels
    least = max(1, long_side // _MOST_ASPECT)
    size = max(round(width * scale), least), max(round(height * scale), least)
    size = min(size[0], width), min(size[1], height)
    return np.asarray(cv2.resize(pixels, size, interpolation=cv2.INTER_AREA))


def small_jpeg(pixels: NDArray[np.uint8]) -> bytes:
    """A JPEG for looking at. pixels: (h, w) gray or (h, w, 3)."""
    if pixels.ndim == 2:
        samples = np.ascontiguousarray(pixels[..., None])
        return bytes(simplejpeg.encode_jpeg(samples, quality=_QUALITY, colorspace="GRAY"))
    samples = np.ascontiguousarray(pixels)
    return bytes(simplejpeg.encode_jpeg(samples, quality=_QUALITY, colorsubsampling="420"))


def write_pack(folder: Path, pictures: Sequence[Mapping[str, bytes]]) -> FileRecord:
    """Write a chunk's pictures, `thumbnails/NAME.js` below `folder`. Raises OutputError.

    NAME is of what the file holds, so that no other chunk writes there. pictures: of each photo,
    JPEGs by kind (before, after, …).
    """
    encoded = json.dumps(
        [{kind: base64.b64encode(jpeg).decode() for kind, jpeg in one.items()} for one in pictures],
        separators=(",", ":"),
    )
    name = hash_bytes(encoded.encode())[:16]
    script = f'chromaflowPack("{name}", {encoded});\n'
    return write_recorded(folder, folder / PACKS_FOLDER / f"{name}.js", script.encode())


def is_whole_pack(path: Path) -> bool:
    """Whether a file of small pictures is as it was written: its name is of its contents."""
    try:
        text = path.read_text("ascii")
        start, end = text.index("["), text.rindex("]") + 1
    except (OSError, ValueError):
        return False
    return hash_bytes(text[start:end].encode())[:16] == path.stem


def read_pack(path: Path) -> list[dict[str, bytes]]:
    """The pictures of a file that `write_pack` wrote. Raises OSError, ValueError."""
    text = path.read_text("ascii")
    start, end = text.index("["), text.rindex("]") + 1
    encoded: list[dict[str, Any]] = json.loads(text[start:end])
    return [{kind: base64.b64decode(text) for kind, text in one.items()} for one in encoded]
