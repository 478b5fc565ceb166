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
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

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
_WORDS = 8
"""Of an entry, eight bytes each: stamp and digest."""
_MIX = (0x9E3779B97F4A7C15, 0xC2B2AE3D27D4EB4F, 0x165667B19E3779F9, 0x27D4EB2F165667C5)
"""Odd, so that every bit of a stamp counts in the number that it is looked up by."""
_MASK = (1 << 64) - 1
_MOST_NEW = 1 << 16
"""Entries that wait to be sorted in."""


class KnownHashes:
    """A memory of file hashes, kept in one file. Threads may share it.

    path: of the file; None keeps nothing beyond this process. A file that is missing, cut short, of
    another version or damaged is as good as empty. An entry takes 80 bytes, not an object.
    """

    def __init__(self, path: Path | None = None) -> None:
        self._path = path
        self._table = _Table(_read(path) if path is not None else _no_entries())
        self._new: dict[bytes, bytes] = {}
        self._is_new = False
        self._lock = threading.Lock()

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
            self._add(key, bytes.fromhex(digest))
        return digest

    def recall(self, path: Path) -> str | None:
        """SHA-256 of a file in hex if it is known; the file is not read. Raises OSError."""
        return self.recall_status(path.stat())

    def recall_status(self, status: os.stat_result) -> str | None:
        """As `recall`, of a file that was looked at."""
        return self._find(_stamp(status))

    def recall_all(self, statuses: Sequence[os.stat_result]) -> list[str | None]:
        """As `recall_status`, of many at once, which costs a tenth."""
        keys = [_stamp(status) for status in statuses]
        found = self._table.find_all(keys)
        return [
            digest.hex() if digest is not None else self._find(key)
            for key, digest in zip(keys, found, strict=True)
        ]

    @property
    def count(self) -> int:
        """How many files are known."""
        return len(self._table.entries) + len(self._new)

    def save(self) -> None:
        """Keep what is known for the next process, atomically, where there is a folder for it.

        Entries that nobody asked for are dropped when they outnumber the others: of files that changed
        or are gone. Where the disk refuses, files are read again next time, no more.
        """
        if self._path is None or not self._is_new or not self._path.parent.is_dir():
            return
        with self._lock:
            self._settle()
            table = self._table.kept().tobytes()
        try:
            write_bytes(self._path, _HEAD + hashlib.sha256(table).digest() + table)
        except OutputError:
            return
        self._is_new = False

    def _add(self, key: bytes, digest: bytes) -> None:
        with self._lock:
            self._new[key] = digest
            self._is_new = True
            if len(self._new) >= _MOST_NEW:
                self._settle()

    def _settle(self) -> None:
        """Sort what is new into the table. The lock is held."""
        self._table, self._new = self._table.with_entries(self._new), {}

    def _find(self, key: bytes) -> str | None:
        table, found = (
            self._table,
            self._new.get(key),
        )  # in this order: entries go from one to the other
        found = found or table.find(key) or self._table.find(key)
        return found.hex() if found is not None else None


class _Table:
    """Entries by the number that mixes their stamp."""

    def __init__(self, entries: NDArray[np.uint64], asked: NDArray[np.bool_] | None = None) -> None:
        """entries: uint64 (N, 8). asked: which of them somebody wanted, (N,)."""
        numbers = _mixed(entries[:, :4])
        order = np.argsort(numbers, kind="stable")
        self._numbers, self.entries = numbers[order], entries[order]
        self._asked = np.zeros(len(entries), np.bool_) if asked is None else asked[order]

    def find(self, key: bytes) -> bytes | None:
        """The digest of a stamp."""
        words = _STAMP_WORDS.unpack(key)
        number = sum(word * mix for word, mix in zip(words, _MIX, strict=True)) & _MASK
        place = int(self._numbers.searchsorted(np.uint64(number)))
        while place < len(self._numbers) and self._numbers[place] == number:
            entry = self.entries[place].tobytes()
            if entry[: _STAMP.size] == key:
                self._asked[place] = True
                return bytes(entry[_STAMP.size :])
            place += 1
        return None

    def find_all(self, keys: Sequence[bytes]) -> list[bytes | None]:
        """As `find`, of each stamp; where two have one number, perhaps not."""
        stamps = np.frombuffer(b"".join(keys), "<u8").reshape(-1, 4)
        if not len(self.entries) or not len(stamps):
            return [None] * len(keys)
        places = self._numbers.searchsorted(_mixed(stamps))
        places[places == len(self.entries)] = 0
        entries = self.entries[places]
        is_it = (entries[:, :4] == stamps).all(axis=1)
        self._asked[places[is_it]] = True
        digests = np.ascontiguousarray(entries[:, 4:]).tobytes()
        return [
            digests[32 * number : 32 * number + 32] if there else None
            for number, there in enumerate(is_it.tolist())
        ]

    def with_entries(self, new: dict[bytes, bytes]) -> _Table:
        """A table of these as well, which are asked for."""
        if not new:
            return self
        added = _as_entries(b"".join(part for entry in new.items() for part in entry))
        asked = np.concatenate([self._asked, np.ones(len(added), np.bool_)])
        return _Table(np.concatenate([self.entries, added]), asked)

    def kept(self) -> NDArray[np.uint64]:
        """All entries; those alone that were asked for where the others outnumber them."""
        is_many = len(self.entries) > 2 * int(self._asked.sum()) + _SLACK
        return self.entries[self._asked] if is_many else self.entries


def _mixed(stamps_N4: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """The number that each stamp is looked up by."""
    mixed: NDArray[np.uint64] = (stamps_N4 * np.array(_MIX, np.uint64)).sum(axis=1, dtype=np.uint64)
    return mixed


_STAMP_WORDS = struct.Struct("<4Q")


def _stamp(status: os.stat_result) -> bytes:
    return _STAMP.pack(status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino)


def _as_entries(table: bytes) -> NDArray[np.uint64]:
    return np.frombuffer(table, "<u8").reshape(-1, _WORDS)


def _no_entries() -> NDArray[np.uint64]:
    return np.zeros((0, _WORDS), np.uint64)


def _read(path: Path) -> NDArray[np.uint64]:
    try:
        content = path.read_bytes()
    except OSError:
        return _no_entries()
    head, table = content[: len(_HEAD) + 32], memoryview(content)[len(_HEAD) + 32 :]
    if head != _HEAD + hashlib.sha256(table).digest() or len(table) % (8 * _WORDS):
        return _no_entries()
    return np.frombuffer(table, "<u8").reshape(-1, _WORDS).astype(np.uint64)
