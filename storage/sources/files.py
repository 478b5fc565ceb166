"""Where a source's files lie: in a folder, by a glob pattern, in a list, in a bag, behind a URL."""

from __future__ import annotations

import os
import posixpath
import stat
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from glob import has_magic
from itertools import takewhile
from pathlib import Path
from typing import Any, Protocol

from storage.errors import UsageError
from storage.reading import told
from storage.records.fingerprint import hash_list
from storage.records.ledger import write_bytes
from storage.remote.folder import Facts, Remote
from storage.sources.bags import check_bag
from storage.sources.entries import Listing, Problem, SourceFile, num_left
from storage.sources.locations import LIST_PREFIX
from storage.sources.no_photo import CLUTTER, TABLE, Ignored
from storage.sources.walk import Parts, Walk, is_no_file, source_file

_ROOT_LINE = "# root: "


@dataclass(frozen=True, kw_only=True, slots=True)
class Reading:
    """What is done with links and names in a source."""

    follow: bool = True
    """Whether links are followed."""
    avoid: tuple[Path, ...] = ()
    """Folders that no link may lead into, absolute and without links."""
    ignored: Ignored = TABLE
    """Names that are left out."""
    encoding: str = ""
    """Of names in archives that say nothing of theirs; empty where nobody knows it."""


USUAL = Reading()


class Files(Protocol):
    """Files below a root, on a local disk or behind a URL."""

    def listing(self) -> Listing:
        """All of them, sorted by path, and what was asked for but is none."""
        ...

    def stamped(self) -> list[SourceFile]:
        """The files whose names, sizes and times tell whether the listing changed."""
        ...

    def local(self, path: str) -> Path | None:
        """Where a file of `stamped` lies on this machine; None behind a URL."""
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
    """All files below a folder, those that links lead to included."""

    def __init__(self, root: Path, reading: Reading = USUAL) -> None:
        self._root, self._reading = root, reading

    def listing(self) -> Listing:
        return self._walk().listing()

    def _walk(self) -> Walk:
        own = self._reading
        return Walk(self._root, follow=own.follow, avoid=own.avoid, ignored=own.ignored)

    def stamped(self) -> list[SourceFile]:
        return self.listing().files

    def local(self, path: str) -> Path | None:
        return self._root / path

    def top(self) -> list[SourceFile]:
        paths = sorted(path for path in self._root.iterdir() if path.is_file())
        named = [path for path in paths if not self._reading.ignored.why((path.name,))]
        return [source_file(path.name, path.stat()) for path in named]  # a link: what it names

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

    def __init__(self, pattern: str, reading: Reading = USUAL, root: Path | None = None) -> None:
        """root: what paths start from instead; the pattern lies below it."""
        parts = Path(pattern).parts
        if root is not None:
            fixed = list(root.parts)
        else:
            fixed = list(takewhile(lambda part: not has_magic(part), parts))
        super().__init__(Path(*fixed), reading)
        self._globs = parts[len(fixed) :] + (("*",) if parts[-1] == "**" else ())
        if not self._root.is_dir() or next(self._walk().found(), None) is None:
            raise UsageError(
                f"Expected photos at {pattern}, found no file that matches. Check the pattern, and "
                "end it in /** to take folders whole."
            )

    def _walk(self) -> Walk:
        return Walk(
            self._root,
            follow=self._reading.follow,
            avoid=self._reading.avoid,
            may_hold=self._may_hold,
            fits=lambda parts: 0 in num_left(parts, self._globs),
            ignored=self._reading.ignored,
        )

    def _may_hold(self, folder: Parts) -> bool:
        """Whether a match may lie below a folder, so that others are not walked."""
        before_any = takewhile(lambda glob: glob != "**", self._globs)
        fits = all(fnmatchcase(name, glob) for name, glob in zip(folder, before_any, strict=False))
        return fits and (len(folder) < len(self._globs) or "**" in self._globs)


class ListedFiles(LocalFiles):
    """The files that a list names."""

    def __init__(self, path: Path, reading: Reading = USUAL, root: Path | None = None) -> None:
        """root: what paths start from instead of the list's own root; it lies in that one."""
        self._path, self._given = path, root
        root, names = self._read_list()
        if not names:
            raise _empty_list(str(path))
        super().__init__(root, reading)

    def listing(self) -> Listing:
        root, names = self._read_list()
        real: dict[str, bool] = {}
        listing = Listing([])
        for name in sorted(names):
            folder = posixpath.dirname(name)
            if folder not in real:
                real[folder] = posixpath.realpath(root / folder) == str(root.resolve() / folder)
            found = _look_at(root, name, self._reading, through_link=not real[folder])
            if isinstance(found, Problem):
                listing.problems.append(found)
            elif _is_clutter(posixpath.basename(name), self._reading.ignored):
                listing.left_out[CLUTTER] = listing.left_out.get(CLUTTER, 0) + 1
            else:
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

    def __init__(self, bag: Path, reading: Reading = USUAL) -> None:
        super().__init__(bag / "data", replace(reading, follow=False))  # a whole one has no links
        self._bag, self._checked = bag, False

    def listing(self) -> Listing:
        if not self._checked:
            check_bag(self._bag)
            self._checked = True
        return super().listing()

    def stamped(self) -> list[SourceFile]:
        return list_files(self._bag)

    def local(self, path: str) -> Path | None:
        return self._bag / path

    def folders(self) -> tuple[Path, ...]:
        return (self._bag.resolve(),)

    def root(self) -> Path:
        return self._bag.resolve()


class RemoteFiles:
    """All files below a folder behind a URL."""

    def __init__(self, remote: Remote, ignored: Ignored = TABLE) -> None:
        self._remote, self._ignored = remote, ignored

    def listing(self) -> Listing:
        return self._listed(self._remote.files())

    def stamped(self) -> list[SourceFile]:
        return self.listing().files

    def local(self, path: str) -> Path | None:
        return None

    def top(self) -> list[SourceFile]:
        return self._listed(self._remote.top()).files

    def read(self, path: str) -> bytes:
        return self._remote.content(path)

    def open(self, path: str) -> Any:
        return self._remote.open(path)

    def folders(self) -> tuple[Path, ...]:
        return ()

    def root(self) -> Path:
        return self._remote.root()

    def _listed(self, found: Mapping[str, Facts]) -> Listing:
        listing, left_out = Listing([]), Counter[str]()
        for path, facts in sorted(found.items()):
            if facts.kind == "directory":
                continue
            if why := self._ignored.why(path.split("/")):
                left_out[why] += 1
            elif facts.kind not in ("file", "link"):
                detail = f"expected a regular file, got another kind: {facts.kind}"
                listing.problems.append(Problem(path, "NOT_REGULAR", detail))
            else:
                listing.files.append(SourceFile(path, facts.bytes, facts.stamp))
        listing.left_out.update(left_out)
        return listing


def list_files(folder: Path, *, follow: bool = False) -> list[SourceFile]:
    """All regular files below a folder, sorted by path; those that links lead to only on demand.

    What `storage.sources.no_photo` names is left out; pipes and devices too.
    Raises UsageError for a folder in it that cannot be listed.
    """
    return Walk(folder, follow=follow).listing().files


def listing_digest(files: Iterable[SourceFile]) -> str:
    """A hash of names, sizes and stamps of files."""
    return hash_list([file.path, file.bytes, file.stamp] for file in files)


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


def _is_clutter(name: str, ignored: Ignored) -> bool:
    """Whether a file that was named one by one is left out: it may be hidden on purpose."""
    return name.startswith("._") or name.lower() == ".ds_store" or ignored.why((name,)) == CLUTTER


def _look_at(
    root: Path, name: str, reading: Reading, *, through_link: bool
) -> SourceFile | Problem:
    """A listed file. through_link: whether one of its folders is a link."""
    try:
        path = root / name
        status = path.lstat()
        if through_link or stat.S_ISLNK(status.st_mode):
            if not reading.follow:
                return Problem(name, "NOT_FOLLOWED", "a link, and links are not to be followed")
            real = path.resolve()
            if any(real == folder or folder in real.parents for folder in reading.avoid):
                return Problem(name, "NOT_FOLLOWED", f"a link into the output, to {real}")
            status = path.stat()
    except (OSError, RuntimeError) as error:  # resolve() raises the latter for a circle of links
        is_broken = stat.S_ISLNK(_mode(root / name))
        if is_broken and not isinstance(error, PermissionError):
            return Problem(name, "NOT_REGULAR", "a link to nothing, or that leads in a circle")
        return Problem(name, "UNREADABLE", f"expected a file as listed, got: {told(error)}")
    return source_file(name, status) if stat.S_ISREG(status.st_mode) else is_no_file(name, status)


def _mode(path: Path) -> int:
    """0 where it is not there."""
    try:
        return path.lstat().st_mode
    except OSError:
        return 0


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
