"""Where a source's files lie: in a folder, by a glob pattern, in a list, in a bag, behind a URL."""

from __future__ import annotations

import os
import posixpath
import stat
from collections.abc import Callable, Iterable, Iterator
from fnmatch import fnmatchcase
from glob import has_magic
from itertools import takewhile
from pathlib import Path
from typing import Any, Protocol

from storage.bags import check_bag
from storage.entries import Listing, Problem, SourceFile, num_left
from storage.errors import UsageError
from storage.fingerprint import hash_value
from storage.ledger import write_bytes

LIST_PREFIX = "list:"
_ROOT_LINE = "# root: "
_IGNORED_NAMES = {"thumbs.db", "desktop.ini"}
_Parts = tuple[str, ...]


class Files(Protocol):
    """Files below a root, on a local disk or behind a URL."""

    def listing(self) -> Listing:
        """All of them, sorted by path, and what was asked for but is none."""
        ...

    def stamped(self) -> list[SourceFile]:
        """The files whose names, sizes and times tell whether the listing changed."""
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

    def folders(self) -> tuple[Path, ...]:
        """The local folders that hold them."""
        ...

    def root(self) -> Path:
        """What their paths start from, absolute; of a bag the bag."""
        ...


class LocalFiles:
    """All files below a folder."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def listing(self) -> Listing:
        return Listing(list_files(self._root))

    def stamped(self) -> list[SourceFile]:
        return self.listing().files

    def top(self) -> list[SourceFile]:
        paths = sorted(path for path in self._root.iterdir() if path.is_file())
        named = [path for path in paths if not is_ignored(path.name)]
        return [_source_file(path.name, path.stat()) for path in named]  # a link: what it names

    def read(self, path: str) -> bytes:
        return (self._root / path).read_bytes()

    def open(self, path: str) -> Any:
        return (self._root / path).open("rb")

    def folders(self) -> tuple[Path, ...]:
        return (self._root.resolve(),)

    def root(self) -> Path:
        return self._root.resolve()


class GlobFiles(LocalFiles):
    """The files that a shell pattern names, below its longest leading folder without magic."""

    def __init__(self, pattern: str, root: Path | None = None) -> None:
        """root: what paths start from instead; the pattern lies below it."""
        parts = Path(pattern).parts
        if root is not None:
            fixed = list(root.parts)
        else:
            fixed = list(takewhile(lambda part: not has_magic(part), parts))
        super().__init__(Path(*fixed))
        self._globs = parts[len(fixed) :] + (("*",) if parts[-1] == "**" else ())
        if not self._root.is_dir() or next(self._found(), None) is None:
            raise UsageError(
                f"Expected photos at {pattern}, found no file that matches. Check the pattern, and "
                "end it in /** to take folders whole."
            )

    def listing(self) -> Listing:
        return Listing(sorted(self._found(), key=lambda file: file.path))

    def _found(self) -> Iterator[SourceFile]:
        files = _walk_files(self._root, self._may_hold)
        return (file for file in files if 0 in num_left(file.path.split("/"), self._globs))

    def _may_hold(self, folder: _Parts) -> bool:
        """Whether a match may lie below a folder, so that others are not walked."""
        before_any = takewhile(lambda glob: glob != "**", self._globs)
        fits = all(fnmatchcase(name, glob) for name, glob in zip(folder, before_any, strict=False))
        return fits and (len(folder) < len(self._globs) or "**" in self._globs)


class ListedFiles(LocalFiles):
    """The files that a list names."""

    def __init__(self, path: Path, root: Path | None = None) -> None:
        """root: what paths start from instead of the list's own root; it lies in that one."""
        self._path, self._given = path, root
        root, names = self._read_list()
        if not names:
            raise _empty_list(str(path))
        super().__init__(root)

    def listing(self) -> Listing:
        root, names = self._read_list()
        real: dict[str, bool] = {}
        listing = Listing([])
        for name in sorted(names):
            folder = posixpath.dirname(name)
            if folder not in real:
                real[folder] = posixpath.realpath(root / folder) == str(root.resolve() / folder)
            found = _look_at(root, name, through_link=not real[folder])
            if isinstance(found, Problem):
                listing.problems.append(found)
            elif not _is_clutter(posixpath.basename(name)):
                listing.files.append(found)
        return listing

    def folders(self) -> tuple[Path, ...]:
        root, names = self._read_list()
        return tuple(sorted({(root / posixpath.dirname(name)).resolve() for name in names}))

    def _read_list(self) -> tuple[Path, list[str]]:
        try:
            root, names = _parse_list(self._path.read_bytes(), self._path.parent)
            if self._given is None or not names:
                return root, names
            own, base = os.path.realpath(root), os.path.realpath(self._given)
            return self._given, [posixpath.relpath(f"{own}/{name}", base) for name in names]
        except OSError as error:
            raise UsageError(
                f"Expected a list of photos at {self._path}, got: {error.strerror}. Check the path."
            ) from error


class BagFiles(LocalFiles):
    """The payload of a BagIt bag, checked before it is first listed."""

    def __init__(self, bag: Path) -> None:
        super().__init__(bag / "data")
        self._bag, self._checked = bag, False

    def listing(self) -> Listing:
        if not self._checked:
            check_bag(self._bag)
            self._checked = True
        return super().listing()

    def stamped(self) -> list[SourceFile]:
        return list_files(self._bag)

    def folders(self) -> tuple[Path, ...]:
        return (self._bag.resolve(),)

    def root(self) -> Path:
        return self._bag.resolve()


class RemoteFiles:
    """All files below a folder of an fsspec file system."""

    def __init__(self, fs: Any, root: str) -> None:
        self._fs, self._root = fs, root.rstrip("/")

    def listing(self) -> Listing:
        return Listing(self._source_files(self._fs.find(self._root, detail=True).values()))

    def stamped(self) -> list[SourceFile]:
        return self.listing().files

    def top(self) -> list[SourceFile]:
        return self._source_files(self._fs.ls(self._root, detail=True))

    def read(self, path: str) -> bytes:
        content: bytes = self._fs.cat_file(f"{self._root}/{path}")
        return content

    def open(self, path: str) -> Any:
        return self._fs.open(f"{self._root}/{path}", "rb")

    def folders(self) -> tuple[Path, ...]:
        return ()

    def root(self) -> Path:
        return Path(self._root)

    def _source_files(self, found: Iterable[dict[str, Any]]) -> list[SourceFile]:
        files = []
        for facts in found:
            path = facts["name"][len(self._root) :].lstrip("/")
            if facts.get("type", "file") == "file" and not is_ignored(path):
                files.append(SourceFile(path, int(facts.get("size") or 0), _remote_stamp(facts)))
        return sorted(files, key=lambda file: file.path)


def list_files(folder: Path) -> list[SourceFile]:
    """All regular files below a folder, sorted by path.

    Hidden files, `._*`, Thumbs.db and desktop.ini are left out; links, pipes and devices too.
    Raises UsageError for a folder in it that cannot be listed.
    """
    return sorted(_walk_files(folder, lambda parts: True), key=lambda file: file.path)


def listing_digest(files: Iterable[SourceFile]) -> str:
    """A hash of names, sizes and stamps of files."""
    return hash_value([[file.path, file.bytes, file.stamp] for file in files])


def write_list(lines: bytes, root: Path, target: Path) -> str:
    """Write paths, one a line or each ended by NUL, as a source; returns its location.

    root: the folder of relative paths. Where a path lies outside it, the common folder of all
    paths takes its place. Raises UsageError when there is no path; OutputError.
    """
    base, names = _parse_list(lines, root)
    if not names:
        raise _empty_list("standard input")
    odd = any("\n" in name or name.endswith("\r") for name in names)
    entries = [f"{_ROOT_LINE}{base}", *names]
    write_bytes(target, b"".join(os.fsencode(e) + (b"\0" if odd else b"\n") for e in entries))
    return f"{LIST_PREFIX}{target.absolute()}"


def is_ignored(path: str) -> bool:
    """Whether a path is hidden or one of the files that systems leave in folders of photos."""
    parts = path.split("/")
    return any(part.startswith(".") for part in parts) or parts[-1].lower() in _IGNORED_NAMES


def _is_clutter(name: str) -> bool:
    """As `is_ignored`, of a file that was named one by one: it may be hidden on purpose."""
    return name.startswith("._") or name.lower() in {*_IGNORED_NAMES, ".ds_store"}


def _walk_files(folder: Path, may_hold: Callable[[_Parts], bool]) -> Iterator[SourceFile]:
    for parent, folders, names in os.walk(folder, onerror=_refuse):
        inside = Path(parent).relative_to(folder).parts
        shown = sorted(name for name in folders if not name.startswith("."))
        folders[:] = [name for name in shown if may_hold((*inside, name))]
        for name in names:
            path = Path(parent, name)
            if not is_ignored(name) and stat.S_ISREG((status := path.lstat()).st_mode):
                yield _source_file("/".join((*inside, name)), status)


def _refuse(error: OSError) -> None:
    raise UsageError(
        f"Expected to list {error.filename}, got: {error.strerror}. Check its permissions."
    ) from error


def _source_file(relative: str, status: os.stat_result) -> SourceFile:
    return SourceFile(relative, status.st_size, str(status.st_mtime_ns))


def _look_at(root: Path, name: str, *, through_link: bool) -> SourceFile | Problem:
    try:
        status = (root / name).lstat()
    except OSError as error:
        return Problem(name, "UNREADABLE", f"expected a file as listed, got: {error.strerror}")
    if through_link or not stat.S_ISREG(status.st_mode):
        detail = "expected a regular file as listed, got a folder, link or device"
        return Problem(name, "NOT_REGULAR", detail)
    return _source_file(name, status)


def _parse_list(content: bytes, folder: Path) -> tuple[Path, list[str]]:
    """The root, absolute, and each path once, relative to it. folder: of relative paths."""
    names = _split_list(content.removeprefix(b"\xef\xbb\xbf"))
    if names and names[0].startswith(_ROOT_LINE):
        root, _, rest = names[0].removeprefix(_ROOT_LINE).partition("\n")
        folder, names[:1] = folder / root, [rest] if rest else []
    base = posixpath.abspath(folder)
    paths = dict.fromkeys(posixpath.normpath(posixpath.join(base, name)) for name in names)
    if any(path != base and not path.startswith(_below(base)) for path in paths):
        base = posixpath.commonpath([posixpath.dirname(path) for path in paths])
    return Path(base), [path.removeprefix(_below(base)) if path != base else "." for path in paths]


def _split_list(content: bytes) -> list[str]:
    if b"\0" in content:  # as `find -print0` writes it
        return [os.fsdecode(item) for item in content.split(b"\0") if item]
    lines = (line.removesuffix(b"\r") for line in content.split(b"\n"))
    return [os.fsdecode(line) for line in lines if line]


def _below(folder: str) -> str:
    return folder.rstrip("/") + "/"


def _empty_list(where: str) -> UsageError:
    return UsageError(f"Expected paths of photos in {where}, one a line, got none. Check the list.")


def _remote_stamp(facts: dict[str, Any]) -> str:
    known = ("ETag", "etag", "md5", "checksum", "mtime", "LastModified", "last_modified", "created")
    return str(next((facts[key] for key in known if facts.get(key) is not None), ""))
