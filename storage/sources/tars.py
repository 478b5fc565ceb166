"""Tars, plain or compressed: listed in one pass, read by place, never extracted."""

from __future__ import annotations

import io
import posixpath
import tarfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

from storage.errors import PhotoError, may_pass
from storage.sources.entries import Listing, Problem, SourceFile, duplicate_names
from storage.sources.members import (
    DAMAGE,
    MAX_MEMBERS,
    MAX_RATIO,
    RATIO_APPLIES_ABOVE,
    RATIO_SO_FAR_ABOVE,
    Opener,
    bomb,
    damaged,
    decoded,
    name_problem,
    read_errors,
    read_exactly,
    size_problem,
)

_HEADER_RATIO_ABOVE = 32 << 20
"""As many headers, 65,536 of them, may compress as they like; each costs far more than its bytes."""
_MAX_HEADER_BYTES = 1 << 20
_BLOCK = 512


class TarArchive:
    """A tar, plain or compressed. Members are read at the offset that the listing gave.

    A compressed tar can only be read forward; it stays open, so members asked for in the order of
    the listing cost one pass.
    """

    def __init__(
        self, opener: Opener, decompress: Callable[[Any], Any] | None, encoding: str = ""
    ) -> None:
        """encoding: of names that are not UTF-8; where it is empty or does not fit they keep their bytes."""
        self._opener, self._decompress, self._encoding = opener, decompress, encoding
        self._stream: Any = None

    def listing(self) -> Listing:
        """Its regular members, and what else it holds as problems."""
        files: list[SourceFile] = []
        problems: list[Problem] = []
        try:
            with self._opener() as raw:
                for found in _found(_Counted(raw, self._decompress)):
                    if isinstance(found, Problem):
                        problems.append(found)
                    else:
                        files.append(found)
        except DAMAGE as error:
            problems.append(damaged(error))
        except MemoryError:
            problems.append(Problem("", "OUT_OF_MEMORY", "there was not enough memory to list it"))
        except PhotoError as error:
            if may_pass(error.code):  # half a listing would pass for the whole
                raise
            problems.append(Problem("", error.code, error.detail))
        problems = [replace(problem, path=self._named(problem.path)) for problem in problems]
        named = [self._renamed(file) for file in files]
        unsafe = {one.path: bad for one in named if (bad := name_problem(one.path))}
        kept, duplicates = duplicate_names(file for file in named if file.path not in unsafe)
        return Listing(kept, [*problems, *unsafe.values(), *duplicates])

    def _renamed(self, file: SourceFile) -> SourceFile:
        name = self._named(file.path)
        return file if name == file.path else replace(file, path=name)

    def _named(self, path: str) -> str:
        """A name by the encoding; `tarfile` has read it as UTF-8, other bytes as surrogates."""
        if path.isascii():
            return path
        name = decoded(path.encode("utf-8", "surrogateescape"), self._encoding)
        return path if name is None else name

    def read(self, path: str, offset: int, size: int) -> bytes:
        """One member by its place."""
        try:
            with read_errors():
                if self._stream is None:
                    raw = self._opener()
                    self._stream = self._decompress(raw) if self._decompress else raw
                self._stream.seek(offset)
                return read_exactly(self._stream, size)
        except PhotoError as error:
            if may_pass(error.code):  # a decompressor may have lost its place
                self._stream = None
            raise


class _Counted:
    """A tar's bytes, decompressed, with the limits of what may be read and what it expands to."""

    def __init__(self, raw: Any, decompress: Callable[[Any], Any] | None) -> None:
        raw.seek(0, 2)
        self._raw, self._raw_bytes = raw, raw.tell()
        raw.seek(0)
        self._stream = decompress(raw) if decompress else raw
        self._compressed = decompress is not None
        self._header_bytes, self._held = 0, b""

    def read(self, size: int = -1) -> bytes:
        """At most a header's worth: only headers are read while listing."""
        if size < 0 or size > _MAX_HEADER_BYTES:
            raise PhotoError(
                "ARCHIVE_BOMB", f"expected a header of at most 1 MiB, got {size} bytes"
            )
        content, self._held = self._held[:size], self._held[size:]
        content = content + bytes(self._stream.read(size - len(content)))
        self._header_bytes += len(content)
        if self._header_bytes > max(_HEADER_RATIO_ABOVE, MAX_RATIO * self._raw.tell()):
            detail = f"expected at most {MAX_RATIO} times its bytes, got {self._header_bytes}"
            raise PhotoError("ARCHIVE_BOMB", f"{detail} of headers and more")
        return content

    def seek(self, offset: int, whence: int = 0) -> int:
        """Move forward, counting what a compressed tar expands to."""
        if whence != io.SEEK_SET:
            raise io.UnsupportedOperation("seek other than from the start")
        if offset == self.tell():
            return offset
        self._held = b""
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

    def hold(self, block: bytes) -> None:
        """Give a block back, to be read again: going back costs a compressed tar a new beginning."""
        self._held = block

    def tell(self) -> int:
        """Where the next byte comes from, in the decompressed tar."""
        return int(self._stream.tell()) - len(self._held)

    def require(self, end: int) -> None:
        """Raise unless the tar reaches `end`."""
        reached = min(end, self.seek(end)) if self._compressed else min(end, self._raw_bytes)
        if reached < end:
            raise EOFError(f"expected {end} bytes, the archive ends at {reached}")

    def require_end(self) -> None:
        """Raise unless only zeros follow, at least one block of them, down to the stream's CRC."""
        num_zeros, self._held = len(self._held), b""
        while block := self._stream.read(1 << 16):
            if block.strip(b"\0"):
                raise ValueError("expected zeros after the last member, got other bytes")
            num_zeros += len(block)
            self._check_ratio()
        if num_zeros < _BLOCK:
            raise EOFError("expected blocks of zeros after the last member, got none")

    def _check_ratio(self) -> None:
        """Against the whole archive, and against what was read of it: a large bomb ends early."""
        here, read = self.tell(), self._raw.tell()
        so_far = here > max(RATIO_SO_FAR_ABOVE, MAX_RATIO * read)
        if so_far or here > max(RATIO_APPLIES_ABOVE, MAX_RATIO * self._raw_bytes):
            packed = read if so_far else self._raw_bytes
            raise PhotoError(
                "ARCHIVE_BOMB",
                f"expected at most {MAX_RATIO} times the archive's {packed} bytes, "
                f"got {here} and more",
            )


def _found(stream: _Counted) -> Iterator[SourceFile | Problem]:
    """The regular members and the problems, one after another, to the tar's end."""
    num_found, is_lost = 0, False
    for member in _members(stream):
        is_lost = isinstance(member, Problem)
        if isinstance(member, Problem):
            yield member
            continue
        stream.require(member.offset_data + _stored_bytes(member))
        if problem := _problem(member):
            yield problem
        elif member.isreg():
            yield _source_file(member)
        else:
            continue
        num_found += 1
        if num_found > MAX_MEMBERS:
            yield bomb("more members", f"{MAX_MEMBERS}")
            return
    if not is_lost:
        stream.require_end()


def _members(stream: _Counted) -> Iterator[tarfile.TarInfo | Problem]:
    """The members; for a header that is none a problem, and then what follows the next one that is."""
    while True:
        try:
            yield from _run_of_members(stream)
            place = stream.tell()
            block = stream.read(_BLOCK)
            if not block.strip(b"\0"):
                stream.hold(block)
                return
            yield damaged(f"expected a member's header at {place}, got other bytes")
        except (tarfile.TarError, ValueError) as error:
            yield damaged(error)
            place = -(-stream.tell() // _BLOCK) * _BLOCK - _BLOCK
            stream.seek(place + _BLOCK)
        block = b""
        while not is_tar_header(block):  # its size is not to be trusted, so block by block
            place, block = place + _BLOCK, stream.read(_BLOCK)
            if len(block) < _BLOCK:
                return
        stream.hold(block)


def _run_of_members(stream: _Counted) -> Iterator[tarfile.TarInfo]:
    """The members from here to the first header that is none; the stream is left there."""
    block = stream.read(_BLOCK)
    stream.hold(block)
    if not is_tar_header(block):
        return
    with tarfile.open(  # type: ignore[call-overload]
        fileobj=stream, mode="r:", errorlevel=2, encoding="utf-8", errors="surrogateescape"
    ) as tar:
        while (member := tar.next()) is not None:
            if member.size < 0 or tar.offset < member.offset_data:  # CVE-2025-8194: it would loop
                raise tarfile.ReadError(f"expected a member of a size, got {member.size} bytes")
            yield member
            tar.members = []  # it would keep every header
        stream.seek(tar.offset)


def is_tar_header(block: bytes) -> bool:
    """Whether 512 bytes are the header of a tar's member (POSIX ustar), by their checksum."""
    try:
        told = int(block[148:156].split(b"\0")[0].strip() or b"0", 8)
    except ValueError:
        return False
    return len(block) == _BLOCK and told in tarfile.calc_chksums(block)  # type: ignore[attr-defined]


def _source_file(member: tarfile.TarInfo) -> SourceFile:
    stamp = f"{member.offset_data}:{member.mtime}"
    path = posixpath.normpath(member.name)
    return SourceFile(path, member.size, stamp, member.offset_data)


def _stored_bytes(member: tarfile.TarInfo) -> int:
    """What must follow a header; a sparse member's size is that of the expanded file."""
    return member.size if member.isreg() and not member.issparse() else 0


def _problem(member: tarfile.TarInfo) -> Problem | None:
    if member.isdir():
        return None
    if not member.isreg() or member.issparse():
        detail = "expected a regular file, got a link, device or sparse file"
        return Problem(member.name, "NOT_REGULAR", detail)
    return name_problem(member.name) or size_problem(member.name, member.size)
