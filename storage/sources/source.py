"""Where photos come from: a folder, a bag, a zip, a tar, a pattern, a list, or an fsspec URL.

A path inside an archive is written `photos.tar/a/1.jpg`. Links to files and folders are followed
(decision 025), but none in an archive; archives are read member by member and never extracted.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from glob import has_magic
from pathlib import Path, PurePosixPath

from storage.errors import PhotoError, UsageError
from storage.remote.folder import Remote
from storage.sources.archives import Archive, is_archive_name, open_archive, said_of
from storage.sources.bags import is_bag
from storage.sources.entries import Listing, Problem, SourceFile
from storage.sources.files import (
    USUAL,
    BagFiles,
    Files,
    GlobFiles,
    ListedFiles,
    LocalFiles,
    Reading,
    RemoteFiles,
    listing_digest,
)
from storage.sources.locations import LIST_PREFIX, ROOT_MARK, check_there, is_url, resolve_location
from storage.sources.no_photo import Ignored

_LIST_SUFFIXES = (".txt", ".csv")


class Source:
    """A folder of photos, or one archive in it. Keep it open to read members in order."""

    def __init__(self, files: Files, archive: str = "", reading: Reading = USUAL) -> None:
        self._files, self._archive, self._reading = files, archive, reading
        self._opened: dict[str, Archive] = {}

    def listing(self) -> Listing:
        """All regular files in the order in which reading is fastest; archives are files too.

        Of an archive: its members; of a bag: its payload, checked the first time. What
        `storage.sources.no_photo` names is left out. Raises DamagedError for a bag that is not whole.
        """
        if self._archive:
            return self.archive_listing(self._archive)
        return self._files.listing()

    def archive_listing(self, path: str) -> Listing:
        """The members of one archive of the source, under `path/`.

        Raises UsageError where it is plainly something else.
        """
        try:
            listing = self._open(path).listing().below(path)
        except PhotoError as error:
            return Listing([], [Problem(path, error.code, error.detail)])
        depth = path.count("/") + 1
        left_out = Counter[str]()

        def is_left_out(member: str) -> bool:
            why = self._reading.ignored.why(member.split("/"), depth)
            left_out[why] += bool(why)
            return bool(why)

        files = [file for file in listing.files if not is_left_out(file.path)]
        problems = [problem for problem in listing.problems if not is_left_out(problem.path)]
        return replace(listing, files=files, problems=problems, left_out=dict(+left_out))

    def said_of_archive(self, path: str) -> str:
        """What a file that is named as an archive is instead; empty where it may be one."""
        try:
            return said_of(path, lambda: self._files.open(path))
        except PhotoError:
            return ""

    def beside(self) -> list[SourceFile]:
        """List files (.txt, .csv) that lie beside the archive, where the source is one."""
        if not self._archive:
            return []
        return [file for file in self._files.top() if file.path.endswith(_LIST_SUFFIXES)]

    def digest(self) -> str:
        """A hash of names, sizes and times: it changes when the source may have to be read again.

        What is read is then identified by content, so a mere new time changes nothing further on.
        """
        return listing_digest(self.stamped())

    def stamped(self) -> list[SourceFile]:
        """The files whose names, sizes and times `digest` is of: an archive, not its members."""
        if self._archive:
            files = [file for file in self._files.top() if file.path == self._archive]
            return [*files, *self.beside()]
        return self._files.stamped()

    def local(self, path: str) -> Path | None:
        """Where a file of `stamped` lies on this machine; None behind a URL."""
        return self._files.local(path)

    def read(self, path: str, offset: int = -1, size: int = -1) -> bytes:
        """One file, or an archive's member as listed. Raises PhotoError or OSError."""
        archive = self._archive if path.startswith(f"{self._archive}/") else ""
        try:
            if not archive:
                return self._files.read(path)
        except (NotADirectoryError, FileNotFoundError):
            archive = next((p for p in _parents(path) if is_archive_name(p)), "")
            if not archive:
                raise
        try:
            opened = self._open(archive)
        except UsageError as error:  # it was an archive when it was listed
            raise PhotoError("UNREADABLE", str(error)) from error
        return opened.read(path[len(archive) + 1 :], offset, size)

    def root(self) -> Path:
        """What its paths start from: a local folder, or the archive itself."""
        return self._files.root() / self._archive

    def folders(self) -> tuple[Path, ...]:
        """The local folders, or the archive, that it reads, absolute; none of a URL.

        Of a list: the folders of the listed files.
        """
        return tuple(folder / self._archive for folder in self._files.folders())

    def _open(self, path: str) -> Archive:
        if path not in self._opened:
            self._opened[path] = open_archive(
                path, lambda: self._files.open(path), self._reading.encoding
            )
        return self._opened[path]


def open_source(
    location: str,
    *,
    follow: bool = True,
    avoid: Sequence[Path] = (),
    include: Sequence[str] = (),
    encoding: str = "",
) -> Source:
    """The source at a location. No photo is read and no bag checked yet: workers open it again.

    location: a folder, a BagIt bag, a .zip or .tar (.gz, .bz2, .xz, .zst), a pattern as
    `photos/**/*.tif`, `list:PATH` of a list (see `write_list`), or an fsspec URL. follow: whether its
    links to files and folders are followed. avoid: folders that no link may lead into, as the output.
    include: patterns that bring back names of `storage.sources.no_photo`; they choose nothing here.
    encoding: of members' names that do not say theirs; what is read does not hang on it. Raises
    UsageError when nothing is there, or something else; RemoteError.
    """
    reading = Reading(
        follow=follow,
        avoid=tuple(folder.resolve() for folder in avoid),
        ignored=Ignored.but(include),
        encoding=encoding,
    )
    if location.startswith(LIST_PREFIX):
        list_file, _, root = location.removeprefix(LIST_PREFIX).partition(ROOT_MARK)
        files = ListedFiles(Path(list_file), reading, Path(f"/{root}") if root else None)
        return Source(files, reading=reading)
    if is_url(location):
        return _open_remote(location, reading)
    if ROOT_MARK in location:
        root, _, pattern = location.partition(ROOT_MARK)
        if Path(root, pattern).is_dir():
            pattern += "/**"
        return Source(GlobFiles(f"{root}/{pattern}", reading, Path(root)), reading=reading)
    path = Path(location)
    if path.is_dir():
        return Source((BagFiles if is_bag(path) else LocalFiles)(path, reading), reading=reading)
    if path.is_file():
        _require_archive(path.name, location)
        with suppress(PhotoError):  # what cannot be read now is told when it is listed
            said = said_of(path.name, lambda: path.open("rb"))
            if said:
                raise UsageError(said)
        return Source(LocalFiles(path.parent), path.name, reading)
    if has_magic(location):
        return Source(GlobFiles(location, reading), reading=reading)
    check_there(location)
    raise UsageError(
        f"Expected a folder or archive of photos at {path}, got a pipe, socket or device."
    )


def source_root(location: str) -> str:
    """What the paths of a source start from: a folder, an archive or a URL, absolute.

    Of a pattern the folders ahead of its first wildcard, of a list its root. Raises UsageError.
    """
    if is_url(location):
        return location.rstrip("/")
    location = resolve_location(location)
    if ROOT_MARK in location:
        return location.partition(ROOT_MARK)[0]
    source = open_source(location)
    return str(source.root())


def rooted(location: str, root: str) -> str:
    """A source whose photos bear their paths from a folder above it: `root//./below/*.jpg`.

    location: as `open_source` takes it, absolute; root: a folder that holds it, or its own root.
    """
    if is_url(location) or ROOT_MARK in location or not Path(root).is_dir():
        return location
    own = source_root(location)
    if own == root:
        return location
    if location.startswith(LIST_PREFIX):
        return f"{location}{ROOT_MARK}{root.lstrip('/')}"
    below = _below_root(own, root)
    if below == ".":  # the same folder under another name
        return location
    pattern = location.removeprefix(own).strip("/") if has_magic(location) else "**"
    return f"{root}{ROOT_MARK}{below}/{pattern}"


def _below_root(own: str, root: str) -> str:
    """The path of a folder from another one that holds it, through links and mounts."""
    for folder in (Path(own), *Path(own).parents):
        if folder.exists() and folder.samefile(root):
            return Path(own).relative_to(folder).as_posix()
    return Path(own).resolve().relative_to(Path(root).resolve()).as_posix()


def _parents(path: str) -> list[str]:
    """`a/b.tar/c` → a, a/b.tar: the folders or archives that a path goes through."""
    return [str(parent) for parent in reversed(PurePosixPath(path).parents)][1:]


def _open_remote(url: str, reading: Reading) -> Source:
    remote = Remote(url)
    if remote.is_folder():
        return Source(RemoteFiles(remote, reading.ignored), reading=reading)
    if not remote.is_there():
        raise UsageError(f"Expected photos at {url}, found nothing. Check the address.")
    folder, name = remote.folder_and_name()
    _require_archive(name, url)
    return Source(RemoteFiles(folder), name, reading)


def _require_archive(name: str, location: str) -> None:
    if not is_archive_name(name):
        raise UsageError(
            f"Expected a folder, .zip or .tar (.gz, .bz2, .xz, .zst) of photos, got the file "
            f"{location}. For a list of photos, write list:{location}."
        )
