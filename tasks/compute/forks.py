"""The process that local Dask workers are forked from: it imports what they need once, for all of them.

torch and what is around it take three seconds of a processor to import. A command begins this process
before it imports anything large itself, so that its workers are there when it is; a worker that dies
has a successor at once (docs/decisions/042).
"""

from __future__ import annotations

import atexit
import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from multiprocessing import forkserver, get_context, resource_tracker

from storage.children import child_environment

METHOD = "forkserver"
"""Of multiprocessing, as Dask's settings name it."""
_IMPORTED = ("distributed.nanny", "distributed.worker", "tasks.jobs.ready_to_fork")
WORKER_ENVIRONMENT = {
    "MALLOC_MMAP_THRESHOLD_": str(1 << 30),
    "MALLOC_TRIM_THRESHOLD_": str(1 << 29),
    "MALLOC_ARENA_MAX": "8",
    "OMP_NUM_THREADS": "1",
    "ONEDNN_PRIMITIVE_CACHE_CAPACITY": "256",
    "OPENBLAS_NUM_THREADS": "1",
}
"""Of Dask workers. Dask's own MALLOC_TRIM_THRESHOLD_ of 64 KiB gives every array back to the system
and takes it again page by page: preprocess took 2.1 times as long, training 1.3 times. Arenas are as
many as threads work at a time (with two, the second process of preprocess gave a quarter less).
Photos of many sizes would fill oneDNN's cache of 1,024 primitives with 450 MB."""


def begin_forks() -> None:
    """Start the process that this one's workers are forked from; does nothing where it runs.

    It ends with this process. What it cannot import is imported by the workers.
    """
    if _begun() is None:
        atexit.register(_end_forks)
    get_context(METHOD).set_forkserver_preload([*_IMPORTED])
    resource_tracker.ensure_running()  # where it starts it lets Ctrl-C through again
    with _environment(child_environment() | WORKER_ENVIRONMENT), _deaf_children():
        forkserver.ensure_running()


def _end_forks() -> None:
    """It would end by itself, but not before it has imported everything."""
    pid = _begun()
    with suppress(ProcessLookupError, ChildProcessError):  # it has died before
        if pid is not None:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)


def _begun() -> int | None:
    """The process, as the module keeps it."""
    pid: int | None = forkserver._forkserver._forkserver_pid  # type: ignore[attr-defined]
    return pid


@contextmanager
def _environment(wanted: dict[str, str]) -> Iterator[None]:
    """Processes that are started within get these variables."""
    before = dict(os.environ)
    os.environ.update(wanted)
    try:
        yield
    finally:
        for name in wanted:
            if name in before:
                os.environ[name] = before[name]
            else:
                del os.environ[name]


@contextmanager
def _deaf_children() -> Iterator[None]:
    """Processes that are started within do not hear Ctrl-C and hang-ups, which are for this one."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, (signal.SIGINT, signal.SIGHUP))
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
