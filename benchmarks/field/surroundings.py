"""Cases of what is around a run: Prefect's settings (15), readers that go away (17)."""

from __future__ import annotations

import json
import os
import pty
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import prefect
from case import Clause
from place import PATIENCE, CheckError, Place, coloured, draw, last_line, wait
from prefect_server import server_saying

_ADVICE = ("Correct", "Set ", "Choose", "unset", "Install")
_CHUNKS_OF_ONE = '[archive]\npath = "in"\n[colorize]\nchunk = 1\nsheet = 0\n'
_DONE = (".chromaflow/stages/colorize/archive", "*/done/*.json")


def check_settings(place: Place) -> Iterator[Clause]:
    """15: settings of Prefect with which no flow can run."""
    draw(place.folder / "in/a.png", 1)
    settings = {
        "PREFECT_API_DATABASE_CONNECTION_URL": "sqlite+aiosqlite:////no/such/folder/p.db",
        "PREFECT_SERVER_ALLOW_EPHEMERAL_MODE": "false",
        "PREFECT_LOGGING_LEVEL": "WRONG",
    }
    for name, value in settings.items():
        yield _refused(place, name, value)
    with _read_only(place.folder / "home") as home:
        yield _refused(place, "PREFECT_HOME", str(home), "read-only")
    major, minor = (int(part) for part in prefect.__version__.split(".")[:2])
    for version in (f"{major}.{minor - 1}.0", f"{major + 1}.0.0"):
        with server_saying(json.dumps(version)) as url:
            yield _refused(place, "PREFECT_API_URL", url, f"a server of {version}")


@contextmanager
def _read_only(folder: Path) -> Iterator[Path]:
    """A folder that cannot be written; root needs a mount for that."""
    folder.mkdir(mode=0o555)
    with ExitStack() as stack:
        if os.getuid() == 0:
            mount = ["mount", "-t", "tmpfs", "-o", "ro", "none", str(folder)]
            if subprocess.run(mount, capture_output=True, check=False).returncode:
                raise CheckError("read-only PREFECT_HOME: root without the right to mount")
            stack.callback(subprocess.run, ["umount", str(folder)], check=True)
        yield folder


def _refused(place: Place, name: str, value: str, shown: str = "") -> Clause:
    """In one line that names the setting, exit 2 or 3, under 5 s.

    On a machine with other work the seconds are those of the processor.
    """
    ran = place.run("colorize", "in", "out", own=True, variables={name: value})
    lines = ran.err.strip().splitlines()
    told = len(lines) == 1 and name in lines[0] and any(word in lines[0] for word in _ADVICE)
    busy = os.getloadavg()[0] > len(os.sched_getaffinity(0))
    in_time = ran.seconds < 5 or (busy and ran.cpu_seconds < 5)
    words = f"{len(lines)} line" if told else last_line(ran.err)
    return Clause(
        got=f"{name} ({shown or value}): exit {ran.code}, {words}, {ran.seconds:.1f} s, "
        f"{ran.cpu_seconds:.1f} s of processors",
        right=ran.code in (2, 3) and told and in_time,
    )


def check_closed_pipe(place: Place) -> Iterator[Clause]:
    """17: `| head -1`, closed streams, a terminal that goes away."""
    num_photos = 4
    for seed in range(num_photos):
        draw(place.folder / "in" / f"{seed}.png", seed)
    (place.folder / "models.toml").write_text(_CHUNKS_OF_ONE)
    options = "--workers 1 --models models.toml"
    for out, line in {
        "piped": f"$C colorize in piped {options} 2>&1 | head -1; exit ${{PIPESTATUS[0]}}",
        "closed": f"$C colorize in closed {options} >&- 2>&-",
    }.items():
        ran = place.shell(line)
        state, num_coloured = _state(place, out), len(coloured(place.folder / out))
        yield Clause(
            got=f"{out}: exit {ran.code}, status {state}, {num_coloured} coloured",
            right=(ran.code, state, num_coloured) == (0, "done", num_photos),
        )
    yield from _hung_up(place, num_photos)


def _state(place: Place, out: str) -> str:
    """How the last run ended, as status says."""
    return str(place.asked("status", out)["last_run"]["state"])


def _hung_up(place: Place, num_photos: int) -> Iterator[Clause]:
    """The kernel sends SIGHUP to the run and to the server that it has started."""
    words = ("colorize", "in", "hung", "--workers", "1", "--models", "models.toml")
    terminal, inside = pty.openpty()
    os.set_blocking(terminal, False)
    process = subprocess.Popen(
        ["setsid", "--ctty", *place.command, *words],
        cwd=place.folder,
        env=place.environment(None, own=True),
        stdin=inside,
        stdout=inside,
        stderr=inside,
    )
    os.close(inside)
    done, deadline = place.folder / "hung" / _DONE[0], time.monotonic() + PATIENCE
    while not list(done.glob(_DONE[1])) and time.monotonic() < deadline:
        with suppress(BlockingIOError):
            os.read(terminal, 1 << 16)
        time.sleep(0.05)
    os.close(terminal)
    code, cpu = wait(process.pid)
    process.returncode = code
    place.cpu_seconds += cpu
    state = _state(place, "hung")
    yield Clause(
        got=f"SIGHUP: exit {code}, status {state}",
        right=(code, state) in ((130, "interrupted"), (0, "done")),
    )
    ran = place.run(*words)
    num_coloured = len(coloured(place.folder / "hung"))
    yield Clause(
        got=f"resumed: exit {ran.code}, {num_coloured} coloured",
        right=(ran.code, num_coloured) == (0, num_photos),
    )
