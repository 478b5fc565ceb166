"""Decoding in a process of its own, with limits on processor time and memory.

A parser of hostile bytes may hang, take all memory or die (facts/reliability.md). The process that
asks lives on: it gets a `PhotoError` and starts another one. Pixels come back through a pipe as raw
bytes, facts as JSON: nothing that the child sends is executed here.
"""

from __future__ import annotations

import base64
import json
import os
import select
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import suppress
from functools import cache
from typing import Any, cast

import numpy as np

from storage.errors import PhotoError
from storage.extraction import Metadata
from storage.photos import Header, Photo

_PATIENCE = 4.0
"""Wall time allowed, as a multiple of processor time: the machine may be busy."""
SECONDS, SECONDS_A_MEGAPIXEL = 8.0, 1.0
"""Of processor time, for one page; a profile of RGB alone takes 0.25 s a megapixel."""
BYTES_OF_METADATA = ("exif", "iptc", "xmp", "profile")
"""Fields that cross the pipe in base64."""
MEMORY_MB, BYTES_A_PIXEL = 512, 48
"""Beside what the process takes when idle and the file itself."""
MOST_HELD_MB = 128
"""A process that holds more than when it was idle is ended before the next photo: what it did not give
back would be missing from that photo's share, and where memory ends, libraries are left half loaded."""


class Decoder:
    """One decoding process, started when first asked and again after it died.

    Threads may share it for `inspect`; `pages` of one photo must end before the next one is opened.
    """

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None
        self._lock = threading.Lock()
        self._opened = self._held = 0

    def inspect(self, content: bytes, *, max_megapixels: float = 500.0) -> Header:
        """`storage.photos.inspect`. Raises PhotoError, TOO_SLOW, OUT_OF_MEMORY and CRASHED too."""
        with self._lock:
            return Header(**self._open(content, max_megapixels)["header"])

    def pages(self, content: bytes, *, max_megapixels: float = 500.0) -> Iterator[Photo]:
        """`storage.photos.decode_pages`, one page at a time.

        Another call ends the pages of this one. Raises PhotoError as `inspect` does.
        """
        with self._lock:
            header = self._open(content, max_megapixels)["header"]
            number = self._opened
        for _ in range(header["num_pages"]):
            with self._lock:
                assert number == self._opened, "another photo was opened before this one's end"
                photo = self._read_photo(self._ask({"op": "next"}, b"", _seconds(header)))
            yield photo

    def close(self) -> None:
        """End the process."""
        with self._lock:
            self._stop()

    def _open(self, content: bytes, max_megapixels: float) -> dict[str, Any]:
        self._opened += 1
        if self._held > MOST_HELD_MB * 1e6:
            self._stop()
        request = {"op": "open", "bytes": len(content), "max_megapixels": max_megapixels}
        try:
            return self._ask(request, content, SECONDS)
        except PhotoError as error:
            if error.code != "CRASHED":
                raise
        return self._ask(
            request, content, SECONDS
        )  # it may have died idle, of no fault of this photo

    def _ask(self, request: dict[str, Any], content: bytes, seconds: float) -> dict[str, Any]:
        process = self._process or self._start()
        assert process.stdin is not None and process.stdout is not None
        try:
            process.stdin.write(json.dumps(request).encode() + b"\n" + content)
            process.stdin.flush()
            ready, _, _ = select.select([process.stdout], [], [], _PATIENCE * seconds)
            line = process.stdout.readline() if ready else b""
        except (BrokenPipeError, ConnectionResetError):
            line = b""
        if not line:
            raise self._died(seconds)
        answer: dict[str, Any] = json.loads(line)
        self._held = answer["held"]
        if "error" in answer:
            raise PhotoError(answer["error"]["code"], answer["error"]["detail"])
        return answer

    def _read_photo(self, answer: dict[str, Any]) -> Photo:
        facts = answer["photo"]
        arrays = {name: self._read_array(**form) for name, form in answer["arrays"].items()}
        metadata = facts.pop("metadata")
        for name in BYTES_OF_METADATA:
            metadata[name] = base64.b64decode(metadata[name])
        metadata["text"] = tuple((key, value) for key, value in metadata["text"])
        metadata["lost"] = tuple(metadata["lost"])
        metadata["dpi"] = tuple(metadata["dpi"]) if metadata["dpi"] else None
        return Photo(
            header=Header(**facts.pop("header")),
            metadata=Metadata(**metadata),
            pixels=arrays["pixels"],
            alpha=arrays.get("alpha"),
            **facts,
        )

    def _read_array(self, shape: list[int], dtype: str) -> Any:
        assert self._process is not None and self._process.stdout is not None
        array = np.empty(shape, dtype)
        view = memoryview(cast("Any", array.reshape(-1).view(np.uint8)))
        place = 0
        while place < len(view):
            count = cast("Any", self._process.stdout).readinto(view[place:])
            if not count:
                raise self._died(SECONDS)
            place += count
        return array

    def _start(self) -> subprocess.Popen[bytes]:
        kept = {key: v for key, v in os.environ.items() if not key.startswith("MALLOC_")}
        environment = kept | {
            "PYTHONPATH": os.pathsep.join(path or os.getcwd() for path in sys.path),  # noqa: PTH109
            "OMP_NUM_THREADS": "1",
            "OPENBLAS_NUM_THREADS": "1",
        }
        self._process = subprocess.Popen(
            [sys.executable, "-m", "storage.decoder_process"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=environment,
        )
        return self._process

    def _died(self, seconds: float) -> PhotoError:
        """Why the process gave no answer; it is gone afterwards."""
        assert self._process is not None
        hangs = self._process.poll() is None
        if hangs:
            with suppress(subprocess.TimeoutExpired):
                self._process.wait(0.2)  # it may be dying
        code = self._process.poll()
        self._stop()
        if code is None or code == -signal.SIGXCPU:
            return PhotoError(
                "TOO_SLOW", f"expected at most {seconds:.0f} s to decode it, got more"
            )
        return PhotoError("CRASHED", f"the decoder died of it, with {_signal_name(code)}")

    def _stop(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.communicate()
            self._process = None
        self._held = 0


@cache
def shared_decoder() -> Decoder:
    """The decoder of this process."""
    return Decoder()


def _seconds(header: dict[str, Any]) -> float:
    num_pixels: int = header["largest_page"]
    return SECONDS + SECONDS_A_MEGAPIXEL * num_pixels / 1e6


def _signal_name(code: int) -> str:
    return signal.Signals(-code).name if code < 0 else f"exit {code}"
