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
_MOST_NAME_BYTES = 240
"""Most file systems take 255; a sidecar adds its suffix."""


def output_names(paths: Iterable[str]) -> dict[str, str]:
    """Photo path → output path without suffix: `a/1.tif` → `a/1.tif.color`.

    So `1.jpg` beside `1.tif` cannot collide. Of names that some disks take for one (they differ in
    case or Unicode form only) all but the first in order get `~` and eight digits of the path's
    SHA-256, and so do names that would be too long.
    """
    names: dict[str, str] = {}
    taken: set[str] = set()
    for path in sorted(set(paths)):
        name = f"{path}.color"
        plain = unicodedata.normalize("NFC", name).casefold()
        if plain in taken or len(PurePosixPath(name).name.encode()) > _MOST_NAME_BYTES:
            name = _marked(path)
        taken.add(unicodedata.normalize("NFC", name).casefold())
        names[path] = name
    return names


def output_suffix(path: str, source_format: str, output_format: str) -> str:
    """The suffix of an output: the photo's own where the format stays, else the format's."""
    own = PurePosixPath(path).suffix
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


def _marked(path: str) -> str:
    pure = PurePosixPath(path)
    mark = hashlib.sha256(path.encode()).hexdigest()[:8]
    room = _MOST_NAME_BYTES - len(f"~{mark}.color{pure.suffix}".encode())
    stem = pure.name.encode()[:room].decode(errors="ignore")
    return str(pure.with_name(f"{stem}~{mark}.color"))
