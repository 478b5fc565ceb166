"""From what the page asks for to lines of the log: what is allowed, and what another tab said meanwhile."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import PurePosixPath
from threading import Lock
from typing import Any

from colorization.errors import ConfigError
from colorization.networks.palette_choice import parse_palette
from storage.errors import UsageError
from storage.records.decisions import VERDICTS, Decided, DecisionLog
from tasks.engine.kept import Output
from tasks.review.photos import Photos

_WORDS = ("approve", "reject", "clear", "palette", "hints", "note", "like", "folder")
"""What a decision is called in the log."""
_MOST_HINTS, _MOST_NOTE = 64, 4000


class StaleError(UsageError):
    """Another tab decided on the photo since the page was told of it."""

    code = "STALE"


class Deciding:
    """The decisions of a review; of several threads each may ask."""

    def __init__(self, log: DecisionLog) -> None:
        self._log, self._writing = log, Lock()

    @property
    def number(self) -> int:
        """Of the last decision."""
        return self._log.decisions.number

    def all(self) -> list[Decided]:
        """The last word on each photo."""
        with self._writing:
            return list(self._log.decisions.photos.values())

    def decide(self, photos: Photos, asked: Mapping[str, Any]) -> list[Decided]:
        """Write a decision, and return what holds of its photos once it is on the disk.

        asked: `what`, one of the words above; `photos`, each with `id`, `seen`, the number of the decision
        that the page knew, and those of `verdict`, `palette`, `hints` and `note` that change. Raises
        StaleError, UsageError for what is none, OutputError.
        """
        what, changes = asked.get("what"), asked.get("photos")
        if what not in _WORDS or not isinstance(changes, list) or not changes:
            raise _none("a decision with what and photos", asked)
        with self._writing:
            return self._write(what, [self._changed_by(photos, one) for one in changes])

    def decide_folder(self, photos: Photos, id_: str, palette: str) -> list[Decided]:
        """Give a palette to all photos of one's folder that are not approved."""
        with self._writing:
            folder = PurePosixPath(_output(photos, id_).facts.photo).parent
            mine = (
                (output, self._log.decisions.of(output.photo))
                for output in photos.by_id.values()
                if PurePosixPath(output.facts.photo).parent == folder
            )
            found = [
                replace(one, palette=_palette(palette))
                for _, one in mine
                if one.verdict != "approved" and one.palette != palette
            ]
            return self._write("folder", found) if found else []

    def undo(self) -> list[Decided]:
        """Take the last decision back."""
        with self._writing:
            return self._log.undo()

    def since(self, number: int) -> tuple[int, list[Decided]]:
        """The number of the last decision, and what changed after another one."""
        with self._writing:
            found = [o for o in self._log.decisions.photos.values() if o.number > number]
            return self.number, found

    def _write(self, what: str, photos: Iterable[Decided]) -> list[Decided]:
        return self._log.write(what, photos)

    def _changed_by(self, photos: Photos, asked: Any) -> Decided:
        if not isinstance(asked, dict):
            raise _none("a photo with its id", asked)
        output = _output(photos, asked.get("id"))
        now = self._log.decisions.of(output.photo)
        if now.number != asked.get("seen", 0):
            raise StaleError(
                "Expected the decision on the photo that this page knows, got another of another tab. Look "
                "at the photo again."
            )
        changes: dict[str, Any] = {}
        if "verdict" in asked:
            if asked["verdict"] not in ("", *VERDICTS):
                raise _none(f"a verdict of {', '.join(VERDICTS)}", asked["verdict"])
            changes |= {"verdict": asked["verdict"], "output": output.content}
        if "palette" in asked:
            changes["palette"] = _palette(asked["palette"])
        if "hints" in asked:
            changes["hints"] = hints_of(asked["hints"], output)
        if "note" in asked:
            if not isinstance(asked["note"], str) or len(asked["note"]) > _MOST_NOTE:
                raise _none(
                    f"a note of at most {_MOST_NOTE} characters", type(asked["note"]).__name__
                )
            changes["note"] = asked["note"]
        return replace(now, **changes)


def hints_of(asked: Any, output: Output) -> tuple[tuple[float, float, int, int, int], ...]:
    """Hints as the log keeps them. Raises UsageError for one outside of the photo or without a colour."""
    if not isinstance(asked, list) or len(asked) > _MOST_HINTS:
        raise _none(f"at most {_MOST_HINTS} hints", asked)
    return tuple(_hint(one, output) for one in asked)


def _hint(asked: Any, output: Output) -> tuple[float, float, int, int, int]:
    if not (isinstance(asked, list) and len(asked) == 5 and all(map(_is_number, asked))):
        raise _none("a hint as x, y, R, G, B", asked)
    x, y, *rgb = asked
    inside = 0 <= x < output.facts.width and 0 <= y < output.facts.height
    if not inside or not all(0 <= value <= 255 and value == int(value) for value in rgb):
        raise _none("a point of the photo and a colour of 0..255", asked)
    red, green, blue = map(int, rgb)
    return float(x), float(y), red, green, blue


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 1e9


def _palette(asked: Any) -> str:
    """Raises UsageError for what is none."""
    if asked == "":
        return ""
    try:
        parse_palette(asked if isinstance(asked, str) else "?")
    except ConfigError as error:
        raise UsageError(str(error)) from error
    return str(asked)


def _output(photos: Photos, id_: Any) -> Output:
    output = photos.by_id.get(id_) if isinstance(id_, str) else None
    if output is None:
        raise _none("the id of a photo that is coloured", id_)
    return output


def _none(expected: str, got: Any) -> UsageError:
    return UsageError(f"Expected {expected}, got {str(got)[:80]!r}. Load the page again.")
