"""What lies below a local folder: files, links followed or not, and what is no file, each listed.

Links are followed after all that is there itself, in the order of their paths. A folder is walked
once, whichever ways lead to it, by device and inode; so no loop goes on (decision 025).
"""

from __future__ import annotations

import errno
import os
import stat
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from storage.errors import UsageError
from storage.reading import told
from storage.sources.entries import Listing, Problem, SourceFile
from storage.sources.no_photo import TABLE, Ignored

Parts = tuple[str, ...]
Key = tuple[int, int] | str
_NOWHERE = (errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.ENAMETOOLONG)


def source_file(relative: str, status: os.stat_result, twin: str = "") -> SourceFile:
    """A file as a listing has it."""
    return SourceFile(relative, status.st_size, str(status.st_mtime_ns), twin=twin)


class Walk:
    """One walk through a folder.

    follow: links to files and folders. avoid: folders, absolute and without links, that no link may
    lead into: what is written there would be read again. may_hold: whether a folder is entered.
    fits: whether a file is wanted. ignored: names that are left out.
    """

    def __init__(
        self,
        root: Path,
        *,
        follow: bool = True,
        avoid: Sequence[Path] = (),
        may_hold: Callable[[Parts], bool] = lambda parts: True,
        fits: Callable[[Parts], bool] = lambda parts: True,
        ignored: Ignored = TABLE,
    ) -> None:
        self._root, self._follow, self._avoid = root, follow, tuple(avoid)
        self._ignored = ignored
        self._may_hold, self._fits = may_hold, fits
        self._folders: dict[Key, Parts] = {}
        """Walked, or to be."""
        self._links: list[Parts] = []
        self._linked_files: list[tuple[Parts, str]] = []
        """Links to files, and where those really are."""
        self.left_out: Counter[str] = Counter()
        """Names by why they were left out; a hidden folder counts as one."""

    def listing(self) -> Listing:
        """All files and problems, sorted by path."""
        files: list[SourceFile] = []
        problems: list[Problem] = []
        for found in self.found():
            if isinstance(found, Problem):
                problems.append(found)
            else:
                files.append(found)
        files.sort(key=lambda file: file.path)
        problems.sort(key=lambda problem: problem.path)
        return Listing(files, problems, dict(self.left_out))

    def found(self) -> Iterator[SourceFile | Problem]:
        """Files and problems as they are found. Raises UsageError for a folder that cannot be listed."""
        yield from self._folder((), str(self._root), linked=False)
        while self._links:
            links, self._links = sorted(self._links), []
            for parts in links:
                yield from self._link(parts)
        for parts, real in self._linked_files:
            yield self._linked_file(parts, real)

    def _folder(self, top: Parts, real_top: str, *, linked: bool) -> Iterator[SourceFile | Problem]:
        """All below a folder. real_top: where it is; linked: whether a link leads to it."""
        waiting = [(top, real_top)]
        while waiting:
            parts, real = waiting.pop()
            key = _key(real)
            if linked and key in self._folders:
                yield self._seen(parts, self._folders[key], "it lies below a link to")
                continue
            if linked and self._is_avoided(real):
                yield _not_followed(parts, f"a link leads to it, and it is the output {real}")
                continue
            self._folders.setdefault(key, parts)
            try:
                with os.scandir(real) as scanned:
                    entries = sorted(scanned, key=lambda entry: entry.name)
            except OSError as error:
                if not linked:
                    raise _refusal(error) from error
                yield Problem("/".join(parts), "UNREADABLE", f"a linked folder: {told(error)}")
                continue
            for entry in entries:
                below = (*parts, entry.name)
                if why := self._why_ignored(below, entry):
                    self.left_out[why] += 1
                elif entry.is_symlink():
                    self._links.append(below)
                elif entry.is_dir(follow_symlinks=False):
                    if self._may_hold(below):
                        waiting.append((below, entry.path))
                elif self._fits(below):
                    yield _regular(below, entry)

    def _why_ignored(self, parts: Parts, entry: os.DirEntry[str]) -> str:
        """By its own name; that of a link may be a file's or a folder's."""
        kinds = (False, True) if entry.is_symlink() else (entry.is_dir(follow_symlinks=False),)
        found = (self._ignored.why(parts, len(parts) - 1, is_folder=kind) for kind in kinds)
        return next((why for why in found if why), "")

    def _link(self, parts: Parts) -> Iterator[SourceFile | Problem]:
        path = os.path.join(self._root, *parts)  # noqa: PTH118 - a name may hold any bytes
        if not self._follow:
            if self._fits(parts) or self._may_hold(parts):
                yield _not_followed(parts, "a link, and links are not to be followed")
            return
        try:
            status = os.stat(path)  # noqa: PTH116
        except OSError as error:
            if self._fits(parts):
                yield _broken(parts, path, error)
            return
        real = os.path.realpath(path)
        if self._is_avoided(real):
            yield _not_followed(parts, f"a link into the output, to {real}")
        elif stat.S_ISDIR(status.st_mode):
            if self._may_hold(parts):
                seen = self._folders.get(_key(real))
                if seen is not None:
                    yield self._seen(parts, seen, "a link to")
                else:
                    yield from self._folder(parts, real, linked=True)
        elif self._fits(parts):
            if stat.S_ISREG(status.st_mode):
                self._linked_files.append((parts, real))
            else:
                yield Problem("/".join(parts), "NOT_REGULAR", f"a link to {_what(status)}")

    def _linked_file(self, parts: Parts, real: str) -> SourceFile | Problem:
        """A link's file; its twin is the path under which the walk found it too, or what it is."""
        folder, name = os.path.split(real)
        try:
            status = os.stat(real)  # noqa: PTH116
            walked = self._folders.get(_key(folder))
        except OSError as error:
            return _broken(parts, real, error)
        own = (*(walked or ()), name)
        if walked is not None and not self._ignored.why(own, len(walked)) and self._fits(own):
            return source_file("/".join(parts), status, twin="/".join(own))
        return source_file("/".join(parts), status, twin=f"//{_key(real)}")

    def _seen(self, parts: Parts, seen: Parts, how: str) -> Problem:
        where = "/".join(seen) or "the folder itself"
        return _not_followed(parts, f"{how} {where}, which is read already")

    def _is_avoided(self, real: str) -> bool:
        path = Path(real)
        return any(path == folder or folder in path.parents for folder in self._avoid)


def without_twins(listing: Listing) -> Listing:
    """The same with each linked file once: under its own path, else under the first link's.

    To be called when the files are chosen: where the file itself is left out, its link counts.
    """
    if not any(file.twin for file in listing.files):
        return listing
    own = {file.path for file in listing.files if not file.twin}
    first: dict[str, str] = {}
    files, problems = [], list(listing.problems)
    for file in listing.files:
        stays = file.path
        if file.twin:
            stays = file.twin if file.twin in own else first.setdefault(file.twin, file.path)
        if stays == file.path:
            files.append(file)
        else:
            detail = f"a link to the file of {stays}, which is read already"
            problems.append(Problem(file.path, "NOT_FOLLOWED", detail))
    return replace(listing, files=files, problems=problems)


def is_no_file(name: str, status: os.stat_result) -> Problem:
    """The problem of a pipe, socket, device or folder."""
    return Problem(name, "NOT_REGULAR", f"expected a regular file, got {_what(status)}")


def _regular(parts: Parts, entry: os.DirEntry[str]) -> SourceFile | Problem:
    path = "/".join(parts)
    try:
        status = entry.stat(follow_symlinks=False)
    except OSError as error:
        return Problem(path, "UNREADABLE", told(error))
    is_file = stat.S_ISREG(status.st_mode)
    return source_file(path, status) if is_file else is_no_file(path, status)


def _key(real: str) -> Key:
    """What tells a file or folder from all others; its path where the file system gives no inodes."""
    status = os.stat(real)  # noqa: PTH116
    return (status.st_dev, status.st_ino) if status.st_ino else real


def _what(status: os.stat_result) -> str:
    kinds = {
        stat.S_IFIFO: "a pipe",
        stat.S_IFSOCK: "a socket",
        stat.S_IFDIR: "a folder",
        stat.S_IFLNK: "a link",
    }
    return kinds.get(stat.S_IFMT(status.st_mode), "a device")


def _broken(parts: Parts, path: str, error: OSError) -> Problem:
    name = "/".join(parts)
    if error.errno not in _NOWHERE:
        return Problem(name, "UNREADABLE", f"a link whose end cannot be looked at: {told(error)}")
    try:
        target = os.readlink(path)  # noqa: PTH115
    except OSError:
        target = path
    where = "that leads in a circle" if error.errno == errno.ELOOP else "to nothing"
    return Problem(name, "NOT_REGULAR", f"a link {where}, to {target}")


def _not_followed(parts: Parts, detail: str) -> Problem:
    return Problem("/".join(parts), "NOT_FOLLOWED", detail)


def _refusal(error: OSError) -> UsageError:
    return UsageError(
        f"Expected to list {error.filename}, got: {told(error)}. Check its permissions."
    )
