"""A working copy on the local disk and what of it is published at a URL.

The index at the URL is the commit: it names every file with SHA-256 and the service's stamp. Files
are put before the index that names them, and removed after the index that does not. What a run that
died put or had to remove is listed in the index before it begins, so that the next one tidies up.
"""

from __future__ import annotations

import json
import os
import secrets
import threading
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from storage.errors import DamagedError, LockedError
from storage.records.fingerprint import hash_bytes, hash_file
from storage.records.ledger import atomic_path, exclusive, read_json, sync_folder, write_json
from storage.records.names import INDEX_NAME
from storage.remote.folder import Facts, Remote, is_inside
from storage.remote.lock import LEASE_SECONDS, RemoteLock

_LOCK_NAME = ".mirror.lock"
_VERSION = 1
_CONNECTIONS = 8


@dataclass(frozen=True, slots=True)
class Entry:
    """One published file."""

    bytes: int
    sha256: str
    stamp: str
    """Of the service, when it was put."""


@dataclass(slots=True)
class Index:
    """All that is published at a URL."""

    files: dict[str, Entry] = field(default_factory=dict)
    links: dict[str, str] = field(default_factory=dict)
    """Link → the folder it names; both relative to the root."""
    pending: list[str] = field(default_factory=list)
    """Files that are being put or removed."""

    def to_bytes(self) -> bytes:
        """As JSON."""
        files = {path: [e.bytes, e.sha256, e.stamp] for path, e in self.files.items()}
        value = {"version": _VERSION, "files": files, "links": self.links, "pending": self.pending}
        return json.dumps(value, sort_keys=True).encode() + b"\n"

    @classmethod
    def from_bytes(cls, content: bytes | None, url: str) -> Index:
        """From JSON; empty where there is none yet. Raises DamagedError."""
        if content is None:
            return cls()
        try:
            value = json.loads(content)
            if value["version"] != _VERSION:
                raise ValueError(f"version {value['version']}")
            files = {path: Entry(*entry) for path, entry in value["files"].items()}
            links, pending = value["links"], value["pending"]
            for path in (*files, *links, *links.values(), *pending):
                if not is_inside(path):
                    raise ValueError(f"path {path!r}")
            return cls(files, links, pending)
        except (ValueError, KeyError, TypeError) as error:
            raise DamagedError(
                f"Expected version {_VERSION} of an index at {url}/{INDEX_NAME}, got: {error}. "
                "Update Chromaflow; or remove it, and a run publishes everything again."
            ) from error


class Mirror:
    """A working copy and its URL. history: below this path only what a link names is fetched."""

    def __init__(
        self, local: Path, url: str, history: str = "", lease: float = LEASE_SECONDS
    ) -> None:
        self.local, self.url = local, url
        self._remote, self._history = Remote(url), history
        self._index = Index()
        self._lost: set[str] = set()
        """Published files that are not at the URL any more as they were put."""
        self._known: dict[str, list[Any]] = {}
        """Published files of the working copy: bytes, mtime in ns, SHA-256."""
        self._lease = lease
        self._lock: RemoteLock | None = None
        self._publishing = threading.Lock()

    @contextmanager
    def held(self) -> Iterator[int]:
        """Be the only one who publishes at the URL; the working copy is brought up to date first.

        Gives the number of files fetched. Raises LockedError, RemoteError, DamagedError.
        """
        with self._working_copy():
            self._lock = RemoteLock(self._remote, self.local / _LOCK_NAME, self._lease)
            self._lock.acquire()
            try:
                yield self._fetch(tidy=True)
            finally:
                self._lock.release()
                self._lock = None

    def fetch(self) -> int:
        """Bring the working copy up to date, to look only. Returns the number of files fetched."""
        with self._working_copy():
            return self._fetch(tidy=False)

    def published(self, prefix: str) -> set[str]:
        """The published files whose paths begin so."""
        return {path for path in self._index.files if path.startswith(prefix)}

    def publish(
        self, paths: Iterable[str], links: Mapping[str, str], gone: Iterable[str] = ()
    ) -> int:
        """Put files that are not at the URL as they are here, and links, and remove what is gone.

        Returns the number of files put. Raises LockedError where another run took the URL over.
        """
        with self._publishing:
            hashes = {path: self._hash(path) for path in sorted(set(paths))}
            changed = [path for path, digest in hashes.items() if self._differs(path, digest)]
            gone = sorted(set(gone) & self._index.files.keys())
            if not changed and not gone and links.items() <= self._index.links.items():
                return 0
            if changed or gone:
                self._index.pending = [*changed, *gone]
                self._commit()
            with ThreadPoolExecutor(_CONNECTIONS) as pool:
                for path, facts in zip(changed, pool.map(self._put, changed), strict=True):
                    self._index.files[path] = Entry(facts.bytes, hashes[path], facts.stamp)
                    self._lost.discard(path)
            for path in gone:
                del self._index.files[path]
            self._index.links |= links
            self._index.pending = gone
            self._commit()
            for path in gone:
                self._remote.remove(path)
            return len(changed)

    @contextmanager
    def _working_copy(self) -> Iterator[None]:
        self.local.mkdir(mode=0o700, parents=True, exist_ok=True)
        with exclusive(self.local / _LOCK_NAME, f"the working copy {self.local}"):
            yield

    def _fetch(self, *, tidy: bool) -> int:
        content = self._remote.read(INDEX_NAME)
        index = self._index = Index.from_bytes(content, self._remote.url)
        listed = self._remote.files()
        memo = read_json(self.local / INDEX_NAME) or {}
        self._known = memo.get("files", {})
        is_ours = memo.get("seen") == hash_bytes(content or b"")
        """Nobody else published since: what differs here is newer."""
        if tidy:
            for path in (set(index.pending) & listed.keys()) - index.files.keys():
                self._remote.remove(path)
        self._lost = {
            path
            for path, entry in index.files.items()
            if listed.get(path) != Facts(entry.bytes, entry.stamp)
        }
        wanted = [path for path in index.files if self._is_wanted(path) and path not in self._lost]
        with ThreadPoolExecutor(_CONNECTIONS) as pool:
            num_fetched = sum(pool.map(lambda path: self._bring(path, keep=is_ours), wanted))
        if content is None and self._known:
            is_ours = True  # the index is lost, not the files: they are put again from here
        if not is_ours:
            for path in self._known.keys() - index.files.keys():  # another run removed them
                (self.local / path).unlink(missing_ok=True)
                del self._known[path]
            for link, target in index.links.items():
                _set_link(self.local / link, self.local / target)
        self._remember(content or b"")
        return num_fetched

    def _is_wanted(self, path: str) -> bool:
        if not self._history or not path.startswith(self._history):
            return True
        return any(path.startswith(f"{target}/") for target in self._index.links.values())

    def _bring(self, path: str, *, keep: bool) -> bool:
        """Download one file unless it is here. keep: one that differs is newer. Whether it did."""
        local, entry = self.local / path, self._index.files[path]
        if local.is_file() and (keep or self._hash(path) == entry.sha256):
            return False
        try:
            with atomic_path(local) as temporary:
                self._remote.get(path, temporary)
                if hash_file(temporary) != entry.sha256:
                    raise DamagedError(f"Expected {path} as it was put, got other bytes.")
        except DamagedError:
            self._lost.add(path)  # whoever needs it makes it again
            return False
        self._note(path, entry.sha256)
        return True

    def _differs(self, path: str, digest: str) -> bool:
        entry = self._index.files.get(path)
        return entry is None or entry.sha256 != digest or path in self._lost

    def _put(self, path: str) -> Facts:
        return self._remote.put(self.local / path, path)

    def _commit(self) -> None:
        if self._lock is None:
            raise LockedError("Expected to hold the lock of the URL to publish there, got none.")
        self._lock.check()
        content = self._index.to_bytes()
        self._remote.write(INDEX_NAME, content)
        self._remember(content)

    def _remember(self, index: bytes) -> None:
        files = {path: known for path, known in self._known.items() if path in self._index.files}
        write_json(self.local / INDEX_NAME, {"seen": hash_bytes(index), "files": files})

    def _hash(self, path: str) -> str:
        """SHA-256 of a local file; one that was hashed before is so only where size or time changed."""
        status = (self.local / path).stat()
        known = self._known.get(path)
        if known and known[:2] == [status.st_size, status.st_mtime_ns]:
            return str(known[2])
        digest = hash_file(self.local / path)
        self._note(path, digest)
        return digest

    def _note(self, path: str, digest: str) -> None:
        status = (self.local / path).stat()
        self._known[path] = [status.st_size, status.st_mtime_ns, digest]


def _set_link(link: Path, target: Path) -> None:
    """Point a symlink at a folder, atomically."""
    link.parent.mkdir(parents=True, exist_ok=True)
    temporary = link.with_name(f".{secrets.token_hex(8)}.partial")
    temporary.symlink_to(os.path.relpath(target, link.parent))
    temporary.replace(link)
    sync_folder(link.parent)
