"""An item whose Dask worker died, done in a process of its own: which photo did it, and how?

The worker that starts the process outlives it. So a death says what it is of, neighbours are not
blamed for it, and the signal is known, which Dask does not pass on.
"""

from __future__ import annotations

import os
import pickle
import select
import signal
import subprocess
import sys
import threading
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, BinaryIO, cast

import psutil

from chromaflow.errors import ChromaflowError
from storage.child_pipes import exit_code, exit_name
from storage.children import child_environment, end_with_parent, module_command
from tasks.jobs.items import ItemResult, PhotoItem, WorkItem
from tasks.jobs.machine import memory_limit

Job = Callable[[Any], ItemResult]
Reason = tuple[str, str]
"""Code and detail of a quarantine."""
_MEMORY_SHARE = 0.95
"""Of what a worker may take, as under Dask's nanny."""
_LOOK_SECONDS = 0.1
_MOST_EXPENDABLE = "1000"
"""Of proc(5), oom_score_adj: where memory ends, this process goes and no worker."""


class ItemDiesError(ChromaflowError):
    """The process of an item dies even without its photos."""

    code = "ITEM_DIES"
    exit_code = 1


class _DiedError(Exception):
    def __init__(self, reason: Reason) -> None:
        super().__init__(reason)
        self.reason = reason


def do_apart(job: Job, item: PhotoItem) -> ItemResult:
    """Do an item that its worker may not survive, without the photos that it dies of.

    Those are tried one by one. Where none does it alone, all of the item are left out. Raises
    ItemDiesError where it dies even then, and what the job raises.
    """
    with _process() as process:
        try:
            return process.do(job, item)  # another item's death took it along
        except _DiedError as error:
            deaths = {photo["path"]: error.reason for photo in item.photos}
        if len(item.photos) > 1:
            deaths = dict(_deaths_alone(process, job, item))
        try:
            return process.do(job, replace(item, crashed={**item.crashed, **deaths}))
        except _DiedError as error:
            deaths = {photo["path"]: _of_all(error.reason) for photo in item.photos}
        try:
            return process.do(job, replace(item, crashed={**item.crashed, **deaths}))
        except _DiedError as error:
            step = "/".join(Path(item.folder).parts[-3:-1])
            raise ItemDiesError(
                f"Expected {item.name} of {step} to be done, but its "
                f"process dies before it reads a photo: {error.reason[1]}. Give each worker more "
                "memory by fewer --workers; if it is a segmenter of your own, try it by itself."
            ) from None


def _deaths_alone(process: _Process, job: Job, item: PhotoItem) -> Iterator[tuple[str, Reason]]:
    """Photos of which the process dies alone. What is written meanwhile is thrown away; any other
    trouble is left to the item as a whole, which says it."""
    with TemporaryDirectory(prefix="chromaflow-") as scratch:
        elsewhere: dict[str, Any] = {"folder": scratch} | (
            {"output": scratch} if hasattr(item, "output") else {}
        )
        for photo in item.photos:
            try:
                process.do(job, replace(item, photos=(photo,), **elsewhere))
            except _DiedError as error:
                yield photo["path"], error.reason
            except Exception:  # noqa: BLE001, S112 - see above
                continue


def _of_all(reason: Reason) -> Reason:
    return reason[0], f"{reason[1]}; with the photos beside it in the work, not alone"


class _Process:
    """A process that does items one after another; a new one when it has died."""

    def __init__(self, most_bytes: float) -> None:
        self._most_bytes = most_bytes
        self._running: subprocess.Popen[bytes] | None = None

    def do(self, job: Job, item: WorkItem) -> ItemResult:
        """Raises _DiedError, and what the job raises."""
        running = self._running or self._start()
        try:
            _put(cast("BinaryIO", running.stdin), (job, item))
            self._wait(running)
            result, error = pickle.load(cast("BinaryIO", running.stdout))
        except (OSError, EOFError, pickle.UnpicklingError):
            raise _DiedError(self._reason(running)) from None
        if error is not None:
            raise error
        return cast("ItemResult", result)

    def close(self) -> None:
        """End it."""
        if self._running is not None:
            self._running.kill()
            self._running.communicate()
        self._running = None

    def _start(self) -> subprocess.Popen[bytes]:
        self._running = subprocess.Popen(
            module_command(__name__),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=child_environment(),
        )
        return self._running

    def _wait(self, running: subprocess.Popen[bytes]) -> None:
        """Until it answers or is gone. Raises _DiedError where it takes more memory than it may."""
        while not select.select([cast("BinaryIO", running.stdout)], [], [], _LOOK_SECONDS)[0]:
            if _resident(running.pid) > self._most_bytes:
                self.close()
                most = f"{self._most_bytes / 1e6:,.0f} MB"
                raise _DiedError(("OUT_OF_MEMORY", f"expected at most {most} a worker, got more"))

    def _reason(self, running: subprocess.Popen[bytes]) -> Reason:
        code = exit_code(running)
        self.close()
        if code == -signal.SIGKILL:
            return "OUT_OF_MEMORY", "the system ended its process, as it does where memory ends"
        how = f", with {exit_name(code)}" if code is not None else ""
        return "CRASHED", f"the process that worked on it died of it{how}"


@contextmanager
def _process() -> Iterator[_Process]:
    process = _Process(_MEMORY_SHARE * memory_limit())
    try:
        yield process
    finally:
        process.close()


def _resident(process: int) -> int:
    try:
        return int(psutil.Process(process).memory_info().rss)
    except psutil.Error:  # it is gone, which its pipe says
        return 0


def _put(file: BinaryIO, value: Any) -> None:
    file.write(pickle.dumps(value))
    file.flush()


def main() -> None:
    """Do the items that come on stdin until it ends; answer each with (result, error)."""
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # a library that prints must not talk into the answers
    threading.Thread(target=end_with_parent, args=(os.getppid(),), daemon=True).start()
    with suppress(OSError):  # of Linux only
        Path("/proc/self/oom_score_adj").write_text(_MOST_EXPENDABLE)
    while True:
        try:
            job, item = pickle.load(sys.stdin.buffer)
        except EOFError:
            return
        try:
            _put(answers, (job(item), None))
        except Exception as error:  # noqa: BLE001 - raised again where the item was sent from
            _put(answers, (None, _portable(error)))


def _portable(error: Exception) -> Exception:
    """An error that pickle can take along; what it cannot becomes the text of a RuntimeError."""
    text = traceback.format_exc()
    try:
        pickle.loads(pickle.dumps(error))
    except Exception:  # noqa: BLE001 - whatever its class does when it is made again
        return RuntimeError(text)
    error.add_note(text)
    return error


if __name__ == "__main__":
    main()
