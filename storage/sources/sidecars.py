"""XMP files beside photos, as Lightroom, digiKam, darktable and Bridge leave them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import PurePosixPath
from typing import Any

SUFFIX = ".xmp"


def is_sidecar_name(path: str) -> bool:
    """Whether a file is named as an XMP sidecar is."""
    return path.lower().endswith(SUFFIX)


def sidecar_stems(path: str) -> tuple[str, str]:
    """What the names of a photo's sidecars begin with, the nearer first: `a.jpg`, `a`."""
    return path, str(PurePosixPath(path).with_suffix(""))


class Sidecars:
    """The XMP files of a source, found by the photo that they lie beside."""

    def __init__(self, sidecars: Iterable[Mapping[str, Any]]) -> None:
        """sidecars: rows that have a path."""
        self._by_stem = {row["path"][: -len(SUFFIX)]: dict(row) for row in sidecars}

    def of(self, path: str) -> dict[str, Any] | None:
        """The row of a photo's sidecar. Of `a.jpg`, that is `a.jpg.xmp`, else `a.xmp`."""
        if not self._by_stem:
            return None
        return next((self._by_stem[s] for s in sidecar_stems(path) if s in self._by_stem), None)
