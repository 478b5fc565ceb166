"""Zstandard streams as files: read forward, within a bounded window."""

from __future__ import annotations

import io
from typing import Any

import zstandard

from storage.errors import PhotoError

_MAX_WINDOW_BYTES = 128 << 20
_STEP = 1 << 10
"""A block of 4 bytes gives 128 KiB, so this much input gives 32 MiB at most."""
_HEADER_BYTES = 18


def open_zstd(raw: Any) -> io.BufferedReader:
    """A seekable binary file of what the frames in `raw` expand to."""
    return io.BufferedReader(_ZstdFile(raw), 1 << 16)


class _ZstdFile(io.RawIOBase):
    """Zstandard frames, one after another, read forward; going back starts again.

    zstandard's own stream_reader takes a frame that is cut short for one that ended.
    """

    def __init__(self, raw: Any) -> None:
        self._raw = raw
        self._zstd = zstandard.ZstdDecompressor(max_window_size=_MAX_WINDOW_BYTES)
        self._restart()

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int, whence: int = 0) -> int:
        if whence != io.SEEK_SET:
            raise io.UnsupportedOperation("seek other than from the start")
        if offset < self._at:
            self._restart()
        while self._at < offset and self.read(min(offset - self._at, 1 << 20)):
            pass
        return self._at

    def readinto(self, buffer: Any) -> int:
        while self._used == len(self._ready):
            if not self._decompress_more():
                return 0
        part = self._ready[self._used : self._used + len(buffer)]
        buffer[: len(part)] = part
        self._used += len(part)
        self._at += len(part)
        return len(part)

    def _restart(self) -> None:
        self._raw.seek(0)
        self._frame: Any = None
        self._rest, self._ready, self._used, self._at = b"", b"", 0, 0

    def _decompress_more(self) -> bool:
        content = self._rest or self._raw.read(_STEP)
        if self._frame is None:
            if not content:
                return False
            if len(content) < _HEADER_BYTES:
                content += self._raw.read(_HEADER_BYTES)
            _check_window(content)
            self._frame = self._zstd.decompressobj()
        elif not content:
            raise EOFError("a zstd frame is cut short")
        self._ready, self._used, self._rest = self._frame.decompress(content), 0, b""
        if self._frame.eof:
            self._rest, self._frame = self._frame.unused_data, None
        return True


def _check_window(content: bytes) -> None:
    window = zstandard.get_frame_parameters(content).window_size
    if window > _MAX_WINDOW_BYTES:
        raise PhotoError(
            "ARCHIVE_BOMB", f"expected a zstd window of at most 128 MiB, got {window} bytes"
        )
