"""Where a case is tried: a folder of its own, in which the real command runs."""

from __future__ import annotations

import json
import os
import shlex
import signal
import subprocess
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from conftest import draw_photo
from PIL import Image

PATIENCE = 900
"""Seconds for one command; a busy machine takes minutes for what a quiet one does in ten seconds."""


class CheckError(Exception):
    """A command left nothing that can be checked; says what it said instead."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Ran:
    """A command that has ended."""

    code: int
    out: str
    err: str
    seconds: float
    cpu_seconds: float

    @property
    def words(self) -> str:
        """All that it said."""
        return self.out + self.err

    def json(self) -> Any:
        """What it printed as JSON; raises CheckError where it printed none."""
        try:
            return json.loads(self.out)
        except json.JSONDecodeError:
            raise CheckError(f"no JSON, exit {self.code}, {last_line(self.err)}") from None


@dataclass(kw_only=True, slots=True)
class Place:
    """The folder of a case and how the command is called in it."""

    folder: Path
    command: tuple[str, ...]
    server: str = ""
    """URL of a Prefect server's API that runs; empty: commands start their own."""
    given: Path | None = None
    """The folder `in` of the case, where the research data is."""
    seconds: float = 0.0
    cpu_seconds: float = 0.0
    """Of all commands so far, user and system, with their children."""
    _count: int = field(default=0, repr=False)

    def environment(self, variables: Mapping[str, str] | None, *, own: bool) -> dict[str, str]:
        """Ours without Prefect's variables; own: each command starts a server of its own."""
        kept = {
            name: value for name, value in os.environ.items() if not name.startswith("PREFECT_")
        }
        server = {} if own or not self.server else {"PREFECT_API_URL": self.server}
        return kept | server | dict(variables or {})

    def run(
        self, *words: object, own: bool = False, variables: Mapping[str, str] | None = None
    ) -> Ran:
        """`chromaflow WORDS` to its end."""
        return self._run([*self.command, *map(str, words)], self.environment(variables, own=own))

    def shell(self, line: str) -> Ran:
        """A line of bash, in which $C is the command."""
        line = line.replace("$C", shlex.join(self.command))
        return self._run(["bash", "-c", line], self.environment(None, own=False))

    def asked(self, *words: object) -> Any:
        """The JSON of a command that changes nothing."""
        return self.run(*words, "--json").json()

    def _run(self, command: list[str], environment: dict[str, str]) -> Ran:
        self._count += 1
        kept = self.folder.parent / f"{self.folder.name}-words"  # no file that a case would see
        kept.mkdir(exist_ok=True)
        out, err = (kept / f"{self._count:02d}.{name}" for name in ("out", "err"))
        begun = time.monotonic()
        with out.open("w") as to_out, err.open("w") as to_err:
            process = subprocess.Popen(
                command,
                cwd=self.folder,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=to_out,
                stderr=to_err,
                start_new_session=True,
            )
        code, cpu = wait(process.pid)
        process.returncode = code
        seconds = time.monotonic() - begun
        self.seconds, self.cpu_seconds = self.seconds + seconds, self.cpu_seconds + cpu
        texts = (path.read_text(errors="replace") for path in (out, err))
        return Ran(code=code, out=next(texts), err=next(texts), seconds=seconds, cpu_seconds=cpu)


def wait(pid: int) -> tuple[int, float]:
    """Exit code and processor seconds of a child; one that takes too long is ended with its group."""
    deadline = time.monotonic() + PATIENCE
    while True:
        found, status, usage = os.wait4(pid, os.WNOHANG)
        if found:
            return os.waitstatus_to_exitcode(status), usage.ru_utime + usage.ru_stime
        if time.monotonic() > deadline:
            os.killpg(pid, signal.SIGKILL)
            os.wait4(pid, 0)
            raise CheckError(f"a command did not end within {PATIENCE} s")
        time.sleep(0.02)


def draw(path: Path, seed: int) -> None:
    """A small gray photo, another for each seed."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(draw_photo(seed, 64, 48)).convert("L").save(path)


def coloured(out: Path) -> dict[str, tuple[int, int]]:
    """Colour photos below OUT by path: time and inode, which another writing changes."""
    found = (path for path in out.rglob("*") if path.is_file() and not path.is_symlink())
    shown = ((path.relative_to(out), path.stat()) for path in found)
    return {
        path.as_posix(): (stat.st_mtime_ns, stat.st_ino)
        for path, stat in shown
        if ".chromaflow" not in path.parts
    }


def last_line(text: str) -> str:
    """The last thing that a command said, short."""
    lines = text.strip().splitlines()
    return lines[-1][:160] if lines else "not a word"
