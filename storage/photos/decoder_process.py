"""The decoding process: `storage.photos.decoder` starts it and talks to it through stdin and stdout."""

from __future__ import annotations

import base64
import json
import math
import os
import resource
import sys
import threading
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from storage.children import end_with_parent
from storage.errors import PhotoError
from storage.photos.codec import Header
from storage.photos.decoder import (
    BYTES_A_PIXEL,
    BYTES_OF_METADATA,
    MEMORY_MB,
    SECONDS,
    SECONDS_A_MEGAPIXEL,
)
from storage.photos.photo import Photo, decode_pages, inspect

_SPOILING = ("OUT_OF_MEMORY", "CODEC_MISSING")
"""Errors after which this process must be replaced: what it was about to load may be in pieces."""


def main() -> None:
    """Answer requests until stdin ends."""
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # a library that prints must not talk into the answers
    threading.Thread(target=end_with_parent, args=(os.getppid(),), daemon=True).start()
    idle = _data_bytes()
    pages: Iterator[Photo] = iter(())
    header, most = None, math.inf
    for line in sys.stdin.buffer:
        request = json.loads(line)
        try:
            if request["op"] == "open":
                content = sys.stdin.buffer.read(request["bytes"])
                pages, header = iter(()), None
                most = request["options"]["max_bytes"]
                _limit(idle + len(content), header, most)
                header = inspect(content, **request["options"])
                pages = decode_pages(content, **request["options"], stretch=request["stretch"])
                _answer(answers, {"header": asdict(header), "held": _data_bytes() - idle})
            else:
                _limit(idle + len(content), header, most)
                _answer_photo(answers, next(pages), idle)
        except PhotoError as error:
            _answer_error(answers, error, _data_bytes() - idle)
        except MemoryError:
            detail = "the decoder needed more memory than its size in pixels explains"
            _answer_error(answers, PhotoError("OUT_OF_MEMORY", detail), _data_bytes() - idle)


def _answer(answers: BinaryIO, facts: dict[str, Any]) -> None:
    answers.write(json.dumps(facts).encode() + b"\n")
    answers.flush()


def _answer_error(answers: BinaryIO, error: PhotoError, held: int) -> None:
    if error.code in _SPOILING:
        held = sys.maxsize
    _answer(answers, {"error": {"code": error.code, "detail": error.detail}, "held": held})


def _answer_photo(answers: BinaryIO, photo: Photo, idle: int) -> None:
    arrays = {"pixels": photo.pixels} | ({} if photo.alpha is None else {"alpha": photo.alpha})
    metadata: dict[str, Any] = asdict(photo.metadata)
    for name in BYTES_OF_METADATA:
        metadata[name] = base64.b64encode(metadata[name]).decode()
    facts = {
        "header": asdict(photo.header),
        "metadata": metadata,
        "associated": photo.associated,
        "quality": photo.quality,
        "lossless": photo.lossless,
        "note": photo.note,
    }
    forms = {name: {"shape": a.shape, "dtype": a.dtype.name} for name, a in arrays.items()}
    _answer(answers, {"photo": facts, "arrays": forms, "held": _data_bytes() - idle})
    for array in arrays.values():
        answers.write(np.ascontiguousarray(array).data)
    answers.flush()


def _limit(held: int, header: Header | None, most: float) -> None:
    """Allow one request so much processor time and memory. held: bytes in use already. most: of them."""
    megapixels = header.largest_page / 1e6 if header else 0.0
    spent = sum(resource.getrusage(resource.RUSAGE_SELF)[:2])
    seconds = math.ceil(spent + SECONDS + SECONDS_A_MEGAPIXEL * megapixels)
    memory = int(held + MEMORY_MB * 1e6 + min(BYTES_A_PIXEL * megapixels * 1e6, most))
    for limit, value in ((resource.RLIMIT_CPU, seconds), (resource.RLIMIT_DATA, memory)):
        _, hard = resource.getrlimit(limit)
        resource.setrlimit(limit, (value if hard < 0 else min(value, hard), hard))


def _data_bytes() -> int:
    """What counts towards RLIMIT_DATA already; where /proc does not say, a guess."""
    try:
        status = Path("/proc/self/status").read_text()
        return int(status.partition("VmData:")[2].split(maxsplit=1)[0]) * 1024
    except (OSError, ValueError, IndexError):
        return 1 << 30


if __name__ == "__main__":
    main()
