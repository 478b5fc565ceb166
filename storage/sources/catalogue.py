"""What a layout may ask of a dataset's source: its files by name, and the text of its lists."""

from __future__ import annotations

import io
import posixpath
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from storage.errors import PhotoError, UsageError
from storage.reading import told
from storage.sources.archives import is_archive_name
from storage.sources.entries import Listing, Problem, SourceFile
from storage.sources.source import Source

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True, slots=True)
class Entry:
    """One file of a dataset, with what the layout says of it."""

    file: SourceFile
    label: str = ""
    """Its class in the dataset's own words (Animals-10: in English); empty where there is none."""
    split: str = ""
    """The official split: train, val or test; empty where there is none."""


class Unlabelled(Sequence[Entry]):
    """Files of which a layout says nothing, each an entry when it is asked for."""

    def __init__(self, files: Sequence[SourceFile]) -> None:
        self._files = files

    def __len__(self) -> int:
        return len(self._files)

    def __getitem__(self, place: Any) -> Any:
        if isinstance(place, slice):
            return Unlabelled(self._files[place])
        return Entry(self._files[place])


@dataclass(frozen=True, slots=True)
class Arranged:
    """A dataset, ready to be read."""

    layout: str
    entries: Sequence[Entry]
    problems: list[Problem] = field(default_factory=list)
    """Of the source, and photos that the official lists do not name (UNLISTED)."""
    num_listed_missing: int = 0
    """Photos that the official lists name and the source does not hold."""
    left_out: dict[str, int] = field(default_factory=dict)
    """How many names of the source were left out, by why."""
    num_guessed: int = 0
    """Names of members whose encoding is a guess."""


class Catalogue:
    """The files of a source, with the members of the layout's own archives."""

    def __init__(self, source: Source, listing: Listing, archives: Iterable[str]) -> None:
        self._source = source
        wanted = {name.lower() for name in archives}
        for file in list(listing.files):
            inside = any(is_archive_name(part) for part in file.path.split("/")[:-1])
            if not inside and posixpath.basename(file.path).lower() in wanted:
                listing = listing + source.archive_listing(file.path)
        self.listing = listing
        self._lists = [*listing.files, *source.beside()]

    @property
    def files(self) -> list[SourceFile]:
        """All files, archives' members included, without archives."""
        return [file for file in self.listing.files if not is_archive_name(file.path)]

    def said_of_archive(self, path: str) -> str:
        """What a file that is named as an archive is instead; empty where it may be one."""
        return self._source.said_of_archive(path)

    def find_list(self, *names: str) -> SourceFile | None:
        """The first list file of one of these names, at any depth."""
        named = (file for name in names for file in self._lists if file.path.split("/")[-1] == name)
        return next(named, None)

    def table(self, name: str, expected: str, *more_names: str) -> pd.DataFrame:
        """A list of words in lines, as strings. expected: a line's form, e.g. 'NNNNNN.jpg 0'.

        Raises UsageError naming the file and the form when it is missing or otherwise.
        """
        import pandas as pd  # for the few datasets with lists: it takes 0.2 s

        file = self.find_list(name, *more_names)
        if file is None:
            raise UsageError(
                f"Expected the list {name} (lines of '{expected}') in or beside the dataset, found "
                "none. Put the file that came with the dataset there."
            )
        try:
            content = self._source.read(file.path, file.offset, file.bytes)
        except (OSError, PhotoError) as error:
            detail = error.detail if isinstance(error, PhotoError) else told(error)
            raise UsageError(
                f"Expected to read the list {file.path}, got: {detail}. Check its permissions and "
                "its disk or network, then run again."
            ) from error
        text = content.decode("utf-8", "replace").lstrip("\ufeff")
        separator = "," if file.path.endswith(".csv") else r"\s+"
        num_words = len(expected.split())
        names = [str(i) for i in range(num_words + 1)]  # the last must stay empty
        try:
            table = pd.read_csv(
                io.StringIO(text), sep=separator, header=None, names=names, dtype=str
            )
        except (pd.errors.ParserError, pd.errors.EmptyDataError) as error:
            raise _wrong_line(file.path, expected, str(error).strip()) from error
        if file.path.endswith(".csv"):
            table = table.iloc[1:]  # its header
        if table.empty:
            raise _wrong_line(file.path, expected, "no lines")
        wrong = table[names[:-1]].isna().any(axis=1) | table[names[-1]].notna()
        if wrong.any():
            line = int(wrong.to_numpy().argmax())
            words = " ".join(str(word) for word in table.iloc[line].dropna())
            raise _wrong_line(file.path, expected, f"line {line + 1}: {words!r}")
        return table[names[:-1]].reset_index(drop=True)

    def require(self, name: str, expected: str, table: pd.DataFrame, column: str, ok: str) -> None:
        """Check every value of a column against a pattern. Raises UsageError with the line."""
        fits = table[column].str.fullmatch(ok)
        if not fits.all():
            line = int((~fits).to_numpy().argmax())
            words = " ".join(table.iloc[line])
            raise _wrong_line(name, expected, f"line {line + 1}: {words!r}")


def _wrong_line(name: str, expected: str, got: str) -> UsageError:
    return UsageError(
        f"Expected lines of '{expected}' in {name}, got {got}. "
        "Use the file that came with the dataset."
    )
