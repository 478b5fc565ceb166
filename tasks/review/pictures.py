"""Photos as a browser shows them: its own formats as they are, others as a JPEG made on the way."""

from __future__ import annotations

from collections import OrderedDict
from pathlib import Path
from threading import Lock
from typing import Any, Generic, TypeVar

import numpy as np
import simplejpeg
from numpy.typing import NDArray

from storage.errors import PhotoError
from storage.formats import sniff
from storage.photos.decoder import shared_decoder
from storage.photos.photo import Photo
from storage.photos.profiles import Pixels
from storage.pictures.thumbnails import read_pack, reduce_to, small_jpeg
from storage.records.fingerprint import hash_bytes
from storage.sources.source import Source, open_source
from tasks.engine.kept import Output
from tasks.review.photos import Photos

_SHOWN = {"JPEG": "image/jpeg", "PNG": "image/png", "WEBP": "image/webp", "GIF": "image/gif"}
_JPEG = "image/jpeg"
_LONGEST = 8192
"""Sides of a picture that is made on the way, at most: more than a browser draws at once."""
_QUALITY = 92
_THUMBNAIL = 256
_PACKS, _PICTURES = 64, 6

T = TypeVar("T")
_DECODING = Lock()
"""One photo at a time: the decoder's process ends the pages of the one before."""
Picture = tuple[bytes, str]
"""Its bytes and their type, as HTTP names it."""


class Pictures:
    """The pictures of an archive's photos. Of several threads each may ask."""

    def __init__(self, photos: Photos) -> None:
        self._photos = photos
        self._source: Source | None = None
        self._reading = Lock()
        self._packs: _Kept[list[dict[str, bytes]]] = _Kept(_PACKS)
        self._made: _Kept[Picture] = _Kept(_PICTURES)

    def original_bytes(self, output: Output) -> bytes:
        """The file of the original. Raises PhotoError where it is gone or another one now."""
        facts = output.facts
        try:
            with self._reading:
                self._source = self._source or open_source(self._photos.source)
                content = self._source.read(facts.photo, facts.offset, facts.bytes)
        except OSError as error:
            raise PhotoError("UNREADABLE", f"{error.strerror or error}") from error
        if hash_bytes(content) != facts.sha256:
            raise PhotoError("UNREADABLE", "the file changed since it was coloured; run again")
        return content

    def original(self, output: Output) -> Picture:
        """The photo that was coloured."""
        return self._shown(("original", output.facts.sha256), self.original_bytes(output))

    def colour(self, output: Output) -> Picture:
        """Its colours. Raises PhotoError where the file is gone."""
        path = self._photos.file_of(output, output.name)
        if path is None:
            raise PhotoError("UNREADABLE", "the colour photo is not in OUT any more; run again")
        return self._shown(("colour", output.content), path.read_bytes())

    def truth(self, folder: Path, output: Output) -> Picture:
        """The colour original of the same name below a folder."""
        path = (folder / output.facts.photo).resolve()
        if not path.is_relative_to(folder.resolve()) or not path.is_file():
            raise PhotoError("UNREADABLE", "no colour original bears its name")
        return self._shown(("truth", str(path)), path.read_bytes())

    def small(self, output: Output, kind: str) -> Picture:
        """A picture of the run report: before, after, v1, …; made anew where the run kept none."""
        pack = self._pack(output)
        if pack is not None and kind in pack:
            return pack[kind], _JPEG
        if kind == "before":
            return self._reduced(self.original_bytes(output)), _JPEG
        content, _ = self.colour(output)
        return self._reduced(content), _JPEG

    def small_pair(self, output: Output) -> dict[str, bytes]:
        """All pictures of the run report of a photo; {} where the run kept none."""
        return self._pack(output) or {}

    def _pack(self, output: Output) -> dict[str, bytes] | None:
        if not output.pack:
            return None
        found = self._packs.get(output.pack)
        if found is None:
            try:
                found = read_pack(self._photos.workspace.root / output.pack)
            except (OSError, ValueError):
                return None
            self._packs.put(output.pack, found)
        return found[output.picture] if output.picture < len(found) else None

    def pixels(self, content: bytes) -> NDArray[np.uint8]:
        """uint8 (H, W) or (H, W, 3), upright. Raises PhotoError."""
        return eight_bit(first_page(content).pixels)

    def _reduced(self, content: bytes) -> bytes:
        return small_jpeg(np.asarray(reduce_to(self.pixels(content), _THUMBNAIL), np.uint8))

    def _shown(self, key: tuple[str, str], content: bytes) -> Picture:
        kind = _SHOWN.get(sniff(content))
        if kind is not None:
            return content, kind
        found = self._made.get(key)
        if found is None:
            pixels = reduce_to(self.pixels(content), _LONGEST)
            found = large_jpeg(np.asarray(pixels, np.uint8)), _JPEG
            self._made.put(key, found)
        return found


class _Kept(Generic[T]):
    """What was asked for last, of one size."""

    def __init__(self, most: int) -> None:
        self._most, self._lock = most, Lock()
        self._found: OrderedDict[Any, T] = OrderedDict()

    def get(self, key: Any) -> T | None:
        with self._lock:
            if key in self._found:
                self._found.move_to_end(key)
            return self._found.get(key)

    def put(self, key: Any, value: T) -> None:
        with self._lock:
            self._found[key] = value
            while len(self._found) > self._most:
                self._found.popitem(last=False)


def first_page(content: bytes) -> Photo:
    """Decoded in a process of its own, as hostile files are. Raises PhotoError."""
    with _DECODING:
        return next(shared_decoder().pages(content, max_megapixels=float("inf"), salvage=True))


def eight_bit(pixels: Pixels) -> NDArray[np.uint8]:
    """Of 8 or 16 bits."""
    return (pixels >> 8).astype(np.uint8) if pixels.dtype == np.uint16 else pixels.astype(np.uint8)


def large_jpeg(pixels: NDArray[np.uint8]) -> bytes:
    """For looking at closely. pixels: (h, w) or (h, w, 3)."""
    if pixels.ndim == 2:
        gray = np.ascontiguousarray(pixels[..., None])
        return bytes(simplejpeg.encode_jpeg(gray, quality=_QUALITY, colorspace="GRAY"))
    return bytes(
        simplejpeg.encode_jpeg(
            np.ascontiguousarray(pixels), quality=_QUALITY, colorsubsampling="444"
        )
    )
