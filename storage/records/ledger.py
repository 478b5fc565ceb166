"""The durable record of what is done: atomic files, one JSON record an item, verification.

Order of every commit: temp file in the same folder → fsync → rename → fsync of the folder. Of a chunk of
photos the folders are synced once, between the last photo and the record that names them all.
"""

from __future__ import annotations

import errno
import fcntl
import json
import os
import re
import secrets
import shutil
import time
from collections.abc import Callable, Container, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from storage.errors import DamagedError, LockedError, OutputError
from storage.records.fingerprint import hash_bytes, hash_file

PARTIAL = ".partial"
"""Suffix of a file that is still being written; it never bears a final name."""
_PARTIAL_NAME = re.compile(rf"\.[0-9a-f]{{16}}{re.escape(PARTIAL)}")
_DISK_ERRORS = {errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EFBIG, errno.EIO}


@dataclass(frozen=True, slots=True)
class FileRecord:
    """What a file must still be when it is verified."""

    path: str
    """Relative to the folder that the record belongs to, with forward slashes."""
    bytes: int
    sha256: str

    @classmethod
    def from_dict(cls, value: Mapping[str, Any]) -> Self:
        """From JSON, which may say more of it. Raises KeyError."""
        return cls(value["path"], value["bytes"], value["sha256"])

    def to_dict(self) -> dict[str, Any]:
        """As JSON."""
        return {"path": self.path, "bytes": self.bytes, "sha256": self.sha256}


def sync_folder(folder: Path) -> None:
    """fsync a folder, so that renames in it survive a power loss."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def sync_folders_of(paths: Iterable[Path]) -> None:
    """`sync_folder` of every folder that one of these files lies in. Raises OutputError."""
    for folder in sorted({path.parent for path in paths}):
        try:
            sync_folder(folder)
        except OSError as error:
            raise _refused(folder, error) from error


@contextmanager
def atomic_path(path: Path, *, sync_its_folder: bool = True) -> Iterator[Path]:
    """A temporary path to write to; it becomes `path` when the block ends well.

    sync_its_folder: else the caller does it, for many files at once, before anything records them.
    Raises OutputError when the disk is full, read-only or not writable.
    """
    temporary = path.with_name(f".{secrets.token_hex(8)}{PARTIAL}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield temporary
        with temporary.open("rb") as file:
            os.fsync(file.fileno())
        temporary.replace(path)
        if sync_its_folder:
            sync_folder(path.parent)
    except OSError as error:
        if error.errno in _DISK_ERRORS:
            raise _refused(path, error) from error
        raise
    finally:
        temporary.unlink(missing_ok=True)


def _refused(path: Path, error: OSError) -> OutputError:
    return OutputError(
        f"Expected to write {path}, got: {error.strerror}. Free or repair the disk, then run again; what "
        "is done is kept."
    )


def link_or_copy(
    source: Path, target: Path, *, over: bool = False, sync_its_folder: bool = True
) -> None:
    """A hard link, or a copy where the disk has none to give; durable, and whole or not there.

    The file may be the same as before: whoever changes it must write another one. over: whether it
    takes the place of a target. sync_its_folder: see `atomic_path`. Raises FileExistsError where there is one and it must not, OutputError.
    """
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        if not over and _linked(source, target):
            if sync_its_folder:
                sync_folder(target.parent)
            return
        with atomic_path(target, sync_its_folder=sync_its_folder) as temporary:
            if not _linked(source, temporary):
                shutil.copyfile(source, temporary)
    except FileExistsError:
        raise
    except OSError as error:
        raise OutputError(
            f"Expected to copy {source} to {target}, got: {error.strerror}. Free or repair the "
            "disk, then run again."
        ) from error


def _linked(source: Path, target: Path) -> bool:
    """Whether the disk gives links: FAT, SMB, FUSE and another disk do not. Raises FileExistsError."""
    try:
        os.link(source, target)
    except FileExistsError:
        raise
    except OSError:  # of a full disk the copy says it
        if target.exists():
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(target)) from None
        return False
    return True


@contextmanager
def exclusive(path: Path, what: str, patience: float = 0.0) -> Iterator[None]:
    """Hold a lock file; the system frees it when the holder dies.

    what: it guards, for the message. patience: seconds to wait for the holder. Raises LockedError.
    """
    deadline = time.monotonic() + patience
    with path.open("a+") as file:
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError as error:
                if time.monotonic() < deadline:
                    time.sleep(0.2)
                    continue
                file.seek(0)
                holder = file.read().strip() or "unknown"
                raise LockedError(
                    f"Expected to be alone in {what}, but process {holder} works there. "
                    "Wait for it, or work in another folder."
                ) from error
        file.truncate(0)
        file.write(str(os.getpid()))
        file.flush()
        yield


def write_bytes(path: Path, content: bytes, *, sync_its_folder: bool = True) -> None:
    """Write a file atomically. sync_its_folder: see `atomic_path`. Raises OutputError."""
    with atomic_path(path, sync_its_folder=sync_its_folder) as temporary:
        temporary.write_bytes(content)


def write_recorded(root: Path, path: Path, content: bytes) -> FileRecord:
    """Write a file atomically and return its record, hashed on the way. Raises OutputError."""
    write_bytes(path, content)
    return FileRecord(path.relative_to(root).as_posix(), len(content), hash_bytes(content))


def write_json(path: Path, value: Any) -> None:
    """Write JSON atomically. Raises OutputError."""
    write_bytes(path, json.dumps(value, sort_keys=True).encode() + b"\n")


def read_json(path: Path) -> dict[str, Any] | None:
    """Read a JSON object; None where the file is missing, unreadable or is not one."""
    try:
        with path.open("rb", buffering=0) as file:  # whole at once: a buffer costs a third more
            value = json.loads(file.read())
    except (OSError, ValueError):
        return None
    return value if isinstance(value, dict) else None


def check_version(value: Mapping[str, Any], version: int, place: Path | None) -> None:
    """Refuse a JSON object of a version that is not known; one without any is of the first.

    place: its file. Raises DamagedError.
    """
    if (found := value.get("version", 1)) != version:
        raise DamagedError(
            f"Expected version {version} of {place or 'a record'}, got {found!r}: a later Chromaflow wrote it, or it "
            "is damaged. Update Chromaflow; or remove the file, and what it records is made again."
        )


def misshapen(place: Path | None, error: Exception) -> DamagedError:
    """Of a file of a known version that lacks what that version has, or has more. error: says what."""
    return DamagedError(
        f"Expected {place or 'a record'} as its version has it, got another: {error}. Update "
        "Chromaflow; or remove the file, and what it records is made again."
    )


def record_path(folder: Path, name: str) -> Path:
    """Where the record of one item of a step lies."""
    return folder / "done" / f"{name}.json"


def record_file(root: Path, path: Path) -> FileRecord:
    """Measure a file. Its path is kept relative to `root`, with `..` where it lies outside."""
    relative = Path(os.path.relpath(path, root)).as_posix()
    return FileRecord(relative, path.stat().st_size, hash_file(path))


def damage(
    root: Path, record: FileRecord, hash_of: Callable[[Path], str | None] = hash_file
) -> str | None:
    """What is wrong with a recorded file: None, or 'PATH is missing' or 'PATH has changed'.

    hash_of: how its SHA-256 is found; by default it is read.
    """
    path = root / record.path
    try:
        if path.stat().st_size == record.bytes and hash_of(path) == record.sha256:
            return None
    except (FileNotFoundError, NotADirectoryError):
        return f"{record.path} is missing"
    except OSError as error:
        return f"{record.path} cannot be read: {error.strerror}"
    return f"{record.path} has changed"


def remove_unnamed(folder: Path, pattern: str, names: Container[str] = ()) -> None:
    """Delete what fits a pattern in a folder of ours and nobody names any more, durably."""
    unnamed = [path for path in folder.glob(pattern) if path.name not in names]
    for path in unnamed:
        path.unlink()
    if unnamed:
        sync_folder(folder)


def remove_recorded(root: Path, record: FileRecord) -> None:
    """Delete a recorded file. One that was changed since it was written is somebody's, and stays."""
    if damage(root, record) is None:
        (root / record.path).unlink()


def remove_partials(folder: Path, *, deep: bool = True, but: Path | None = None) -> None:
    """Delete what a killed writer of ours left in a folder, and below it if `deep`, but in one folder."""
    for where, folders, names in os.walk(folder):  # a pattern of pathlib takes ten times as long
        links = [name for name in folders if os.path.islink(os.path.join(where, name))]
        for name in filter(
            _PARTIAL_NAME.fullmatch, names + links
        ):  # a link to a folder counts as one
            Path(where, name).unlink(missing_ok=True)
        folders[:] = [name for name in folders if deep and Path(where, name) != but]
