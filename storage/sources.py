"""Where photos come from: a folder, a zip, a tar, or any fsspec URL of one.

A path inside an archive is written `photos.tar/a/1.jpg`. Links are not followed; archives are read
member by member and never extracted.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable
from pathlib import Path, PurePosixPath
from typing import Any, Protocol

import fsspec

from storage.archives import Archive, is_archive_name, open_archive
from storage.entries import Listing, SourceFile
from storage.errors import UsageError
from storage.fingerprint import hash_value

_IGNORED_NAMES = {"thumbs.db", "desktop.ini"}
_COMPANION_SUFFIXES = frozenset(
    [
        ".txt",
        ".csv",
        ".tsv",
        ".json",
        ".jsonl",
        ".xml",
        ".xmp",
        ".md",
        ".rst",
        ".html",
        ".htm",
        ".py",
        ".toml",
        ".yaml",
        ".yml",
        ".ini",
        ".log",
        ".tex",
        ".bib",
        ".url",
    ]
)
_LOOKED_AT = 1 << 16
_LIST_SUFFIXES = (".txt", ".csv")


class _Files(Protocol):
    """Files below a root, on a local disk or behind a URL."""

    def all(self) -> list[SourceFile]:
        """All of them, sorted by path."""
        ...

    def top(self) -> list[SourceFile]:
        """Those directly in the root."""
        ...

    def read(self, path: str) -> bytes:
        """Raises NotADirectoryError or FileNotFoundError for a path through an archive."""
        ...

    def open(self, path: str) -> Any:
        """A seekable binary file."""
        ...


class Source:
    """A folder of photos, or one archive in it. Keep it open to read members in order."""

    def __init__(self, files: _Files, archive: str = "") -> None:
        self._files, self._archive = files, archive
        self._opened: dict[str, Archive] = {}

    def listing(self) -> Listing:
        """All regular files in the order in which reading is fastest; archives are files too.

        Of an archive: its members. Hidden files, Thumbs.db and desktop.ini are left out.
        """
        if self._archive:
            return self.archive_listing(self._archive)
        return Listing(self._files.all())

    def archive_listing(self, path: str) -> Listing:
        """The members of one archive of the source, under `path/`."""
        listing = self._open(path).listing().below(path)
        return Listing([f for f in listing.files if not _ignored(f.path)], listing.problems)

    def beside(self) -> list[SourceFile]:
        """List files (.txt, .csv) that lie beside the archive, where the source is one."""
        if not self._archive:
            return []
        return [file for file in self._files.top() if file.path.endswith(_LIST_SUFFIXES)]

    def digest(self) -> str:
        """A hash of names, sizes and times: it changes when the source must be read again.

        What is read is then identified by content, so a mere new time changes nothing further on.
        """
        if self._archive:
            files = [file for file in self._files.top() if file.path == self._archive]
            return listing_digest([*files, *self.beside()])
        return listing_digest(self._files.all())

    def read(self, path: str, offset: int = -1, size: int = -1) -> bytes:
        """One file, or an archive's member as listed. Raises PhotoError or OSError."""
        try:
            return self._files.read(path)
        except (NotADirectoryError, FileNotFoundError):
            archive = next((p for p in _parents(path) if is_archive_name(p)), None)
            if archive is None:
                raise
            return self._open(archive).read(path[len(archive) + 1 :], offset, size)

    def _open(self, path: str) -> Archive:
        if path not in self._opened:
            self._opened[path] = open_archive(path, lambda: self._files.open(path))
        return self._opened[path]


class _LocalFiles:
    def __init__(self, root: Path) -> None:
        self._root = root

    def all(self) -> list[SourceFile]:
        return list_files(self._root)

    def top(self) -> list[SourceFile]:
        paths = sorted(path for path in self._root.iterdir() if path.is_file())
        named = [path for path in paths if not _ignored(path.name)]
        return [_source_file(path.name, path.stat()) for path in named]  # a link: what it names

    def read(self, path: str) -> bytes:
        return (self._root / path).read_bytes()

    def open(self, path: str) -> Any:
        return (self._root / path).open("rb")


class _RemoteFiles:
    def __init__(self, fs: Any, root: str) -> None:
        self._fs, self._root = fs, root.rstrip("/")

    def all(self) -> list[SourceFile]:
        return self._source_files(self._fs.find(self._root, detail=True).values())

    def top(self) -> list[SourceFile]:
        return self._source_files(self._fs.ls(self._root, detail=True))

    def read(self, path: str) -> bytes:
        content: bytes = self._fs.cat_file(f"{self._root}/{path}")
        return content

    def open(self, path: str) -> Any:
        return self._fs.open(f"{self._root}/{path}", "rb")

    def _source_files(self, found: Iterable[dict[str, Any]]) -> list[SourceFile]:
        files = []
        for facts in found:
            path = facts["name"][len(self._root) :].lstrip("/")
            if facts.get("type", "file") == "file" and not _ignored(path):
                files.append(SourceFile(path, int(facts.get("size") or 0), _remote_stamp(facts)))
        return sorted(files, key=lambda file: file.path)


def open_source(location: str) -> Source:
    """The source at a local path or fsspec URL.

    Raises UsageError when nothing is there, or something that is neither folder nor archive.
    """
    if is_url(location):
        return _open_remote(location)
    path = Path(location)
    if path.is_dir():
        return Source(_LocalFiles(path))
    if not path.is_file():
        raise UsageError(
            f"Expected a folder or archive of photos, found none at {path}. Check the path."
        )
    _require_archive(path.name, location)
    return Source(_LocalFiles(path.parent), path.name)


def is_url(location: str) -> bool:
    """Whether a location is an fsspec URL rather than a local path."""
    return "://" in location


def check_folder(folder: Path, purpose: str) -> Path:
    """The folder, absolute. Raises UsageError when it is not there."""
    if not folder.is_dir():
        raise UsageError(f"Expected a folder of {purpose}, found none at {folder}. Check the path.")
    return folder.resolve()


def list_files(folder: Path) -> list[SourceFile]:
    """All regular files below a folder, sorted by path.

    Hidden files, `._*`, Thumbs.db and desktop.ini are left out; links, pipes and devices too.
    Raises UsageError for a folder in it that cannot be listed.
    """
    found: list[SourceFile] = []
    for parent, folders, names in os.walk(folder, onerror=_refuse):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in names:
            path = Path(parent, name)
            if not _ignored(name) and stat.S_ISREG((status := path.lstat()).st_mode):
                found.append(_source_file(path.relative_to(folder).as_posix(), status))
    return sorted(found, key=lambda file: file.path)


def listing_digest(files: Iterable[SourceFile]) -> str:
    """A hash of names, sizes and stamps of files."""
    return hash_value([[file.path, file.bytes, file.stamp] for file in files])


def is_companion(path: str, content: bytes) -> bool:
    """Whether a file beside photos is plainly none: text, and named so, as a.txt or README is."""
    if not has_companion_name(path):
        return False
    start = content[:_LOOKED_AT]
    try:
        text = start.decode("utf-8")
    except UnicodeDecodeError as error:
        text = "" if error.start < len(start) - 3 else start[: error.start].decode("utf-8")
        if not text:
            return False
    return "\0" not in text


def has_companion_name(path: str) -> bool:
    """Whether a file is named as text that lies beside photos, as a.txt or README is."""
    name = PurePosixPath(path)
    return name.suffix.lower() in _COMPANION_SUFFIXES or (not name.suffix and name.name.isupper())


def _refuse(error: OSError) -> None:
    raise UsageError(
        f"Expected to list {error.filename}, got: {error.strerror}. Check its permissions."
    ) from error


def _source_file(relative: str, status: os.stat_result) -> SourceFile:
    return SourceFile(relative, status.st_size, str(status.st_mtime_ns))


def _ignored(path: str) -> bool:
    parts = path.split("/")
    return any(part.startswith(".") for part in parts) or parts[-1].lower() in _IGNORED_NAMES


def _parents(path: str) -> list[str]:
    """`a/b.tar/c` → a, a/b.tar: the folders or archives that a path goes through."""
    return [str(parent) for parent in reversed(PurePosixPath(path).parents)][1:]


def _remote_stamp(facts: dict[str, Any]) -> str:
    known = ("ETag", "etag", "md5", "checksum", "mtime", "LastModified", "last_modified", "created")
    return str(next((facts[key] for key in known if facts.get(key) is not None), ""))


def _open_remote(url: str) -> Source:
    try:
        fs, root = fsspec.core.url_to_fs(url)
        is_folder = fs.isdir(root)
        if not is_folder and not fs.exists(root):
            raise UsageError(f"Expected photos at {url}, found nothing. Check the address.")
    except (ImportError, ValueError) as error:  # an unknown scheme, or one whose package is missing
        raise UsageError(f"Expected a URL that fsspec can open, got {url}: {error}") from error
    if is_folder:
        return Source(_RemoteFiles(fs, root))
    folder, _, name = root.rpartition("/")  # not by pathlib, which takes https:// for https:/
    _require_archive(name, url)
    return Source(_RemoteFiles(fs, folder), name)


def _require_archive(name: str, location: str) -> None:
    if not is_archive_name(name):
        raise UsageError(
            f"Expected a folder, .zip or .tar (.gz, .bz2, .xz) of photos, got the file {location}."
        )
