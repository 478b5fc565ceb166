"""Zip and tar archives as streams of regular members: listed, read by place, never extracted.

Every size is counted while it streams, because headers lie (facts/reliability.md, Security).
"""

from __future__ import annotations

import bz2
import gzip
import lzma
import posixpath
import stat
import tarfile
import unicodedata
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import PurePosixPath
from typing import IO, Any, Protocol

from storage.entries import Listing, Problem, SourceFile, duplicate_names
from storage.errors import PhotoError

_MAX_MEMBERS = 5_000_000
_MAX_MEMBER_BYTES = 2 << 30
_MAX_RATIO = 200
_RATIO_APPLIES_ABOVE = 64 << 20
"""A member or stream may be smaller than this whatever its ratio: plain tints compress well."""
_MAX_HEADER_BYTES = 1 << 20
_BLOCK = 512
_COMPRESSIONS: dict[str, Callable[[Any], Any]] = {
    ".tgz": gzip.open,
    ".gz": gzip.open,
    ".bz2": bz2.open,
    ".tbz": bz2.open,
    ".tbz2": bz2.open,
    ".xz": lzma.open,
    ".txz": lzma.open,
}
_DAMAGE = (
    tarfile.TarError,
    zipfile.BadZipFile,
    zlib.error,
    lzma.LZMAError,
    EOFError,
    OSError,
    ValueError,
    OverflowError,
    MemoryError,
    RuntimeError,
)
"""What the standard library raises on a bad archive."""

Opener = Callable[[], Any]
"""Opens the archive's bytes; the file must be seekable."""


class Archive(Protocol):
    """An archive that is open for reading."""

    def listing(self) -> Listing:
        """Its regular members in the order of their bytes, and its problems."""
        ...

    def read(self, path: str, offset: int, size: int) -> bytes:
        """One member as listed. Raises PhotoError."""
        ...


def is_archive_name(name: str) -> bool:
    """Whether a file name ends as an archive's that can be read here."""
    lower = name.lower()
    plain = lower.endswith((".zip", ".tar", ".tgz", ".tbz", ".tbz2", ".txz"))
    return plain or lower.endswith((".tar.gz", ".tar.bz2", ".tar.xz"))


def open_archive(name: str, opener: Opener) -> Archive:
    """The archive of that name; nothing is read yet."""
    if name.lower().endswith(".zip"):
        return ZipArchive(opener)
    return TarArchive(opener, _COMPRESSIONS.get(PurePosixPath(name.lower()).suffix))


class ZipArchive:
    """A zip. Members are found by its central directory; each read checks the member's CRC."""

    def __init__(self, opener: Opener) -> None:
        self._opener = opener
        self._zip: zipfile.ZipFile | None = None
        self._infos: dict[str, zipfile.ZipInfo] = {}

    def listing(self) -> Listing:
        """Its regular members, and what else it holds as problems."""
        try:
            infos = self._open().infolist()
        except _DAMAGE as error:
            return Listing([], [_damaged(error)])
        if len(infos) > _MAX_MEMBERS:
            return Listing([], [_bomb(f"{len(infos)} members", f"{_MAX_MEMBERS}")])
        ordered = sorted(infos, key=lambda info: info.header_offset)
        if any(_overlap(a, b) for a, b in zip(ordered, ordered[1:], strict=False)):
            return Listing([], [_bomb("members that share bytes", "members of their own bytes")])
        found = [(info, _zip_problem(info)) for info in ordered if not info.is_dir()]
        files = [
            SourceFile(posixpath.normpath(info.filename), info.file_size, f"{info.CRC:08x}")
            for info, problem in found
            if problem is None
        ]
        files, duplicates = duplicate_names(files)
        return Listing(files, [problem for _, problem in found if problem] + duplicates)

    def read(self, path: str, offset: int, size: int) -> bytes:
        """One member, whose CRC is checked."""
        with _read_errors():
            archive = self._open()
            info = self._infos[path]
            with archive.open(info) as member:
                return _read_exactly(member, info.file_size)

    def _open(self) -> zipfile.ZipFile:
        """Open it and note the members that may be read: of a name the first, as `listing` says."""
        if self._zip is None:
            archive = zipfile.ZipFile(self._opener())
            for info in sorted(archive.infolist(), key=lambda info: info.header_offset):
                if not info.is_dir() and _zip_problem(info) is None:
                    self._infos.setdefault(posixpath.normpath(info.filename), info)
            self._zip = archive
        return self._zip


class TarArchive:
    """A tar, plain or compressed. Members are read at the offset that the listing gave.

    A compressed tar can only be read forward; it stays open, so members asked for in the order of
    the listing cost one pass.
    """

    def __init__(self, opener: Opener, decompress: Callable[[Any], Any] | None) -> None:
        self._opener, self._decompress = opener, decompress
        self._stream: Any = None

    def listing(self) -> Listing:
        """Its regular members, and what else it holds as problems."""
        files: list[SourceFile] = []
        problems: list[Problem] = []
        try:
            with self._opener() as raw:
                stream = _Counted(raw, self._decompress)
                for member in _tar_members(stream):
                    stream.require(member.offset_data + _stored_bytes(member))
                    if problem := _tar_problem(member):
                        problems.append(problem)
                    elif member.isreg():
                        stamp = f"{member.offset_data}:{member.mtime}"
                        path = posixpath.normpath(member.name)
                        files.append(SourceFile(path, member.size, stamp, member.offset_data))
                    if len(files) + len(problems) > _MAX_MEMBERS:
                        problems.append(_bomb("more members", f"{_MAX_MEMBERS}"))
                        break
                else:
                    stream.require_end()
        except _DAMAGE as error:
            problems.append(_damaged(error))
        except PhotoError as error:
            problems.append(Problem("", error.code, error.detail))
        kept, duplicates = duplicate_names(files)
        return Listing(kept, problems + duplicates)

    def read(self, path: str, offset: int, size: int) -> bytes:
        """One member by its place."""
        with _read_errors():
            if self._stream is None:
                raw = self._opener()
                self._stream = self._decompress(raw) if self._decompress else raw
            self._stream.seek(offset)
            return _read_exactly(self._stream, size)


class _Counted:
    """A tar's bytes, decompressed, with the limits of what may be read and what it expands to."""

    def __init__(self, raw: Any, decompress: Callable[[Any], Any] | None) -> None:
        raw.seek(0, 2)
        self._raw_bytes = raw.tell()
        raw.seek(0)
        self._stream = decompress(raw) if decompress else raw
        self._compressed = decompress is not None

    def read(self, size: int = -1) -> bytes:
        """At most a header's worth: only headers are read while listing."""
        if size < 0 or size > _MAX_HEADER_BYTES:
            raise PhotoError(
                "ARCHIVE_BOMB", f"expected a header of at most 1 MiB, got {size} bytes"
            )
        content: bytes = self._stream.read(size)
        return content

    def seek(self, offset: int, whence: int = 0) -> int:
        """Move forward, counting what a compressed tar expands to."""
        assert whence == 0
        if not self._compressed:
            return int(self._stream.seek(offset))
        while self._stream.tell() < offset:
            step = min(offset - self._stream.tell(), 1 << 20)
            if len(self._stream.read(step)) < step:
                break
            self._check_ratio()
        if self._stream.tell() > offset:
            self._stream.seek(offset)
        return int(self._stream.tell())

    def tell(self) -> int:
        """Where the next byte comes from, in the decompressed tar."""
        return int(self._stream.tell())

    def require(self, end: int) -> None:
        """Raise unless the tar reaches `end`."""
        reached = min(end, self.seek(end)) if self._compressed else min(end, self._raw_bytes)
        if reached < end:
            raise EOFError(f"expected {end} bytes, the archive ends at {reached}")

    def require_end(self) -> None:
        """Raise unless only zeros follow, at least one block of them, down to the stream's CRC."""
        num_zeros = 0
        while block := self._stream.read(1 << 16):
            if block.strip(b"\0"):
                raise ValueError("expected zeros after the last member, got other bytes")
            num_zeros += len(block)
            self._check_ratio()
        if num_zeros < _BLOCK:
            raise EOFError("expected blocks of zeros after the last member, got none")

    def _check_ratio(self) -> None:
        here = self.tell()
        if here > max(_RATIO_APPLIES_ABOVE, _MAX_RATIO * self._raw_bytes):
            raise PhotoError(
                "ARCHIVE_BOMB",
                f"expected at most {_MAX_RATIO} times the archive's {self._raw_bytes} bytes, "
                f"got {here} and more",
            )


def _tar_members(stream: _Counted) -> Iterator[tarfile.TarInfo]:
    with tarfile.open(fileobj=stream, mode="r:", errorlevel=2) as tar:  # type: ignore[call-overload]
        while (member := tar.next()) is not None:
            if member.size < 0 or tar.offset < member.offset_data:  # CVE-2025-8194: it would loop
                raise tarfile.ReadError(f"a member of {member.size} bytes")
            yield member
            tar.members = []  # it would keep every header
        stream.seek(tar.offset)


def _stored_bytes(member: tarfile.TarInfo) -> int:
    """What must follow a header; a sparse member's size is that of the expanded file."""
    return member.size if member.isreg() and not member.issparse() else 0


def _tar_problem(member: tarfile.TarInfo) -> Problem | None:
    if member.isdir():
        return None
    if not member.isreg() or member.issparse():
        detail = "expected a regular file, got a link, device or sparse file"
        return Problem(member.name, "NOT_REGULAR", detail)
    return _name_problem(member.name) or _size_problem(member.name, member.size)


def _zip_problem(info: zipfile.ZipInfo) -> Problem | None:
    kind = stat.S_IFMT(info.external_attr >> 16)
    if kind and kind != stat.S_IFREG:
        detail = "expected a regular file, got a link or device"
        return Problem(info.filename, "NOT_REGULAR", detail)
    if info.flag_bits & 0x1:
        return Problem(info.filename, "ENCRYPTED", "expected a member without password")
    if info.file_size > max(_RATIO_APPLIES_ABOVE, _MAX_RATIO * info.compress_size):
        detail = f"expected at most {_MAX_RATIO} times its {info.compress_size} bytes"
        return Problem(info.filename, "ARCHIVE_BOMB", f"{detail}, got {info.file_size}")
    return _name_problem(info.filename) or _size_problem(info.filename, info.file_size)


def _name_problem(name: str) -> Problem | None:
    parts = name.replace("\\", "/").split("/")
    unsafe = ".." in parts or name.startswith(("/", "\\", "~")) or ":" in parts[0]
    odd = any(unicodedata.category(character) in ("Cc", "Cf") for character in name)
    if unsafe or odd or len(name.encode(errors="surrogateescape")) > 4095:
        detail = "expected a relative name without '..', control characters or a drive"
        return Problem(name, "UNSAFE_NAME", detail)
    return None


def _size_problem(name: str, size: int) -> Problem | None:
    if 0 <= size <= _MAX_MEMBER_BYTES:
        return None
    return Problem(
        name, "ARCHIVE_BOMB", f"expected a member of at most {_MAX_MEMBER_BYTES} bytes, got {size}"
    )


def _overlap(first: zipfile.ZipInfo, second: zipfile.ZipInfo) -> bool:
    return first.header_offset + 30 + first.compress_size > second.header_offset


def _damaged(error: BaseException) -> Problem:
    return Problem("", "ARCHIVE_DAMAGED", f"{type(error).__name__}: {error}"[:300])


def _bomb(got: str, allowed: str) -> Problem:
    return Problem("", "ARCHIVE_BOMB", f"expected at most {allowed}, got {got}")


def _read_exactly(stream: IO[bytes], size: int) -> bytes:
    content = stream.read(size)
    if len(content) < size:
        raise EOFError(f"expected {size} bytes, got {len(content)}")
    if isinstance(stream, zipfile.ZipExtFile) and stream.read(1):
        raise ValueError(f"expected {size} bytes, got more")
    return content


@contextmanager
def _read_errors() -> Iterator[None]:
    try:
        yield
    except (*_DAMAGE, KeyError) as error:
        detail = f"{type(error).__name__}: {error}"[:300]
        raise PhotoError("ARCHIVE_DAMAGED", detail) from error
