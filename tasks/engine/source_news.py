"""What differs in a source from what ingest saw of it last, asked by `plan` and by `run` alike.

Names, sizes and times are compared. A file that has another time but the same size is read, as long
as all such files are small together: with the same bytes nothing has changed, and ingest is not run.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

from storage.records.known_hashes import KnownHashes
from storage.records.ledger import read_json
from storage.records.names import LISTING_NAME
from storage.records.tables import TEXT, WHOLE, read_rows
from storage.records.workspace import Workspace
from storage.sources.entries import SourceFile
from storage.sources.files import listing_digest
from storage.sources.source import Source
from tasks.engine.verification import is_same_place, read_success

LISTING_COLUMNS = {"path": TEXT, "bytes": WHOLE, "stamp": TEXT, "sha256": TEXT}
"""Of every file whose stamp counts; sha256 is empty where nobody knows it, as of an archive."""
MOST_BYTES = 1 << 30
"""What `plan` reads at most of files that have another time: some seconds."""
_MOST_BESIDE = 256 << 20
"""What is hashed at most when a listing is kept: text and other files that are no photos."""
_WORDS = {"new": "new", "gone": "gone", "changed": "changed", "unknown": "with another time"}


class SourceNews:
    """What a source holds, and what differs from the listing that its current ingest has kept.

    Nothing is listed before it is asked for. A plain class, so that Prefect does not look inside.
    place: where the source lies. Where that is another place than before, no time is trusted.
    """

    def __init__(
        self, source: Source, place: str, workspace: Workspace, key: str, hashes: KnownHashes
    ) -> None:
        self.source, self._place = source, place
        self._folder = workspace.current("ingest", key)
        self._workspace, self._hashes = workspace, hashes

    @cached_property
    def files(self) -> list[SourceFile]:
        """The files whose names, sizes and times count."""
        return self.source.stamped()

    @property
    def digest(self) -> str:
        """Of the source, for ingest's fingerprint: what it was, where nothing changed but times."""
        return self._compared[0]

    @property
    def reasons(self) -> tuple[str, ...]:
        """What changed, in words; none where nothing did, or nothing is known from before."""
        found = self._compared[1]
        text = ", ".join(f"{found[kind]} {word}" for kind, word in _WORDS.items() if found[kind])
        return (f"{text}: to be looked at" if self.is_open else f"files: {text}",) if text else ()

    @property
    def is_open(self) -> bool:
        """Whether nothing is known to have changed, but some files must be looked at to tell."""
        return set(self._compared[1]) == {"unknown"}

    @cached_property
    def _compared(self) -> tuple[str, Counter[str]]:
        """The digest, and how many files are new, gone, changed, or of unknown content."""
        digest, nothing = listing_digest(self.files), Counter[str]()
        recorded, success = read_json(self._folder / "stage.json"), read_success(self._folder)
        if recorded is None or success is None or not (self._folder / LISTING_NAME).exists():
            return digest, nothing
        before = str(recorded["parts"]["inputs"].get("listing"))
        is_moved = not is_same_place(self._workspace, success, self._place)
        if before == digest and not is_moved:
            return digest, nothing
        rows = {row["path"]: row for row in read_rows(self._folder / LISTING_NAME)}
        found = _compare(self.source, self.files, rows, self._hashes, is_moved=is_moved)
        if not found:
            return before, nothing
        if before == digest:  # elsewhere, with the same names, sizes and times, but other files
            digest = listing_digest([*self.files, SourceFile("", 0, self._place)])
        return digest, found


def listing_rows(
    source: Source,
    files: Sequence[SourceFile],
    seen: Callable[[], Iterable[Mapping[str, Any]]],
    hashes: Any,
) -> Iterator[dict[str, Any]]:
    """The listing to keep, as rows of LISTING_COLUMNS. seen: gives what ingest knows of the photos."""
    left = _MOST_BESIDE
    for file, digest in zip(files, _known_contents(files, seen), strict=True):
        local = None if digest or file.bytes > left else source.local(file.path)
        if local is not None:
            left -= file.bytes
            digest = _read(local, file, hashes)
        yield {"path": file.path, "bytes": file.bytes, "stamp": file.stamp, "sha256": digest}


def _known_contents(
    files: Sequence[SourceFile], seen: Callable[[], Iterable[Mapping[str, Any]]]
) -> Iterator[str]:
    """The SHA-256 of each file as it was seen, empty where it was not.

    Photos are seen in the order in which their source lists them, so that no table of them is needed; of
    a source that lists them anew in another order one is.
    """
    found: list[bytes] = []
    rows = iter(seen())
    ahead = next(rows, None)
    for file in files:
        digest = ""
        if ahead is not None and ahead["path"] == file.path:
            digest = ahead["sha256"] if ahead["stamp"] == file.stamp else ""
            ahead = next(rows, None)
        found.append(bytes.fromhex(digest))
    if ahead is not None and any(not one for one in found):
        wanted = {file.path: number for number, file in enumerate(files)}
        for row in seen():
            number = wanted.get(row["path"])
            if number is not None and files[number].stamp == row["stamp"]:
                found[number] = bytes.fromhex(row["sha256"])
    return (one.hex() for one in found)


def _compare(
    source: Source,
    files: Iterable[SourceFile],
    rows: dict[str, dict[str, Any]],
    hashes: KnownHashes,
    *,
    is_moved: bool,
) -> Counter[str]:
    """How many files are new, gone, changed, or of unknown content. rows: of before, by path."""
    found: Counter[str] = Counter()
    left = MOST_BYTES
    for file in files:
        row = rows.pop(file.path, None)
        if row is None or row["bytes"] != file.bytes:
            found["new" if row is None else "changed"] += 1
            continue
        if row["stamp"] == file.stamp and not is_moved:
            continue
        local = source.local(file.path) if row["sha256"] else None
        digest = _recall(local, hashes)
        if digest is None and local is not None and file.bytes <= left:
            left -= file.bytes
            digest = _read(local, file, hashes)
        if not digest:
            found["unknown"] += 1
        elif digest != row["sha256"]:
            found["changed"] += 1
    found["gone"] = len(rows)
    return +found


def _recall(path: Path | None, hashes: KnownHashes) -> str | None:
    try:
        return hashes.recall(path) if path is not None else None
    except OSError:
        return None


def _read(path: Path, file: SourceFile, hashes: KnownHashes) -> str:
    """The hash of a file if it is still the one that was listed; empty where it cannot be read."""
    try:
        digest = hashes.hash(path)
        return digest if path.stat().st_size == file.bytes else ""
    except OSError:  # ingest says what is wrong with it
        return ""
