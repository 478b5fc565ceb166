"""What a run shows to those who look from elsewhere: on Prefect's pages, or nowhere without Prefect."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, Protocol

from tasks.control import is_with_prefect
from tasks.engine.events import EventLog
from tasks.engine.progress import Page

if TYPE_CHECKING:
    from tasks.results import RunResult

_ENDED: ContextVar[RunResult | BaseException | None] = ContextVar("ended", default=None)


class RunPage(Page, Protocol):
    """The page of a run; a call that fails costs its own table or bar alone."""

    def show_table(self, key: str, rows: Sequence[Any], description: str) -> None:
        """Rows that are all alike."""
        ...

    def show_text(self, key: str, markdown: str, description: str) -> None:
        """Text, pictures in it."""
        ...

    def show_link(self, key: str, link: str, text: str, description: str) -> None:
        """A link."""
        ...

    def tell_quarantined(self, photos: int, said: str) -> None:
        """Let those who asked for notices know that photos are in quarantine."""
        ...

    def try_again(self) -> None:
        """Before the tables at the end of a run: they are worth a call, whatever failed before."""
        ...

    def report_lost(self, events: EventLog) -> None:
        """Write the one event that names what is not on the page."""
        ...


class NoPage:
    """Of a run without Prefect; its report and its records say the same."""

    def show_table(self, key: str, rows: Sequence[Any], description: str) -> None:
        """Nothing."""

    def show_text(self, key: str, markdown: str, description: str) -> None:
        """Nothing."""

    def show_link(self, key: str, link: str, text: str, description: str) -> None:
        """Nothing."""

    def show_progress(self, label: str, percent: float, artifact: Any) -> Any:
        """Nothing."""

    def tell_quarantined(self, photos: int, said: str) -> None:
        """Nothing."""

    def try_again(self) -> None:
        """Nothing."""

    def report_lost(self, events: EventLog) -> None:
        """Nothing is lost."""


def open_page() -> AbstractContextManager[RunPage]:
    """The page of a run."""
    if not is_with_prefect():
        return _no_page()
    from tasks.prefect_page import open_page as open_prefect_page

    return open_prefect_page()


@contextmanager
def _no_page() -> Iterator[RunPage]:
    yield NoPage()


def keep_ending(ended: RunResult | BaseException | None) -> None:
    """Remember what a run came to, for `how_ended`; None where one begins."""
    _ENDED.set(ended)


def how_ended() -> RunResult | BaseException | None:
    """What the run of this thread came to; None where it did not end."""
    return _ENDED.get()
