"""Colour copies of photos that left an inbox.

`colorize` mirrors its archive, an inbox keeps what it made. Before a run, copies that it would remove
or write over are linked into a folder of the state; after it they are linked back. What a run that
died left there, the next look puts back.
"""

from __future__ import annotations

import glob
import os
from collections.abc import Iterable, Iterator, Set
from contextlib import contextmanager
from pathlib import Path, PurePosixPath

from storage.errors import UsageError
from storage.records.fingerprint import hash_file
from storage.records.ledger import link_or_copy
from storage.records.names import MANIFEST_NAME, STATE_NAME
from storage.records.outputs import output_names
from storage.records.tables import read_rows
from storage.records.workspace import Workspace
from storage.sources.locations import is_url
from tasks.graph import ARCHIVE

_KEPT, _COLOR = "kept", ".color"
_MARK_LENGTH = 8


def own_output(inbox: str) -> str:
    """The folder beside an inbox that is its own."""
    return f"{Path(inbox).absolute()}-colour"


def inbox_output(output: str) -> Path:
    """The folder that an inbox is coloured into; what a run that died set aside is back in it.

    Raises UsageError for a URL, where removed photos would take their colour copies along;
    LockedError where another run works on the output.
    """
    if is_url(output):
        raise UsageError(
            f"Expected a folder as the output of an inbox, got {output}. Name a folder; for a URL "
            "run `chromaflow colorize` on the inbox, which mirrors it."
        )
    folder = Path(output)
    if _kept(folder).is_dir():
        with _workspace(folder).lock():
            _put_back(folder)
    return folder


@contextmanager
def kept_copies(output: Path, new: Iterable[str], listed: Iterable[str]) -> Iterator[None]:
    """Keep the colour copies of photos that a run on `output` does not see any more, or sees anew.

    The caller holds the output's workspace. new: paths that were not there, or differed, when the
    inbox was last coloured. listed: all that the run sees. The copy of another photo of the same name
    gets `~` and eight digits of its SHA-256.
    """
    _put_back(output)
    _set_aside(output, set(new), set(listed))
    try:
        yield
    except BaseException as error:
        try:
            _put_back(output)
        except OSError as problem:
            error.add_note(f"Colour copies wait in {_kept(output)} for the next look: {problem}")
        raise
    _put_back(output)


def _put_back(output: Path) -> None:
    """Link what was set aside to where it was."""
    kept = _kept(output)
    for copy in sorted(path for path in kept.rglob("*") if path.is_file()):
        target = output / copy.relative_to(kept)
        if target.exists() and (digest := hash_file(copy)) != hash_file(target):
            target = target.with_name(_marked(target.name, digest[:_MARK_LENGTH]))
        if not target.exists():
            link_or_copy(copy, target)
        copy.unlink()
    for folder, _, _ in os.walk(kept, topdown=False):
        Path(folder).rmdir()


def _set_aside(output: Path, new: set[str], listed: set[str]) -> None:
    manifest = _workspace(output).current("ingest", ARCHIVE) / MANIFEST_NAME
    before = [str(row["path"]) for row in read_rows(manifest)] if manifest.exists() else []
    names = output_names(before) | {path: f"{path}{_COLOR}" for path in new - set(before)}
    known = set(names.values())
    for path in (set(before) - listed) | new:
        name = PurePosixPath(names[path])
        for copy in (output / name.parent).glob(f"{glob.escape(name.name)}.*"):
            below = copy.relative_to(output)
            if _owner(below.as_posix(), known) == names[path]:
                link_or_copy(copy, _kept(output) / below)


def _owner(copy: str, names: Set[str]) -> str | None:
    """Whose copy it is: that of `a.png.color.png` is `a.png.color.png.color.png`, beside a.png's."""
    starts = (copy[:end] for end in range(len(copy) - 1, 0, -1) if copy[end] == ".")
    return next((start for start in starts if start in names), None)


def _marked(name: str, mark: str) -> str:
    """`a.png.color.png` → `a.png~MARK.color.png`."""
    stem, color, rest = name.rpartition(_COLOR)
    return f"{stem}~{mark}{color}{rest}"


def _kept(output: Path) -> Path:
    return _workspace(output).root / _KEPT


def _workspace(output: Path) -> Workspace:
    return Workspace(output.resolve() / STATE_NAME)
