"""What is known of files' hashes by their stamps, so that what did not change is not read again.

A file is recognised by size, both times and inode, wherever it lies: what is moved with its folder
stays known. As in git's index, an entry counts only where the file's times were older than the
entry by more than a tick of any clock: a file that is written twice within a tick has one stamp and
two contents. Bytes that change without a stamp (a bad disk, stamps put back by a tool below the file
system) are found by `verify` alone, which reads everything.
"""

from __future__ import annotations

import hashlib
import os
import struct
import time
from collections.abc import Callable
from pathlib import Path

from storage.errors import OutputError
from storage.records.fingerprint import hash_file
from storage.records.ledger import write_bytes

_STAMP = struct.Struct("<qqqQ")
"""Size, mtime in ns, ctime in ns, inode."""
_HEAD = b"chromaflow hashes 1\n"
_TICK_NS = 2_000_000_000
"""No clock of a file system in use is coarser (FAT's is 2 s); a little clock skew of a server too."""
_SLACK = 10_000
"""Entries that may be kept without having been asked for."""


class KnownHashes:
    """A memory of file hashes, kept in one file. Threads may share it.

    path: of the file; None keeps nothing beyond this process. A file that is missing, cut short, of
    another version or damaged is as good as empty.
    """

    def __init__(self, path: Path | None = None) -> None:
        self._path = path
        self._entries = _read(path) if path is not None else {}
        self._asked: set[bytes] = set()
        self._is_new = False

    def hash(self, path: Path) -> str:
        """SHA-256 of a file in hex, read unless it is known. Raises OSError."""
        return self._known(path, lambda stamp: stamp, lambda: hash_file(path))

    def derived(self, path: Path, kind: str, make: Callable[[], str]) -> str:
        """What `make` derives from a file's content, 32 bytes in hex, made unless it is known.

        kind: says what that is, and of which version.
        """
        salt = kind.encode()
        return self._known(path, lambda stamp: hashlib.sha256(salt + stamp).digest(), make)

    def _known(self, path: Path, key_of: Callable[[bytes], bytes], make: Callable[[], str]) -> str:
        status = path.stat()
        stamp = _stamp(status)
        key = key_of(stamp)
        if found := self._find(key):
            return found
        begun = time.time_ns()
        digest = make()
        is_settled = max(status.st_mtime_ns, status.st_ctime_ns) + _TICK_NS <= begun
        if is_settled and _stamp(path.stat()) == stamp:
            self._entries[key] = bytes.fromhex(digest)
            self._asked.add(key)
            self._is_new = True
        return digest

    def recall(self, path: Path) -> str | None:
        """SHA-256 of a file in hex if it is known; the file is not read. Raises OSError."""
        return self._find(_stamp(path.stat()))

    def save(self) -> None:
        """Keep what is known for the next process, atomically, where there is a folder for it.

        Entries that nobody asked for are dropped when they outnumber the others: of files that changed
        or are gone. Where the disk refuses, files are read again next time, no more.
        """
        if self._path is None or not self._is_new or not self._path.parent.is_dir():
            return
        entries = list(self._entries.items())
        if len(entries) > 2 * len(self._asked) + _SLACK:
            entries = [(stamp, digest) for stamp, digest in entries if stamp in self._asked]
        table = b"".join(part for entry in entries for part in entry)
        try:
            write_bytes(self._path, _HEAD + hashlib.sha256(table).digest() + table)
        except OutputError:
            return
        self._is_new = False

    def _find(self, stamp: bytes) -> str | None:
        found = self._entries.get(stamp)
        if found is None:
            return None
        self._asked.add(stamp)
        return found.hex()


def _stamp(status: os.stat_result) -> bytes:
    return _STAMP.pack(status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino)


def _read(path: Path) -> dict[bytes, bytes]:
    try:
        content = path.read_bytes()
    except OSError:
        return {}
    head, table = content[: len(_HEAD) + 32], content[len(_HEAD) + 32 :]
    if head != _HEAD + hashlib.sha256(table).digest():
        return {}
    size = _STAMP.size
    starts = range(0, len(table), size + 32)
    return {table[i : i + size]: table[i + size : i + size + 32] for i in starts}
