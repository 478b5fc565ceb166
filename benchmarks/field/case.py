"""A field case: what `case.md` says of it, and the clauses that a checker finds right or wrong."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from place import CheckError, Place


@dataclass(frozen=True, kw_only=True, slots=True)
class Clause:
    """One thing that must hold, with what was got in a few words."""

    got: str
    right: bool


Checker = Callable[[Place], Iterator[Clause]]


@dataclass(frozen=True, kw_only=True, slots=True)
class Case:
    """One of the folders of `shared/data/field`."""

    number: int
    name: str
    check: Checker

    @property
    def label(self) -> str:
        """As its folder is named."""
        return f"{self.number:02d}-{self.name}"

    def told(self, field: Path | None, start: str) -> str:
        """The line of `case.md` that begins `- START`, without it; empty where there is none."""
        path = field / self.label / "case.md" if field else None
        if path is None or not path.is_file():
            return ""
        lines = (line.removeprefix(f"- {start}:") for line in path.read_text().splitlines())
        kept = (line for line in lines if not line.startswith(("- ", "#")))
        return next((line.strip() for line in kept if line.startswith(" ")), "")


@dataclass(frozen=True, kw_only=True, slots=True)
class Verdict:
    """What became of a case."""

    case: Case
    clauses: tuple[Clause, ...] = ()
    seconds: float = 0.0
    cpu_seconds: float = 0.0

    @property
    def wrong(self) -> list[Clause]:
        """The clauses that do not hold."""
        return [clause for clause in self.clauses if not clause.right]

    @property
    def now(self) -> str:
        """The last column of the table."""
        shown = [f"WRONG: {clause.got}" for clause in self.wrong] or [c.got for c in self.clauses]
        return "; ".join(shown)


def judge(case: Case, place: Place, tell: Callable[[Clause], None]) -> Verdict:
    """Check a case in its place, and tell each clause. A command that leaves nothing is wrong."""
    clauses: list[Clause] = []
    for clause in _clauses(case, place):
        clauses.append(clause)
        tell(clause)
    return Verdict(
        case=case,
        clauses=tuple(clauses),
        seconds=place.seconds,
        cpu_seconds=place.cpu_seconds,
    )


def _clauses(case: Case, place: Place) -> Iterator[Clause]:
    try:
        yield from case.check(place)
    except CheckError as error:
        yield Clause(got=str(error), right=False)
