"""What differs in a source from what ingest saw of it last, asked by `plan` and by `run` alike.

Names, sizes and times are compared. A file that has another time but the same size is read, as long
as all such files are small together: with the same bytes nothing has changed, and ingest is not run.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from storage.entries import SourceFile
from storage.known_hashes import KnownHashes
from storage.ledger import read_json
from storage.manifest import read_rows
from storage.sources import Source, listing_digest
from storage.workspace import Workspace
from tasks.jobs.items import printable
from tasks.verification import is_same_place, read_success

LISTING_NAME = "listing.parquet"
LISTING_COLUMNS = ("path", "bytes", "stamp", "sha256")
"""Of every file whose stamp counts; sha256 is empty where nobody knows it, as of an archive."""
MOST_BYTES = 1 << 30
"""What `plan` reads at most of files that have another time: some seconds."""
_MOST_BESIDE = 256 << 20
"""What is hashed at most when a listing is kept: text and other files that are no photos."""
_WORDS = {"new": "new", "gone": "gone", "changed": "changed", "unknown": "with another time"}
_LISTING = "listing"


class SourceNews:
    """The digest of a source for ingest's fingerprint, and why it is not what it was.

    A plain class, so that Prefect does not look inside.
    """

    def __init__(
        self,
        digest: str,
        files: list[SourceFile],
        reasons: tuple[str, ...] = (),
        *,
        is_open: bool = False,
    ) -> None:
        self.digest, self.files = digest, files
        self.reasons = reasons
        """In words; none where nothing changed, or nothing is known from before."""
        self.is_open = is_open
        """Whether nothing is known to have changed but some files must be looked at to tell."""


def source_news(
    source: Source, place: str, workspace: Workspace, key: str, hashes: KnownHashes
) -> SourceNews:
    """Compare a source with the listing that the current ingest of a key has kept.

    place: where the source lies. Where that is another place than before, no time is trusted.
    """
    files = source.stamped()
    digest = listing_digest(files)
    folder = workspace.current("ingest", key)
    recorded, success = read_json(folder / "stage.json"), read_success(folder)
    if recorded is None or success is None:
        return SourceNews(digest, files)
    before = str(recorded["parts"]["inputs"].get(_LISTING))
    is_moved = not is_same_place(workspace, success, place)
    if before == digest and not is_moved:
        return SourceNews(digest, files)
    if not (folder / LISTING_NAME).exists():
        return SourceNews(digest, files, ("photos changed",))
    rows = {row["path"]: row for row in read_rows(folder / LISTING_NAME)}
    found = _compare(source, files, rows, hashes, is_moved=is_moved)
    if not found:
        return SourceNews(before, files)
    is_open = set(found) == {"unknown"}
    if before == digest:  # elsewhere, with the same names, sizes and times, but not the same files
        digest = listing_digest([*files, SourceFile("", 0, place)])
    return SourceNews(digest, files, _reasons(found, is_open), is_open=is_open)


def listing_rows(
    source: Source, files: Iterable[SourceFile], seen: Iterable[Mapping[str, Any]], hashes: Any
) -> list[dict[str, Any]]:
    """The listing to keep, as rows of LISTING_COLUMNS. seen: what ingest knows of the photos."""
    known = {(row["path"], row["stamp"]): row["sha256"] for row in seen}
    rows, left = [], _MOST_BESIDE
    for file in files:
        path = printable(file.path)
        digest = known.get((path, file.stamp)) or ""
        local = None if digest or file.bytes > left else source.local(file.path)
        if local is not None:
            left -= file.bytes
            digest = _read(local, file, hashes)
        rows.append({"path": path, "bytes": file.bytes, "stamp": file.stamp, "sha256": digest})
    return rows


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
        row = rows.pop(printable(file.path), None)
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


def _reasons(found: Counter[str], is_open: bool) -> tuple[str, ...]:
    text = ", ".join(f"{found[kind]} {word}" for kind, word in _WORDS.items() if found[kind])
    num_files = sum(found.values())
    return (f"{text}: to be looked at" if is_open else f"files: {text}",) if num_files else ()
