"""What people decided of an archive's photos: decisions.jsonl in the output's state folder.

One line a decision, only ever added to. A line says of one photo or several all that holds of them from
then on, so the last one that names a photo counts, and undoing is one more line. A line is on the disk
before anybody is told; one that a kill has torn ends the file without a line break, and was told to nobody.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, fields, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Self

from storage.errors import DamagedError, OutputError, UsageError
from storage.records.fingerprint import hash_value
from storage.records.ledger import check_version, exclusive, sync_folder
from storage.records.names import DECISIONS_NAME, STATE_NAME

_VERSION = 1
_LOCK = "decisions.lock"
DECISIONS = "decisions"
"""The file's name among the inputs of a step."""
UNDO = "undo"
"""What a line is called that takes the one before it back."""
APPROVED, REJECTED = VERDICTS = ("approved", "rejected")
Photo = tuple[int, str, str]
"""Archive, path and SHA-256 of an original, as `tasks.engine.kept.Output.photo`."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Decided:
    """All that holds of one photo."""

    archive: int = 0
    """Its number among the archives of the output folder."""
    path: str
    """Of the original in its archive."""
    sha256: str
    """Of the original: another file under the same path was not looked at."""
    verdict: str = ""
    """Of `VERDICTS`, or empty."""
    output: str = ""
    """SHA-256 of the colour photo that was looked at."""
    palette: str = ""
    """Which colouring it gets, as `[colorize] palette`; empty for that of the run."""
    hints: tuple[tuple[float, float, int, int, int], ...] = ()
    """x, y in pixels of the photo as shown, and R, G, B, as `tasks.config.hints`; empty for the run's."""
    note: str = ""
    number: int = 0
    """Of the line that says this, from 1; 0 before there is any."""

    @property
    def photo(self) -> Photo:
        """What it is about."""
        return self.archive, self.path, self.sha256

    @property
    def wish(self) -> str:
        """A hash of how it is to be coloured; empty where the run decides."""
        return hash_value([self.palette, self.hints])[:16] if self.palette or self.hints else ""

    @property
    def says_nothing(self) -> bool:
        """Whether nothing is decided of it, as after an undo of the first decision."""
        return not (self.verdict or self.palette or self.hints or self.note)

    def is_done(self, decided: str) -> bool:
        """Whether an output is coloured as was decided. decided: `OutputFacts.decided` of the output."""
        return self.wish == decided

    def approves(self, decided: str, output_sha256: str) -> bool:
        """Whether an output is approved: coloured as was decided, or the very file that was looked at."""
        if self.verdict != APPROVED or not self.is_done(decided):
            return False
        return bool(self.wish) or self.output == output_sha256

    @classmethod
    def from_dict(cls, value: Mapping[str, Any]) -> Self:
        """From JSON. Raises TypeError, KeyError or ValueError where it is none."""
        hints = tuple(
            (float(x), float(y), int(r), int(g), int(b)) for x, y, r, g, b in value["hints"]
        )
        return cls(**{**value, "hints": hints})

    def to_dict(self) -> dict[str, Any]:
        """As JSON, without the number, which is its line's."""
        value = {f.name: getattr(self, f.name) for f in fields(self) if f.name != "number"}
        return value | {"hints": [list(hint) for hint in self.hints]}


@dataclass
class Decisions:
    """What a file says, line by line."""

    photos: dict[Photo, Decided] = field(default_factory=dict)
    """The last word on each photo."""
    number: int = 0
    """Of the last line."""
    history: list[tuple[str, list[Decided]]] = field(default_factory=list)
    """Of each line that is not taken back: what it is called, and what held of its photos before."""

    def of(self, photo: Photo) -> Decided:
        """What holds of a photo, decided or not."""
        return self.photos.get(photo) or Decided(archive=photo[0], path=photo[1], sha256=photo[2])

    def add(self, what: str, photos: Iterable[Decided]) -> list[Decided]:
        """Take one more line. Returns what holds of its photos now."""
        self.number += 1
        now = [replace(one, number=self.number) for one in photos]
        before = [self.of(one.photo) for one in now]
        if what != UNDO:
            self.history.append((what, before))
        elif self.history:
            self.history.pop()
        self.photos |= {one.photo: one for one in now}
        return now

    def effect(self) -> str:
        """A hash of all that decides colours, or keeps them; empty where nothing does."""
        deciding = sorted(
            [*one.photo, one.wish, one.output if one.verdict == APPROVED else None]
            for one in self.photos.values()
            if one.wish or one.verdict == APPROVED
        )
        return hash_value(deciding) if deciding else ""


def decisions_path(output: Path) -> Path:
    """Where the decisions on an output folder lie."""
    return output / STATE_NAME / DECISIONS_NAME


def read_decisions(output: Path) -> Decisions:
    """All decisions on an output folder. Raises DamagedError for lines that are none."""
    path = decisions_path(output)
    found = Decisions()
    for number, line in enumerate(_lines(path), start=1):
        try:
            value = json.loads(line)
            check_version(value, _VERSION, path)
            found.add(value["what"], [Decided.from_dict(one) for one in value["photos"]])
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise DamagedError(
                f"Expected a decision in line {number} of {path}, got: {error}. Restore the file, or take "
                "that line out."
            ) from error
    return found


class DecisionLog:
    """The one writer of a file; see `open_decisions`."""

    def __init__(self, output: Path) -> None:
        self.decisions = read_decisions(output)
        self._path = decisions_path(output)
        is_new = not self._path.exists()
        self._file = os.open(self._path, os.O_RDWR | os.O_CREAT, 0o600)
        self._end = sum(map(len, _lines(self._path)))
        os.ftruncate(self._file, self._end)  # a torn line
        if is_new:
            sync_folder(self._path.parent)

    def write(self, what: str, photos: Iterable[Decided]) -> list[Decided]:
        """Add a decision; when this returns, it survives a kill and a power loss.

        what: for people, as "approve". photos: what holds of each from now on. Raises OutputError, and the
        file is as before.
        """
        photos = list(photos)
        line = {
            "version": _VERSION,
            "time": datetime.now(UTC).isoformat(timespec="milliseconds"),
            "what": what,
            "photos": [one.to_dict() for one in photos],
        }
        content = json.dumps(line, separators=(",", ":")).encode() + b"\n"
        try:
            written = 0
            while written < len(content):
                written += os.pwrite(self._file, content[written:], self._end + written)
            os.fsync(self._file)
        except OSError as error:
            os.ftruncate(self._file, self._end)
            raise OutputError(
                f"Expected to write a decision to {self._path}, got: {error.strerror}. Free or repair the "
                "disk, then decide again."
            ) from error
        self._end += len(content)
        return self.decisions.add(what, photos)

    def undo(self) -> list[Decided]:
        """Take the last decision back that is not yet. Returns its photos as they are now; [] for none."""
        if not self.decisions.history:
            return []
        _, before = self.decisions.history[-1]
        return self.write(UNDO, before)

    def close(self) -> None:
        """Let the file go."""
        os.close(self._file)


@contextmanager
def open_decisions(output: Path) -> Iterator[DecisionLog]:
    """Hold the decisions on an output folder. Raises LockedError where another process does."""
    path = decisions_path(output)
    if not path.parent.is_dir():
        raise UsageError(f"Expected an output of `chromaflow colorize`, found no {path.parent}.")
    with exclusive(path.with_name(_LOCK), f"the review of {output}"):
        log = DecisionLog(output)
        try:
            yield log
        finally:
            log.close()


def _lines(path: Path) -> list[bytes]:
    """Whole lines, with their ends."""
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        return []
    lines = content.split(b"\n")
    return [line + b"\n" for line in lines[:-1]]
