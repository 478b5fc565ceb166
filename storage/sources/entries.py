"""What a listing of a source is made of, and how patterns match its paths."""

from __future__ import annotations

import unicodedata
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase

from storage.errors import UsageError


@dataclass(frozen=True, slots=True)
class SourceFile:
    """One regular file of a source."""

    path: str
    """Relative to the source, with forward slashes; inside an archive, `photos.tar/a/1.jpg`."""
    bytes: int
    stamp: str
    """Changes when the file does: its time, a CRC, or a remote store's version."""
    offset: int = -1
    """Where a tar member's bytes begin, in the decompressed tar."""
    twin: str = ""
    """Of a link: the path under which the same file may be listed itself, or what else it is known by."""


@dataclass(frozen=True, slots=True)
class Problem:
    """Something in a source that cannot be used, with a code of `storage.errors.REASONS`."""

    path: str
    code: str
    detail: str


@dataclass(frozen=True, slots=True)
class Listing:
    """All files of a source, and what was wrong with it."""

    files: list[SourceFile]
    problems: list[Problem] = field(default_factory=list)
    left_out: dict[str, int] = field(default_factory=dict)
    """How many names were left out, by why: hidden, system files, by pattern."""
    num_guessed: int = 0
    """Names of members whose encoding nothing tells, so that it is guessed."""

    def below(self, prefix: str) -> Listing:
        """The same with every path under `prefix/`; an archive's own problem bears its name.

        This listing is used up: a million files are in memory once.
        """
        for place, file in enumerate(self.files):
            self.files[place] = replace(file, path=f"{prefix}/{file.path}")
        return Listing(
            self.files,
            [
                replace(problem, path=f"{prefix}/{problem.path}" if problem.path else prefix)
                for problem in self.problems
            ],
            self.left_out,
            self.num_guessed,
        )

    def __add__(self, other: Listing) -> Listing:
        left_out = Counter(self.left_out)
        left_out.update(other.left_out)
        return Listing(
            self.files + other.files,
            self.problems + other.problems,
            dict(left_out),
            self.num_guessed + other.num_guessed,
        )


def duplicate_names(files: Iterable[SourceFile]) -> tuple[list[SourceFile], list[Problem]]:
    """The first file of each name, and a problem for every further one."""
    first: list[SourceFile] = []
    names: set[str] = set()
    problems = []
    for file in files:
        if file.path in names:
            detail = "expected each name once in the archive, got it again"
            problems.append(Problem(file.path, "DUPLICATE_NAME", detail))
        else:
            names.add(file.path)
            first.append(file)
    return first, problems


def num_left(parts: Sequence[str], globs: Sequence[str]) -> Iterator[int]:
    """How many last parts of a path are left over, once for each way its first fit all `globs`.

    0 among them: the whole path fits; more: a folder that it lies in does. A glob is fnmatch's, of
    one part; `**` fits any number of parts, none too.
    """
    if not globs:
        yield len(parts)
    elif globs[0] == "**":
        for start in range(len(parts) + 1):
            yield from num_left(parts[start:], globs[1:])
    elif parts and fnmatchcase(parts[0], globs[0]):
        yield from num_left(parts[1:], globs[1:])


def globs_of(pattern: str) -> list[str]:
    """A pattern as in .gitignore as globs of folded parts of a path, for `num_left`.

    Raises UsageError for an empty one.
    """
    text = folded(pattern).removeprefix("./")
    globs = [glob for glob in text.split("/") if glob]
    if not globs:
        raise UsageError(f"Expected a pattern as *.tif or raw/**, got {pattern!r}. Correct it.")
    if "/" not in text.rstrip("/"):
        globs = ["**", *globs]
    return [*globs, "*"] if globs[-1] == "**" else globs


def folded(path: str) -> str:
    """Without case and in one Unicode form: a Mac writes é as two characters."""
    return unicodedata.normalize("NFC", path).lower()
