"""What zips and tars share: limits, which members may be read, and what damage is reported as.

Every size is counted while it streams, because headers lie (facts/reliability.md, Security).
"""

from __future__ import annotations

import lzma
import posixpath
import struct
import tarfile
import unicodedata
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import IO, Any

import zstandard

from storage.errors import PhotoError
from storage.sources.entries import Problem

Opener = Callable[[], Any]
"""Opens the archive's bytes; the file must be seekable."""
MAX_MEMBERS = 5_000_000
MAX_RATIO = 200
RATIO_APPLIES_ABOVE = 64 << 20
"""A member or stream may be smaller than this whatever its ratio: plain tints compress well."""
RATIO_SO_FAR_ABOVE = 512 << 20
"""What was read until now, and a zip's members together, may be smaller whatever their ratio."""
DAMAGE = (
    tarfile.TarError,
    zipfile.BadZipFile,
    zlib.error,
    lzma.LZMAError,
    zstandard.ZstdError,
    EOFError,
    OSError,
    ValueError,
    LookupError,
    OverflowError,
    RecursionError,
    struct.error,
)
"""What the standard library and zstandard raise on a bad archive. OSError is bzip2's and gzip's here:
that of the disk or a service never comes through a `storage.reading.GuardedFile`."""

_MAX_MEMBER_BYTES = 2 << 30


def decoded(raw: bytes, encoding: str) -> str | None:
    """A member's name: UTF-8 where its bytes are, else as the encoding has it; None where neither fits."""
    for known in ("utf-8", encoding) if encoding else ("utf-8",):
        with suppress(UnicodeDecodeError):
            return raw.decode(known)
    return None


def name_problem(name: str) -> Problem | None:
    """What makes a member's name unsafe or misleading, if anything does.

    A member without a name is told of as the archive itself.
    """
    if not name:
        return Problem("", "UNSAFE_NAME", "expected members with names, got one without")
    parts = name.replace("\\", "/").split("/")
    unsafe = ".." in parts or name.startswith(("/", "\\", "~")) or ":" in parts[0]
    unsafe = unsafe or posixpath.normpath(name) == "."
    odd = any(unicodedata.category(character) in ("Cc", "Cf") for character in name)
    if unsafe or odd or len(name.encode(errors="surrogateescape")) > 4095:
        detail = "expected a relative name without '..', control characters or a drive"
        return Problem(name, "UNSAFE_NAME", detail)
    return None


def size_problem(name: str, size: int) -> Problem | None:
    """That a member is too large, if it is."""
    if 0 <= size <= _MAX_MEMBER_BYTES:
        return None
    return Problem(
        name, "ARCHIVE_BOMB", f"expected a member of at most {_MAX_MEMBER_BYTES} bytes, got {size}"
    )


def damaged(error: BaseException | str) -> Problem:
    """The problem of a whole archive that raised one of `DAMAGE`, or of what is told of it."""
    return Problem("", "ARCHIVE_DAMAGED", str(error)[:300] or "it ends too early")


def bomb(got: str, allowed: str) -> Problem:
    """The problem of a whole archive that passes a limit."""
    return Problem("", "ARCHIVE_BOMB", f"expected at most {allowed}, got {got}")


def read_exactly(stream: IO[bytes], size: int) -> bytes:
    """So many bytes. Raises EOFError where the stream ends before."""
    content = stream.read(size)
    if len(content) < size:
        raise EOFError(f"expected {size} bytes, got {len(content)}")
    return content


@contextmanager
def read_errors() -> Iterator[None]:
    """Raises PhotoError ARCHIVE_DAMAGED for what reading a member of a bad archive raises."""
    try:
        yield
    except MemoryError as error:
        raise PhotoError("OUT_OF_MEMORY", "there was not enough memory to expand it") from error
    except DAMAGE as error:
        raise PhotoError("ARCHIVE_DAMAGED", str(error)[:300] or "it ends too early") from error
