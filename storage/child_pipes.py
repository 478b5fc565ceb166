"""Talking to a process through its stdin and stdout, with a limit of time on every byte."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import time
from contextlib import suppress

_AT_ONCE = 1 << 16
"""Bytes, as many as a pipe holds."""
_LONGEST_LINE = 1 << 30
_DYING = 0.2
"""Seconds in which a process whose pipe ended is expected to be gone."""


class PipeEndedError(Exception):
    """The process closed its pipe, or time is up. Whoever asked says what that means."""


class Pipes:
    """Both ends of a process that was started with bufsize=0. Deadlines are of `time.monotonic`.

    Every method raises PipeEndedError.
    """

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        if process.stdin is None or process.stdout is None:
            raise ValueError("Expected a process with pipes for stdin and stdout.")
        self._stdin, self._stdout = process.stdin.fileno(), process.stdout.fileno()
        self._ahead = bytearray()
        os.set_blocking(self._stdin, False)

    def send(self, content: bytes, deadline: float) -> None:
        """Write all of it."""
        left = memoryview(content)
        while left:
            self._wait(self._stdin, select.POLLOUT, deadline)
            try:
                left = left[os.write(self._stdin, left[:_AT_ONCE]) :]
            except (BrokenPipeError, ConnectionResetError) as error:
                raise PipeEndedError from error
            except BlockingIOError:  # less room than was asked for
                time.sleep(0.001)

    def read_line(self, deadline: float) -> bytes:
        """A whole line; half a one is what a dying process leaves."""
        searched = 0
        while (end := self._ahead.find(b"\n", searched)) < 0:
            searched = len(self._ahead)
            self._wait(self._stdout, select.POLLIN, deadline)
            content = os.read(self._stdout, _AT_ONCE)
            if not content or searched > _LONGEST_LINE:
                raise PipeEndedError
            self._ahead += content
        line = bytes(self._ahead[:end])
        del self._ahead[: end + 1]
        return line

    def read_into(self, view: memoryview, deadline: float) -> None:
        """Fill bytes."""
        ahead = self._ahead[: len(view)]
        del self._ahead[: len(ahead)]
        view[: len(ahead)] = ahead
        place = len(ahead)
        while place < len(view):
            self._wait(self._stdout, select.POLLIN, deadline)
            count = os.readv(self._stdout, [view[place:]])
            if not count:
                raise PipeEndedError
            place += count

    @staticmethod
    def _wait(end: int, event: int, deadline: float) -> None:
        poll = select.poll()
        poll.register(end, event)
        if not poll.poll(1000 * max(0.0, deadline - time.monotonic())):
            raise PipeEndedError


def exit_code(process: subprocess.Popen[bytes]) -> int | None:
    """With which a process ended that may be dying; None for one that lives."""
    with suppress(subprocess.TimeoutExpired):
        process.wait(_DYING)
    return process.poll()


def exit_name(code: int) -> str:
    """An exit code in words."""
    return signal.Signals(-code).name if code < 0 else f"exit {code}"
