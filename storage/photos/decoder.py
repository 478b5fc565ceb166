"""Decoding in a process of its own, with limits on processor time and memory.

A parser of hostile bytes may hang, take all memory or die (facts/reliability.md). The process that
asks lives on: it gets a `PhotoError` and starts another one. Pixels come back through a pipe as raw
bytes, facts as JSON: nothing that the child sends is executed here.
"""

from __future__ import annotations

import atexit
import base64
import json
import math
import signal
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any, cast

import numpy as np

from storage.child_pipes import PipeEndedError, Pipes, exit_code, exit_name
from storage.children import child_environment, module_command
from storage.errors import PhotoError
from storage.metadata.extraction import Metadata
from storage.photos.codec import Header
from storage.photos.photo import Photo

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
        self._pipes: Pipes | None = None
        self._lock = threading.Lock()
        self._opened = self._held = 0

    def inspect(
        self,
        content: bytes,
        *,
        max_megapixels: float = 500.0,
        max_bytes: float = math.inf,
        salvage: bool = False,
    ) -> Header:
        """`storage.photos.photo.inspect`. Raises PhotoError, TOO_SLOW, OUT_OF_MEMORY and CRASHED too."""
        with self._lock:
            return self._open(
                content,
                max_megapixels=max_megapixels,
                max_bytes=max_bytes,
                salvage=salvage,
                stretch=False,
            )

    def pages(
        self,
        content: bytes,
        *,
        max_megapixels: float = 500.0,
        max_bytes: float = math.inf,
        salvage: bool = False,
        stretch: bool = False,
    ) -> Iterator[Photo]:
        """`storage.photos.photo.decode_pages`, one page at a time.

        Another call ends the pages of this one: ValueError. Raises PhotoError as `inspect` does.
        """
        with self._lock:
            header = self._open(
                content,
                max_megapixels=max_megapixels,
                max_bytes=max_bytes,
                salvage=salvage,
                stretch=stretch,
            )
            number = self._opened
        seconds = SECONDS + SECONDS_A_MEGAPIXEL * header.largest_page / 1e6
        for _ in range(header.num_pages):
            with self._lock:
                if number != self._opened:
                    raise ValueError("Expected the pages of a photo before another one is opened.")
                photo = self._read_photo(self._ask({"op": "next"}, b"", seconds), seconds)
            yield photo

    def close(self) -> None:
        """End the process."""
        with self._lock:
            self._stop()

    def _open(self, content: bytes, *, stretch: bool, **options: float) -> Header:
        self._opened += 1
        if self._held > MOST_HELD_MB * 1e6:
            self._stop()
        request = {"op": "open", "bytes": len(content), "options": options, "stretch": stretch}
        try:
            answer = self._ask(request, content, SECONDS)
        except PhotoError as error:
            if error.code != "CRASHED":
                raise
            answer = self._ask(request, content, SECONDS)  # it may have died idle, of another photo
        with self._trusting_nothing():
            return _header(answer["header"])

    def _ask(self, request: dict[str, Any], content: bytes, seconds: float) -> dict[str, Any]:
        pipes = self._pipes or self._start()
        deadline = time.monotonic() + _PATIENCE * seconds
        try:
            pipes.send(json.dumps(request).encode() + b"\n" + content, deadline)
            line = pipes.read_line(deadline)
        except PipeEndedError:
            raise self._died(seconds) from None
        with self._trusting_nothing():
            answer: dict[str, Any] = json.loads(line)
            self._held = answer["held"]
            if "error" in answer:
                raise PhotoError(answer["error"]["code"], answer["error"]["detail"])
        return answer

    def _read_photo(self, answer: dict[str, Any], seconds: float) -> Photo:
        deadline = time.monotonic() + _PATIENCE * seconds
        with self._trusting_nothing():
            facts = answer["photo"]
            forms = answer["arrays"].items()
            arrays = {name: self._read_array(**form, deadline=deadline) for name, form in forms}
            metadata = facts.pop("metadata")
            for name in BYTES_OF_METADATA:
                metadata[name] = base64.b64decode(metadata[name])
            metadata["text"] = tuple((key, value) for key, value in metadata["text"])
            metadata["lost"] = tuple(metadata["lost"])
            metadata["dpi"] = tuple(metadata["dpi"]) if metadata["dpi"] else None
            return Photo(
                header=_header(facts.pop("header")),
                metadata=Metadata(**metadata),
                pixels=arrays["pixels"],
                alpha=arrays.get("alpha"),
                **facts,
            )

    def _read_array(self, shape: list[int], dtype: str, deadline: float) -> Any:
        array = np.empty(shape, dtype)
        try:
            pipes = self._pipes or self._start()
            pipes.read_into(memoryview(cast("Any", array.reshape(-1).view(np.uint8))), deadline)
        except PipeEndedError:
            raise self._died(SECONDS) from None
        return array

    @contextmanager
    def _trusting_nothing(self) -> Iterator[None]:
        """What is no answer of ours comes from a process that a photo has broken."""
        try:
            yield
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            self._stop()
            raise PhotoError("CRASHED", "the decoder gave an answer without sense") from error
        except MemoryError:
            self._stop()  # what it has to say yet is no answer to the next request
            raise

    def _start(self) -> Pipes:
        environment = child_environment() | {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
        kept = {key: v for key, v in environment.items() if not key.startswith("MALLOC_")}
        self._process = subprocess.Popen(
            module_command("storage.photos.decoder_process"),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            bufsize=0,
            env=kept,
        )
        self._pipes = Pipes(self._process)
        return self._pipes

    def _died(self, seconds: float) -> PhotoError:
        """Why the process gave no answer; it is gone afterwards."""
        code = exit_code(self._process) if self._process else None
        self._stop()
        if code is None or code == -signal.SIGXCPU:
            return PhotoError(
                "TOO_SLOW", f"expected at most {seconds:.0f} s to decode it, got more"
            )
        return PhotoError("CRASHED", f"the decoder died of it, with {exit_name(code)}")

    def _stop(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.communicate()
        self._process = self._pipes = None
        self._held = 0


def _header(facts: dict[str, Any]) -> Header:
    return Header(**facts | {"thumbnails": tuple(facts["thumbnails"])})


@cache
def shared_decoder() -> Decoder:
    """The decoder of this process, ended with it."""
    decoder = Decoder()
    atexit.register(decoder.close)
    return decoder
