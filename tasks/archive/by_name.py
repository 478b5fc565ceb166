"""Photos that are named one by one as IN, and one file, or stdout, as OUT.

They are a list of an archive, their common folder, as one that comes on stdin: no second way to colour. A file
as OUT is taken from an output folder that lives as long as the command.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from storage.errors import NoInputError, UsageError
from storage.formats import FORMATS, OUTPUT_FORMATS
from storage.records.fingerprint import hash_bytes
from storage.records.item_record import each_item
from storage.records.ledger import write_bytes
from storage.records.names import STATE_NAME
from storage.records.workspace import Workspace
from storage.sources.archives import is_archive_name
from storage.sources.locations import STDIN, is_url

STDOUT = "-"
"""As OUT: the bytes of one photo go to standard output."""
FILE_FORMATS = {
    suffix: name for name in OUTPUT_FORMATS for suffix in FORMATS[name.upper()].suffixes
}
"""Suffix of an OUT that is a file → its format."""
_PICTURES = {suffix for format_ in FORMATS.values() for suffix in format_.suffixes}
_LISTS = (".txt", ".csv")


@dataclass(frozen=True, kw_only=True, slots=True)
class Target:
    """A file, or stdout, that one photo's colour goes to."""

    photo: Path
    path: Path | None
    """None for stdout."""
    format: str
    """Of OUTPUT_FORMATS; empty for the photo's own."""
    force: bool

    def refuse_what_is_there(self) -> None:
        """Raise UsageError for the photo itself, and for a file that is none of ours unless `force`."""
        if self.path is None:
            if sys.stdout.isatty():
                raise UsageError(
                    "Expected stdout to be a file or a pipe, got a terminal. Write > FILE."
                )
            return
        if self.path.exists() and self.path.samefile(self.photo):
            raise UsageError(
                f"Expected another file than the photo as OUT, got {self.path}: originals are never "
                f"touched. Name another, as {_beside(self.photo)}."
            )
        if self.path.exists() and not self.force and not self._is_ours(self.path.read_bytes()):
            raise self._is_there("a file that is not its colour")

    def put(self, output: Path) -> bool:
        """Write what was coloured in an output folder; whether anything changed.

        Raises UsageError where other colour is there and `force` was not said, NoInputError where the
        photo was not coloured, OutputError.
        """
        content = _colour_in(output)
        if self.path is None:
            sys.stdout.flush()
            sys.stdout.buffer.write(content)
            sys.stdout.buffer.flush()
            return True
        if self.path.exists():
            before = self.path.read_bytes()
            if before == content:
                return False
            if not self.force:
                raise self._is_there("its colour of other settings, or changed since")
        self.path.parent.mkdir(parents=True, exist_ok=True)
        write_bytes(self.path, content)
        return True

    def _is_ours(self, content: bytes) -> bool:
        """Whether a file says that it is this photo in colour."""
        return hash_bytes(self.photo.read_bytes()).encode() in content

    def _is_there(self, what: str) -> UsageError:
        return UsageError(
            f"Expected nothing at {self.path}, found {what}. Name another file, or --force to "
            "replace it."
        )


def photos_of(sources: Sequence[str]) -> list[Path]:
    """The photos that IN names one by one, absolute; none where it is a folder, an archive or a URL.

    Raises UsageError for several of which one is no file.
    """
    if len(sources) == 1:
        return [_absolute(source) for source in sources if _is_photo(source)]
    for source in sources:
        if not _is_photo(source):
            raise UsageError(
                f"Expected photos ahead of OUT, as several were named, got {source}. Name one folder or "
                "archive alone; or a pattern in quotes, as 'scans/**/*.tif'."
            )
    return [_absolute(source) for source in sources]


def target_of(output: str, photos: Sequence[Path], format_name: str, force: bool) -> Target | None:
    """The one file that OUT names; None where it is a folder or a URL. Raises UsageError."""
    path = Path(output)
    if output == STDOUT:
        if len(photos) != 1:
            raise UsageError(
                "Expected a folder or URL as OUT, got -, which takes one photo. Name a folder."
            )
        return Target(photo=photos[0], path=None, format=format_name, force=force)
    if not photos or is_url(output) or output.endswith("/") or path.is_dir():
        return None
    suffix = path.suffix.lower()
    if suffix not in _PICTURES and not path.exists():
        return None
    if len(photos) > 1:
        raise UsageError(
            f"Expected a folder as OUT of {len(photos)} photos, got {output}. Name one."
        )
    if suffix not in FILE_FORMATS:
        raise UsageError(
            f"Expected OUT to end in one of {', '.join(FILE_FORMATS)}, or a folder; got {output}."
        )
    if format_name and format_name != FILE_FORMATS[suffix]:
        raise UsageError(
            f"Expected OUT to end as --format {format_name} does, got {output}. Leave one of the two out."
        )
    return Target(photo=photos[0], path=path.absolute(), format=FILE_FORMATS[suffix], force=force)


def listed(photos: Sequence[Path]) -> tuple[bytes, Path]:
    """Photos as the lines of a list (`storage.sources.files.write_list`), and their common folder."""
    root = Path(os.path.commonpath([photo.parent for photo in photos]))
    return b"\0".join(os.fsencode(photo) for photo in photos) + b"\0", root


def _is_photo(source: str) -> bool:
    path = Path(source)
    if source == STDIN or is_url(source) or not path.is_file():
        return False
    return not is_archive_name(path.name) and path.suffix.lower() not in _LISTS


def _absolute(source: str) -> Path:
    """Its own name, as a link has one, in a folder of one name."""
    path = Path(source)
    return path.parent.resolve() / path.name


def _beside(photo: Path) -> str:
    suffix = photo.suffix.lower() if photo.suffix.lower() in FILE_FORMATS else ".jpg"
    return f"{photo.stem}-color{suffix}"


def _colour_in(output: Path) -> bytes:
    done = Workspace(output / STATE_NAME).current("colorize", "archive") / "done"
    facts = [one for record in each_item(done) for one in record.outputs] if done.exists() else []
    if not facts:
        raise NoInputError(
            "Expected the photo to be coloured, it was not: what is said above tells why."
        )
    return (output / facts[0].output).read_bytes()
