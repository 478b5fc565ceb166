"""Where a colorized photo goes: a mirrored tree, names that keep the source extension."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable
from pathlib import Path, PurePosixPath

from storage.errors import UsageError
from storage.ledger import FileRecord, write_recorded


def output_name(path: str) -> str:
    """`a/0001.tif` → `a/0001.tif.color.tif`, so `0001.jpg` beside it cannot collide."""
    suffix = PurePosixPath(path).suffix
    return f"{path}.color{suffix}"


def check_collisions(paths: Iterable[str]) -> None:
    """Refuse names that differ only in case or Unicode form: some disks would overwrite one.

    Raises UsageError naming the pair.
    """
    seen: dict[str, str] = {}
    for path in paths:
        plain = unicodedata.normalize("NFC", path).casefold()
        if plain in seen:
            raise UsageError(
                f"Expected output names that differ in more than case or Unicode form, got "
                f"{seen[plain]!r} and {path!r}. Rename one."
            )
        seen[plain] = path


def write_output(root: Path, path: str, content: bytes) -> FileRecord:
    """Write one colorized photo atomically below `root`. Returns its record. Raises OutputError."""
    target = root / output_name(path)
    return write_recorded(root, target, content)
