"""`dask scheduler` and `dask worker`s as a user starts them, for tests: on loopback, plain or with TLS."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

import psutil
from distributed.security import Security
from prefect_server import free_port

ROOT = Path(__file__).parents[1]
TLS = "DASK_DISTRIBUTED__COMM__TLS__"
DASK = [sys.executable, "-m", "dask"]


@contextmanager
def running(
    command: Sequence[str], log: Path, path: Sequence[Path] = (ROOT,)
) -> Iterator[psutil.Process]:
    """A process for the time of the block; its end is waited for. path: PYTHONPATH."""
    with log.open("w") as file:
        environment = os.environ | {"PYTHONPATH": os.pathsep.join(map(str, path))}
        process = subprocess.Popen(
            command, cwd=log.parent, env=environment, stdout=file, stderr=file
        )
    try:
        yield psutil.Process(process.pid)
    finally:
        process.terminate()
        process.wait(timeout=30)


@contextmanager
def dask_at(folder: Path, scheme: str, num_workers: int) -> Iterator[str]:
    """`dask scheduler` and `dask worker`s as a user starts them. Gives the scheduler's address."""
    folder.mkdir(exist_ok=True)
    address = f"{scheme}://127.0.0.1:{free_port()}"
    scheduler = ["scheduler", "--host", address, "--no-dashboard"]
    with ExitStack() as stack:
        stack.enter_context(running([*DASK, *scheduler], folder / "scheduler.log"))
        for number in range(num_workers):
            stack.enter_context(running(worker_at(address, folder), folder / f"{number}.log"))
        wait_for_workers(folder, num_workers)
        yield address


def worker_at(address: str, folder: Path, python: Sequence[str] = (sys.executable,)) -> list[str]:
    words = ["--host", "127.0.0.1", "--nthreads", "1", "--no-dashboard"]
    return [*python, *DASK[1:], "worker", address, *words, "--local-directory", str(folder)]


def wait_for_workers(folder: Path, num_workers: int) -> None:
    """Until so many have come to the scheduler, gone ones included."""
    deadline = time.monotonic() + 120
    while (folder / "scheduler.log").read_text().count("Register worker") < num_workers:
        assert time.monotonic() < deadline, (folder / "scheduler.log").read_text()
        time.sleep(0.2)


def write_certificates(folder: Path) -> dict[str, Path]:
    """One temporary certificate for all, by Dask's name of each setting."""
    temporary = Security.temporary()
    contents = {
        "CA_FILE": temporary.tls_ca_file,
        **{
            f"{role}__CERT": temporary.tls_client_cert for role in ("CLIENT", "SCHEDULER", "WORKER")
        },
        **{f"{role}__KEY": temporary.tls_client_key for role in ("CLIENT", "SCHEDULER", "WORKER")},
    }
    files = {name: folder / f"{name}.pem" for name in contents}
    for name, path in files.items():
        path.write_text(contents[name])
    return files
