"""A file system of fsspec whose files cannot be read while `FailingDisk.error` is set, for tests."""

from __future__ import annotations

import io
from typing import Any

import fsspec
from fsspec.implementations.memory import MemoryFileSystem


class FailingDisk(MemoryFileSystem):
    """Files of which the disk reads the beginning only, as far as `error` says."""

    protocol = "failing"
    error: Exception | None = None
    store: dict[str, Any] = {}

    @classmethod
    def _strip_protocol(cls, path: str) -> str:
        return "/" + path.removeprefix("failing://").strip("/")

    def _open(self, path: str, *args: Any, **named: Any) -> Any:
        if isinstance(self.error, PermissionError):
            raise self.error
        file = super()._open(path, *args, **named)
        return _File(file, self) if self.error else file


class _File(io.BytesIO):
    def __init__(self, file: Any, disk: FailingDisk) -> None:
        super().__init__(file.getvalue())
        self._disk = disk

    def read(self, size: int | None = -1, /) -> bytes:
        assert self._disk.error is not None
        raise self._disk.error


fsspec.register_implementation("failing", FailingDisk, clobber=True)
