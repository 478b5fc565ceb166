"""Standard streams that may go away: the reader of a pipe, a terminal, what a shell closed (`>&-`).

A run does not need its words. Without this, the first of them after `| head -1` ends it as failed, and
a file of ours is opened under the number of a closed stream, where any print writes into it.
"""

from __future__ import annotations

import errno
import io
import os
import signal
import sys
from types import FrameType
from typing import TextIO

from storage.errors import OutputError

_STDIN, _STDOUT, _STDERR = 0, 1, 2
_GONE = {errno.EPIPE, errno.EIO, errno.EBADF, errno.ECONNRESET, errno.ENXIO}
"""No reader; the terminal hung up; closed. Words on stderr may also meet a full disk."""


class _Lasting(io.FileIO):
    """A stream that takes all that is written; once nobody reads it, /dev/null does."""

    def __init__(self, number: int) -> None:
        super().__init__(number, "w", closefd=False)

    def write(self, content: object) -> int:
        try:
            return super().write(content)  # type: ignore[arg-type]
        except OSError as error:
            number = self.fileno()
            _give_up(number)
            if number == _STDOUT and error.errno not in _GONE:  # results, on a full disk
                raise OutputError(
                    f"Expected to write to stdout, got: {error.strerror}. Free the disk, then run the "
                    "same command again; what is done is kept."
                ) from error
        return len(memoryview(content))  # type: ignore[arg-type]


def hold_streams() -> None:
    """Make stdout and stderr lasting, and SIGHUP what Ctrl-C is. First of all in a command."""
    for number in (_STDIN, _STDOUT, _STDERR):
        try:
            os.fstat(number)
        except OSError:
            _give_up(number)
    if sys.stdin is None:
        sys.stdin = open(_STDIN, closefd=False)  # noqa: SIM115, PTH123 - for the life of the process
    sys.stdout = _lasting(_STDOUT, sys.stdout)
    sys.stderr = _lasting(_STDERR, sys.stderr)
    if signal.getsignal(signal.SIGHUP) == signal.SIG_DFL:  # else nohup: the run goes on
        signal.signal(signal.SIGHUP, _interrupt)


def _lasting(number: int, stream: TextIO | None) -> TextIO:
    """A text stream like the one that is there."""
    encoding = getattr(stream, "encoding", None) or "utf-8"
    errors = getattr(stream, "errors", None) or "backslashreplace"
    by_line = number == _STDERR or os.isatty(number)
    raw = _Lasting(number)
    return io.TextIOWrapper(
        io.BufferedWriter(raw), encoding=encoding, errors=errors, line_buffering=by_line
    )


def _give_up(number: int) -> None:
    """Open /dev/null under the number of a stream."""
    mode = os.O_RDONLY if number == _STDIN else os.O_WRONLY
    nowhere = os.open(os.devnull, mode)
    if nowhere != number:
        os.dup2(nowhere, number)
        os.close(nowhere)
    os.set_inheritable(number, True)


def _interrupt(number: int, frame: FrameType | None) -> None:
    """As Ctrl-C does: what is done is kept. The terminal is gone, and a second hang-up with it."""
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    raise KeyboardInterrupt
