"""Where a colorized photo goes: a mirrored tree, names that keep the source extension."""

from __future__ import annotations

import hashlib
import unicodedata
from collections.abc import Callable, Iterable
from pathlib import Path, PurePosixPath
from typing import BinaryIO

from storage.formats import FORMATS
from storage.ledger import FileRecord, atomic_path, record_file

SIDECAR_SUFFIX = ".xmp"
MAP_SUFFIX = ".uncertainty.png"
"""After a name of `output_names`: no output ends so."""
_MOST_NAME_BYTES = 240
"""Most file systems take 255; a sidecar adds its suffix."""
_MOST_DEPTH, _MOST_PATH = 64, 2000


def output_names(paths: Iterable[str]) -> dict[str, str]:
    """Photo path → output path without suffix: `a/1.tif` → `a/1.tif.color`.

    So `1.jpg` beside `1.tif` cannot collide. Of names that some disks take for one (they differ in
    case or Unicode form only) all but the first in order get `~` and eight digits of the path's
    SHA-256. So do names that are too long or too deep for some disks; they go to the tree's root.
    """
    names: dict[str, str] = {}
    taken: set[str] = set()
    for path in sorted(set(paths)):
        name = f"{path}.color"
        plain = unicodedata.normalize("NFC", name).casefold()
        if _too_long(name):
            name = _marked(path, PurePosixPath())
        elif plain in taken:
            name = _marked(path, PurePosixPath(path).parent)
        taken.add(unicodedata.normalize("NFC", name).casefold())
        names[path] = name
    return names


def output_suffix(path: str, source_format: str, output_format: str) -> str:
    """The suffix of an output: the photo's own where the format stays, else the format's."""
    own = PurePosixPath(path).suffix
    if output_format == "PPM":  # its colour is P6, whatever the gray was
        return own if own.lower() in (".ppm", ".pnm") else ".ppm"
    if source_format == output_format and own.lower() in FORMATS[output_format].suffixes:
        return own
    return FORMATS[output_format].suffixes[0]


def write_output(root: Path, name: str, write: Callable[[BinaryIO], None]) -> FileRecord:
    """Write one output atomically below `root`. Returns its record. Raises OutputError.

    write: is given a file that is open for reading and writing.
    """
    target = root / name
    with atomic_path(target) as temporary, temporary.open("w+b") as file:
        write(file)
    return record_file(root, target)


def _too_long(name: str) -> bool:
    parts = name.split("/")
    longest = max(len(part.encode()) for part in parts)
    return longest > _MOST_NAME_BYTES or len(parts) > _MOST_DEPTH or len(name) > _MOST_PATH


def _marked(path: str, folder: PurePosixPath) -> str:
    pure = PurePosixPath(path)
    mark = hashlib.sha256(path.encode()).hexdigest()[:8]
    room = _MOST_NAME_BYTES - len(f"~{mark}.color{pure.suffix}".encode())
    stem = pure.name.encode()[:room].decode(errors="ignore")
    return str(folder / f"{stem}~{mark}.color")
