"""What a disk or a service refuses while bytes are read: told apart from damage, in one place.

Behind fsspec lie libraries with errors of their own, which are no OSError; they are looked up where
they are loaded, so that none is imported for a local folder.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit

from storage.errors import CodecMissingError, OutputError, PhotoError, UsageError

_EXTRAS = {"s3": "s3", "s3a": "s3"}
_ERRORS_OF = {
    "aiohttp": ("ClientError",),
    "asyncio.exceptions": ("IncompleteReadError",),
    "azure.core.exceptions": ("AzureError",),
    "botocore.exceptions": ("BotoCoreError", "ClientError"),
    "gcsfs.retry": ("HttpError",),
    "google.auth.exceptions": ("GoogleAuthError",),
    "http.client": ("HTTPException",),
    "paramiko": ("SSHException",),
    "urllib3.exceptions": ("HTTPError",),
}
"""Module → what its functions raise where a service refuses, is cut off, or does not answer."""


class RemoteError(OutputError):
    """The service behind a URL refused, or does not answer."""

    code = "REMOTE"


class RefusedError(OSError):
    """A service refused, was cut off, or did not answer; as its library says it."""


def refusals() -> tuple[type[Exception], ...]:
    """What the system and the loaded libraries raise where bytes cannot be had just now."""
    loaded = ((sys.modules.get(module), names) for module, names in _ERRORS_OF.items())
    known = (getattr(module, name, None) for module, names in loaded for name in names)
    return (OSError, *(error for error in known if isinstance(error, type)))


def told(error: BaseException) -> str:
    """An error in the words of the system or the service."""
    words = getattr(error, "strerror", None) or str(error).strip()
    return words or ("no answer in time" if isinstance(error, TimeoutError) else "no answer")


@contextmanager
def reaching(url: str) -> Iterator[None]:
    """Name the URL and the remedy in what a file system raises, whatever library it comes from.

    Raises CodecMissingError, UsageError for an unknown scheme, RemoteError.
    """
    scheme = urlsplit(url).scheme
    try:
        yield
    except ImportError as error:
        package = f"chromaflow[{_EXTRAS[scheme]}]" if scheme in _EXTRAS else str(error)
        raise CodecMissingError(
            f"Expected the package for {url}, found none. Install it: `pip install '{package}'`."
        ) from error
    except refusals() as error:
        raise RemoteError(
            f"Expected to reach {url}, got: {told(error)}. Check address, network "
            "and credentials, then run again; what is done is kept."
        ) from error
    except ValueError as error:
        raise UsageError(f"Expected a URL that fsspec can open, got {url}: {error}") from error


@contextmanager
def as_os_errors() -> Iterator[None]:
    """Raises RefusedError for what is no OSError but one of `refusals`."""
    try:
        yield
    except OSError:
        raise
    except refusals() as error:
        raise RefusedError(told(error)) from error


@contextmanager
def refused_bytes() -> Iterator[None]:
    """Raises PhotoError UNREADABLE or OUT_OF_MEMORY, both of which may pass."""
    try:
        yield
    except MemoryError as error:
        raise PhotoError("OUT_OF_MEMORY", "there was not enough memory to read it") from error
    except refusals() as error:
        raise PhotoError("UNREADABLE", told(error)[:300]) from error


class GuardedFile:
    """An archive's bytes, seekable: what refuses them raises PhotoError, never damage's errors.

    Decompressors raise OSError for bad bytes too; from outside both look the same. Closed at the latest
    with its last holder: a source that is kept for reading has no end of its own.
    """

    _file: Any = None

    def __init__(self, opener: Callable[[], Any]) -> None:
        with refused_bytes():
            self._file = opener()

    def __del__(self) -> None:
        if self._file is not None:
            self._file.close()

    def read(self, size: int = -1) -> bytes:
        """At most so many bytes; all that follow below 0."""
        with refused_bytes():
            content: bytes = self._file.read(size)
        return content

    def seek(self, offset: int, whence: int = 0) -> int:
        """Move; returns the place."""
        try:
            with refused_bytes():
                return int(self._file.seek(offset, whence))
        except ValueError as error:  # an HTTP server that sends whole files only
            raise PhotoError("UNREADABLE", f"it cannot be read in parts: {error}"[:300]) from error

    def tell(self) -> int:
        """Where the next byte comes from."""
        return int(self._file.tell())

    def close(self) -> None:
        """Close the file."""
        with refused_bytes():
            self._file.close()

    def readable(self) -> bool:
        """As io asks for it."""
        return True

    def seekable(self) -> bool:
        """As io asks for it."""
        return True

    def __enter__(self) -> GuardedFile:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()
