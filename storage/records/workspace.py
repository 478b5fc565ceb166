"""Where everything lies below a workspace (layout: docs/guide.md), and its lock."""

from __future__ import annotations

import fcntl
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from storage.errors import OutputError
from storage.records.ledger import PARTIAL, exclusive, remove_partials, sync_folder

_PRIVATE = 0o700
_PROBE_SECONDS = 0.1
"""`lock` has so much patience with `is_locked`, which holds the lock for a moment."""


@dataclass(frozen=True, slots=True)
class Workspace:
    """The folder that one project's stages, runs and Prefect state live in."""

    root: Path

    @property
    def stages(self) -> Path:
        """stages/<stage>/<key>/<fp12>/."""
        return self.root / "stages"

    @property
    def runs(self) -> Path:
        """runs/<run-id>/."""
        return self.root / "runs"

    @property
    def report(self) -> Path:
        """The page of the archive, and what it shows."""
        return self.root / "report"

    @property
    def prefect_home(self) -> Path:
        """The ephemeral Prefect server's database and settings."""
        return self.root / ".prefect"

    @property
    def dask(self) -> Path:
        """Logs of a batch queue's Dask workers, and while these run their certificates."""
        return self.root / ".dask"

    @property
    def hashes(self) -> Path:
        """What is known of files' hashes (`storage.records.known_hashes`); it may be deleted at any time."""
        return self.root / "hashes.bin"

    def stage_dir(self, stage: str, key: str, fingerprint: str) -> Path:
        """The folder of one stage × key at one fingerprint."""
        return self.stages / stage / key / fingerprint[:12]

    def current(self, stage: str, key: str) -> Path:
        """The symlink to the published folder of a stage × key."""
        return self.root / "current" / stage / key

    def set_current(self, stage: str, key: str, folder: Path) -> None:
        """Point `current` at a published folder, atomically."""
        link = self.current(stage, key)
        link.parent.mkdir(parents=True, exist_ok=True)
        temporary = link.with_name(f".{secrets.token_hex(8)}{PARTIAL}")
        temporary.symlink_to(os.path.relpath(folder, link.parent))
        temporary.replace(link)
        sync_folder(link.parent)

    def all_current(self) -> list[Path]:
        """The symlinks of all published folders."""
        links = sorted((self.root / "current").glob("*/*"))
        return [link for link in links if not link.name.startswith(".")]

    def remove_partials(self) -> None:
        """Delete what a killed run left half made beside its steps, which see to their own folders."""
        remove_partials(self.root, deep=False)
        for folder in (self.root / "current", self.runs, self.report, self.prefect_home):
            remove_partials(folder)

    def unset_current(self, stage: str, key: str) -> None:
        """Forget the published folder of a stage × key; its files stay."""
        self.current(stage, key).unlink(missing_ok=True)

    def create(self) -> None:
        """Make the root folder, for its owner only where it is hidden (the state of an output tree).

        Prefect's folder is its owner's in any case: it holds a database, and results that are
        unpickled when they are read. Raises OutputError.
        """
        try:
            mode = _PRIVATE if self.root.name.startswith(".") else 0o777
            self.root.mkdir(mode=mode, parents=True, exist_ok=True)
            self.prefect_home.mkdir(mode=_PRIVATE, exist_ok=True)
            self.prefect_home.chmod(_PRIVATE)
        except OSError as error:
            raise OutputError(
                f"Expected a writable workspace {self.root}, got: {error.strerror}. "
                "Choose another folder."
            ) from error

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Hold the workspace; the system frees it when the holder dies. Raises LockedError."""
        with exclusive(self._lock_file, str(self.root), patience=_PROBE_SECONDS):
            self.remove_partials()
            yield

    def is_locked(self) -> bool:
        """Whether a process holds the workspace."""
        if not self._lock_file.exists():
            return False
        with self._lock_file.open() as file:
            try:
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError:
                return True
        return False

    @property
    def _lock_file(self) -> Path:
        return self.root / ".lock"
