"""One writer at a URL: a lock object with its owner, kept alive, taken over when its owner is dead.

Object stores know neither `flock` nor rename. What they know is "create where nothing is": locks are
numbered, and who creates the number after a dead one holds it, so that of many one does.
"""

from __future__ import annotations

import json
import os
import platform
import secrets
import threading
from datetime import timedelta
from pathlib import Path
from typing import Any

from storage.errors import LockedError
from storage.reading import RemoteError
from storage.records.names import LOCK_FOLDER
from storage.remote.folder import Remote

LEASE_SECONDS = 60.0
"""A lock that was not renewed for so long is dead, by the clock of the service."""
_RENEWALS = 6
"""In a lease."""
_CLOCK_SECONDS = 1.0
"""S3 dates objects in whole seconds: a lock may look so much older than it is."""
_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


class RemoteLock:
    """The lock of a URL. `acquire` raises LockedError where another run holds it."""

    def __init__(self, remote: Remote, local_lock: Path, lease: float = LEASE_SECONDS) -> None:
        """local_lock: a lock file of this machine that the caller holds already. Whoever held the
        URL through the same file is therefore dead, and is not waited for."""
        self._remote, self._lease = remote, lease
        status = local_lock.stat()
        self._holder = {
            "token": secrets.token_hex(16),
            "host": platform.node(),
            "process": os.getpid(),
            "place": f"{_BOOT_ID.read_text().strip()} {status.st_dev} {status.st_ino}",
        }
        self._content = json.dumps(self._holder, sort_keys=True).encode()
        self._own = ""
        self._released = threading.Event()
        self._renewing = threading.Thread(target=self._renew, daemon=True)

    def acquire(self) -> None:
        """Hold the URL. Raises LockedError, RemoteError."""
        found = self._numbers()
        for name in found:
            self._refuse_living(name)
        own = f"{int(found[-1]) + 1 if found else 1:08d}"
        if not self._remote.create(f"{LOCK_FOLDER}/{own}", self._content):
            raise self._locked(self._read(own))
        self._own = own
        others = [name for name in self._numbers() if name not in (*found, own)]
        if others:  # created from another listing at the same moment
            self._remote.remove(f"{LOCK_FOLDER}/{own}")
            raise self._locked(self._read(others[0]))
        for name in self._remote.names(LOCK_FOLDER):
            if name in found or not name.isdigit():
                self._remote.remove(f"{LOCK_FOLDER}/{name}")
        self._renewing.start()

    def check(self) -> None:
        """Raise LockedError where another run took the URL over, as after a long sleep of ours."""
        newest = (self._numbers() or [""])[-1]
        if newest != self._own or self._read(self._own) != self._holder:
            raise self._locked(self._read(newest) if newest else None)

    def release(self) -> None:
        """Let the URL go."""
        self._released.set()
        self._renewing.join()
        if self._read(self._own) == self._holder:
            self._remote.remove(f"{LOCK_FOLDER}/{self._own}")

    def _renew(self) -> None:
        while not self._released.wait(self._lease / _RENEWALS):
            try:
                if self._read(self._own) != self._holder:
                    return  # `check` says so
                self._remote.write(f"{LOCK_FOLDER}/{self._own}", self._content)
            except RemoteError:
                continue  # it may answer again; else the run's next publication names it

    def _refuse_living(self, name: str) -> None:
        """Raise LockedError unless the holder of a lock is dead or gone."""
        holder = self._read(name)
        if holder is None or holder.get("place") == self._holder["place"]:
            return
        renewed = self._remote.modified(f"{LOCK_FOLDER}/{name}")
        if renewed is None:
            return
        probe = f"{LOCK_FOLDER}/probe-{self._holder['token']}"
        self._remote.write(probe, b"what time is it?")
        now = self._remote.modified(probe)
        self._remote.remove(probe)
        if now is None or now - renewed < timedelta(seconds=self._lease + _CLOCK_SECONDS):
            raise self._locked(holder)

    def _numbers(self) -> list[str]:
        return [name for name in self._remote.names(LOCK_FOLDER) if name.isdigit()]

    def _read(self, name: str) -> dict[str, Any] | None:
        content = self._remote.read(f"{LOCK_FOLDER}/{name}")
        if content is None:
            return None
        holder: dict[str, Any] = json.loads(content)
        return holder

    def _locked(self, holder: dict[str, Any] | None) -> LockedError:
        known = holder or {"process": "unknown", "host": "another host"}
        return LockedError(
            f"Expected to be alone at {self._remote.url}, but process {known['process']} of "
            f"{known['host']} works there. Wait for it; if it is dead, for {self._lease:g} s."
        )
