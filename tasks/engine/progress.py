"""Progress for people (a bar on a terminal, plain lines elsewhere) and as a Prefect artifact."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Protocol

from storage.visible import visible
from tasks.loudness import is_quiet, is_verbose

_LINE_SECONDS = 10.0
_ARTIFACT_SECONDS = 5.0


class Terminal(Protocol):
    """Where progress is shown."""

    def update(self, label: str, done: int, total: int, note: str) -> None:
        """Show that `done` of `total` units are done."""
        ...

    def message(self, text: str) -> None:
        """Show a line."""
        ...


class PlainTerminal:
    """Lines on stderr: one at most every ten seconds for a step, and one at its end."""

    def __init__(self) -> None:
        self._started: dict[str, float] = {}
        self._shown: dict[str, float] = {}
        self._lock = threading.Lock()

    def update(self, label: str, done: int, total: int, note: str) -> None:
        """Show the step if it is its turn."""
        now = time.monotonic()
        with self._lock:
            started = self._started.setdefault(label, now)
            if done < total and now - self._shown.setdefault(label, now) < _LINE_SECONDS:
                return
            self._shown[label] = now
        self.message(f"{label}: {done}/{total} {_pace(done, total, now - started)} {note}".rstrip())

    def message(self, text: str) -> None:
        """Print a line."""
        print(visible(text), file=sys.stderr, flush=True)


class SilentTerminal:
    """Nothing."""

    def update(self, label: str, done: int, total: int, note: str) -> None:
        """Show nothing."""

    def message(self, text: str) -> None:
        """Show nothing."""


class RichTerminal:
    """Bars with rate and time left."""

    def __init__(self) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

        self._progress = Progress(
            TextColumn("{task.description:<22}", markup=False),
            BarColumn(bar_width=None),
            TextColumn("{task.completed:.0f}/{task.total:.0f} {task.fields[note]}", markup=False),
            TimeRemainingColumn(compact=True),
            console=Console(stderr=True, emoji=False),
        )
        self._bars: dict[str, tuple[int, float]] = {}
        self._progress.start()

    def update(self, label: str, done: int, total: int, note: str) -> None:
        """Move the step's bar."""
        if label not in self._bars:
            bar = self._progress.add_task(visible(label), total=total, note="")
            self._bars[label] = (int(bar), time.monotonic())
        bar_id, started = self._bars[label]
        pace = visible(note) or _rate(done, time.monotonic() - started)
        self._progress.update(bar_id, completed=done, total=total, note=pace)  # type: ignore[arg-type]

    def message(self, text: str) -> None:
        """Print a line above the bars."""
        self._progress.console.print(visible(text), markup=False, highlight=False, soft_wrap=True)

    def stop(self) -> None:
        """Leave the terminal clean."""
        self._progress.stop()


@contextmanager
def open_terminal() -> Iterator[Terminal]:
    """Bars where stderr is a terminal, lines elsewhere and beside the events of `-v`; with `--quiet` nothing."""
    if is_quiet():
        yield SilentTerminal()
        return
    if not sys.stderr.isatty() or is_verbose():
        yield PlainTerminal()
        return
    terminal = RichTerminal()
    try:
        yield terminal
    finally:
        terminal.stop()


class Page(Protocol):
    """Where progress is shown to those who look from elsewhere."""

    def show_progress(self, label: str, percent: float, artifact: Any) -> Any:
        """Make or move a step's bar, and return it. artifact: what this returned before."""
        ...


class StepProgress:
    """The progress of one step, on the terminal and as an artifact of its Prefect task run."""

    def __init__(self, terminal: Terminal, page: Page | None, label: str, total: int) -> None:
        """page: None outside of a flow run."""
        self._terminal, self._page, self._label = terminal, page, label
        self._total, self._done = total, 0
        self._artifact: Any = None
        self._sent = 0.0
        self.set(0)

    def advance(self, units: int) -> None:
        """`units` more are done."""
        self.set(self._done + units)

    def set(self, done: int, note: str = "", total: int | None = None) -> None:
        """`done` units are done in all."""
        self._done, self._total = done, total or self._total
        self._terminal.update(self._label, done, self._total, note)
        now = time.monotonic()
        if done >= self._total or now - self._sent >= _ARTIFACT_SECONDS:
            self._sent = now
            self._send(100.0 * done / max(self._total, 1))

    def _send(self, percent: float) -> None:
        if self._page is not None:
            self._artifact = self._page.show_progress(self._label, percent, self._artifact)


def _pace(done: int, total: int, seconds: float) -> str:
    if not done or seconds < 0.5:
        return ""
    left = (total - done) * seconds / done
    return f"{_rate(done, seconds)} {left:.0f} s left" if done < total else _rate(done, seconds)


def _rate(done: int, seconds: float) -> str:
    return f"{done / seconds:.1f}/s" if done and seconds >= 0.5 else ""
