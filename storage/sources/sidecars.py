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


def with_sidecars(
    photos: Iterable[Mapping[str, Any]], sidecars: Iterable[Mapping[str, Any]]
) -> list[dict[str, Any]]:
    """The rows of photos, those that have a sidecar with its row under "sidecar".

    Of `a.jpg`, that is `a.jpg.xmp`, else `a.xmp`. Both kinds of rows have a path.
    """
    known = {row["path"][: -len(SUFFIX)]: dict(row) for row in sidecars}
    rows = []
    for photo in photos:
        found = next((known[s] for s in sidecar_stems(photo["path"]) if s in known), None)
        rows.append({**photo, **({"sidecar": found} if found else {})})
    return rows
