"""A folder behind an fsspec URL: list, get, put, remove, create if absent; errors in our words."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Mapping
from copy import copy
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import urlsplit

from storage.errors import UsageError
from storage.reading import RefusedError, as_os_errors, reaching, refusals, told
from storage.records.ledger import atomic_path, read_json, write_json

_TIMES = ("LastModified", "last_modified", "mtime", "created")
_STAMPS = ("ETag", "etag", "md5", "checksum", *_TIMES)
_STAMP_NAME = ".stamps.json"


@dataclass(frozen=True, slots=True)
class Facts:
    """What a listing says of one file."""

    bytes: int
    stamp: str
    """It changes when the file is written again."""
    written: float = field(default=0.0, compare=False)
    """When, by the service's clock, seconds since 1970; 0 where it does not say."""
    kind: str = field(default="file", compare=False)
    """As fsspec says it: file, directory, link, other."""


class Remote:
    """A folder of an object store, or of any file system that fsspec knows."""

    def __init__(self, url: str) -> None:
        self.url = url.rstrip("/")
        import fsspec  # takes 0.1 s, and most runs stay on this machine

        options = {"auto_mkdir": True} if urlsplit(url).scheme in ("file", "local") else {}
        with reaching(url):
            self._fs, root = fsspec.core.url_to_fs(self.url, **options)
        self._root = root.rstrip("/")

    def files(self) -> dict[str, Facts]:
        """All files by path, as they are now."""
        with reaching(self.url):
            self._fs.invalidate_cache()
            found = self._fs.find(self._root, detail=True)
        return self._by_path(found.values())

    def top(self) -> dict[str, Facts]:
        """What lies directly in the folder, folders too, by path."""
        with reaching(self.url):
            self._fs.invalidate_cache()
            return self._by_path(self._fs.ls(self._root, detail=True))

    def facts(self, path: str) -> Facts | None:
        """What is known of one file, None where there is none."""
        with reaching(self.url):
            self._fs.invalidate_cache()
            try:
                return _facts(self._fs.info(self._at(path)))
            except FileNotFoundError:
                return None

    def names(self, folder: str) -> list[str]:
        """Names of the files directly in a folder, sorted; none where there is no folder."""
        with reaching(self.url):
            self._fs.invalidate_cache()
            try:
                found = self._fs.ls(self._at(folder), detail=False)
            except FileNotFoundError:
                return []
        return sorted(path.rstrip("/").rpartition("/")[2] for path in found)

    def content(self, path: str) -> bytes:
        """A file, as a local one is read: raises OSError, FileNotFoundError where there is none."""
        with as_os_errors():
            content: bytes = self._fs.cat_file(self._at(path))
        return content

    def open(self, path: str) -> Any:
        """A file to read piece by piece; what refuses it raises as its library does."""
        return self._fs.open(self._at(path), "rb")

    def is_folder(self) -> bool:
        """Whether the URL names a folder that is there."""
        with reaching(self.url):
            return bool(self._fs.isdir(self._root))

    def is_there(self) -> bool:
        """Whether the URL names anything. Raises RemoteError where the service does not answer."""
        with reaching(self.url):
            if self._fs.exists(self._root):
                return True
            try:  # asked again for the cause: to some, a service that does not answer holds nothing
                self._fs.info(self._root)
            except FileNotFoundError as error:
                if isinstance(error.__cause__, refusals()) and not _says_not_found(error.__cause__):
                    raise RefusedError(told(error.__cause__)) from error
                return False
        return True

    def folder_and_name(self) -> tuple[Remote, str]:
        """The folder that the URL's file lies in, and its name there."""
        folder, _, name = self._root.rpartition(
            "/"
        )  # not pathlib's, which takes https:// for https:/
        around = copy(self)
        around._root = folder
        return around, name

    def read(self, path: str) -> bytes | None:
        """A small file, None where there is none."""
        with reaching(self.url):
            try:
                content: bytes = self._fs.cat_file(self._at(path))
            except FileNotFoundError:
                return None
        return content

    def write(self, path: str, content: bytes) -> None:
        """Write a small file; an object store shows the old or the new one, never a part."""
        with reaching(self.url):
            self._fs.pipe_file(self._at(path), content)

    def create(self, path: str, content: bytes) -> bool:
        """Write a small file where none is, by the service's conditional put. Whether it did.

        content: must be unlike anybody else's, since an answer that got lost is told by it.
        """
        with reaching(self.url):
            try:
                self._fs.pipe_file(self._at(path), content, mode="create")
            except OSError:
                found = self.read(path)
                if found is None:
                    raise
                return found == content
        return self.read(path) == content

    def get(self, path: str, target: Path) -> None:
        """Download a file, whatever lies at `target`."""
        target.parent.mkdir(parents=True, exist_ok=True)
        with reaching(self.url):
            self._fs.get_file(self._at(path), str(target))

    def put(self, source: Path, path: str) -> Facts:
        """Upload a file."""
        with reaching(self.url):
            self._fs.put_file(str(source), self._at(path))
            self._fs.invalidate_cache()
            return _facts(self._fs.info(self._at(path)))

    def remove(self, path: str) -> None:
        """Remove a file; it may be gone already."""
        with reaching(self.url):
            try:
                self._fs.rm_file(self._at(path))
            except FileNotFoundError:
                return

    def modified(self, path: str) -> datetime | None:
        """When a file was written by the service's clock, None where it is gone."""
        with reaching(self.url):
            self._fs.invalidate_cache()
            try:
                written: datetime = self._fs.modified(self._at(path))
            except FileNotFoundError:
                return None
        return written

    def root(self) -> Path:
        """The folder as its service names it, for messages."""
        return Path(self._root)

    def _at(self, path: str) -> str:
        return f"{self._root}/{path}"

    def _by_path(self, found: Iterable[dict[str, Any]]) -> dict[str, Facts]:
        start = len(self._root)
        return {facts["name"][start:].lstrip("/"): _facts(facts) for facts in found}


def is_inside(path: str) -> bool:
    """Whether a path that a service names stays below the folder that it is written to."""
    pure = PurePosixPath(path)
    return bool(path) and not pure.is_absolute() and ".." not in pure.parts


def working_copy(scratch: Path, url: str) -> Path:
    """Where the working copy of a URL lies below `scratch`: the same name on every machine."""
    url = url.rstrip("/")
    return scratch / f"{url.rpartition('/')[2]}-{hashlib.sha256(url.encode()).hexdigest()[:12]}"


def fetch_file(url: str, scratch: Path) -> Path:
    """A file behind a URL as a local one, downloaded where it is new or was written again.

    Files of one folder come to lie beside each other.
    Raises UsageError where there is none, RemoteError.
    """
    folder, _, name = url.rpartition("/")
    remote, target = Remote(folder), working_copy(scratch, folder)
    facts = remote.facts(name)
    _fetch(remote, {name: facts} if facts else {}, target, url)
    return target / name


def fetch_folder(url: str, scratch: Path) -> Path:
    """A folder behind a URL as a local one; as `fetch_file`."""
    remote, target = Remote(url), working_copy(scratch, url)
    _fetch(remote, remote.files(), target, url)
    return target


def _fetch(remote: Remote, listed: Mapping[str, Facts], target: Path, url: str) -> None:
    if not listed:
        raise UsageError(f"Expected a file or folder at {url}, found none. Check the address.")
    if outside := [path for path in listed if not is_inside(path)]:
        raise UsageError(f"Expected names inside {url}, got {outside[0]!r}. Rename it there.")
    known = read_json(target / _STAMP_NAME) or {}
    for path, facts in listed.items():
        stamp = f"{facts.bytes} {facts.stamp}"
        if known.get(path) != stamp or not (target / path).is_file():
            with atomic_path(target / path) as temporary:
                remote.get(path, temporary)
                os.utime(temporary, (facts.written, facts.written))  # the same on every machine
            known[path] = stamp
    write_json(target / _STAMP_NAME, known)


def _says_not_found(error: BaseException | None) -> bool:
    return isinstance(error, FileNotFoundError) or getattr(error, "status", None) in (404, 410)


def _facts(facts: dict[str, Any]) -> Facts:
    known = (facts.get(name) for name in _STAMPS)
    stamp = next((value for value in known if value is not None), "")
    times = (facts.get(name) for name in _TIMES)
    time = next((value for value in times if value is not None), 0.0)
    written = time.timestamp() if isinstance(time, datetime) else float(time)
    size, kind = int(facts.get("size") or 0), facts.get("type", "file")
    return Facts(size, str(stamp).strip('"'), written, kind)
