"""Colorize black-and-white photos: `colorize` for one, `Colorizer` for more.

Examples:
    >>> import chromaflow, numpy
    >>> gray = numpy.tile(numpy.arange(64, dtype=numpy.uint8) * 4, (48, 1))
    >>> colour = chromaflow.colorize(gray)
    >>> colour.shape, colour.dtype
    ((48, 64, 3), dtype('uint8'))

What is named in `__all__` is loaded when it is first asked for: importing this package takes no torch
along, and none of it ever takes Prefect or Dask. `chromaflow.errors` is what all rooms stand on and
`chromaflow.library` joins `colorization` and `storage` (docs/decisions/045).
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from chromaflow.errors import ChromaflowError
    from chromaflow.library.colorizer import Colorizer, colorize
    from chromaflow.library.colourings import Colouring
    from storage.errors import PhotoError, UsageError

    __version__: str

__all__ = [
    "ChromaflowError",
    "Colorizer",
    "Colouring",
    "PhotoError",
    "UsageError",
    "__version__",
    "colorize",
]

_HOMES = {
    "ChromaflowError": "chromaflow.errors",
    "Colorizer": "chromaflow.library.colorizer",
    "Colouring": "chromaflow.library.colourings",
    "PhotoError": "storage.errors",
    "UsageError": "storage.errors",
    "colorize": "chromaflow.library.colorizer",
}


def __getattr__(name: str) -> Any:
    if name == "__version__":
        from importlib.metadata import version

        return version("chromaflow")
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(_HOMES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
