"""Tables as Parquet whose columns keep their types, whatever is missing; read and written in parts.

A table of a million rows is never in memory as a whole: it is written a group of rows at a time, and read
so again (decision 044).
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import lru_cache
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from storage.records.ledger import atomic_path
from storage.visible import escaped, unescaped

if TYPE_CHECKING:
    import pandas as pd

TEXT, WHOLE, REAL, FLAG = "string", "int64", "float64", "bool"
"""What a column holds, by pyarrow's names."""
_GROUP = 4096
"""Rows of a group: of a manifest some megabytes as plain dictionaries."""


def write_table(path: Path, rows: Iterable[Mapping[str, Any]], columns: Mapping[str, str]) -> None:
    """Write rows as Parquet, atomically, with exactly these columns; what a row lacks is null.

    rows: taken one group after another. columns: name → TEXT, WHOLE, REAL or FLAG, in order. Names that
    are not UTF-8 are escaped, and `read_rows` gives them back. Raises OutputError.
    """
    import pyarrow as pa  # later than the first photo: it takes 0.1 s in every process
    import pyarrow.parquet as pq

    schema = pa.schema([(name, pa.type_for_alias(kind)) for name, kind in columns.items()])
    texts = [name for name, kind in columns.items() if kind == TEXT]
    coming = iter(rows)
    with atomic_path(path) as temporary, pq.ParquetWriter(temporary, schema) as writer:
        while group := [_each_text(row, texts, escaped) for row in islice(coming, _GROUP)]:
            writer.write_table(pa.Table.from_pylist(group, schema=schema))


def read_rows(path: Path) -> list[dict[str, Any]]:
    """The rows of a table as plain dictionaries, None where a value is missing: of one that is small."""
    return list(each_row(path))


def each_row(path: Path) -> Iterator[dict[str, Any]]:
    """As `read_rows`, one after another."""
    table = RowTable(path)
    for group in range(table.num_groups):
        yield from table.group(group)


class RowTable:
    """A table whose rows are read where they are asked for; the groups asked for last are kept.

    Raises OSError and ValueError where the file is none.
    """

    def __init__(self, path: Path) -> None:
        import pyarrow.parquet as pq

        self._file = pq.ParquetFile(path, memory_map=False)
        metadata = self._file.metadata
        self.num_groups: int = metadata.num_row_groups
        self._starts = [0]
        for number in range(self.num_groups):
            self._starts.append(self._starts[-1] + metadata.row_group(number).num_rows)
        schema = self._file.schema_arrow
        self._texts = [field.name for field in schema if str(field.type) == TEXT]
        self._recent = lru_cache(maxsize=2)(self.group)

    def __len__(self) -> int:
        return self._starts[-1]

    def group(self, number: int) -> list[dict[str, Any]]:
        """The rows of a group."""
        table = self._file.read_row_group(number)
        return [_each_text(row, self._texts, unescaped) for row in table.to_pylist()]

    def rows(self, start: int, stop: int) -> list[dict[str, Any]]:
        """The rows from one place to another."""
        found: list[dict[str, Any]] = []
        while start < min(stop, len(self)):
            number = bisect_right(self._starts, start) - 1
            first, end = self._starts[number], self._starts[number + 1]
            found += self._recent(number)[start - first : stop - first]
            start = end
        return found

    def each(self, *names: str) -> Iterator[dict[str, Any]]:
        """Every row, of these columns only."""
        texts = [name for name in names if name in self._texts]
        for batch in self._file.iter_batches(_GROUP, columns=list(names)):
            for row in batch.to_pylist():
                yield _each_text(row, texts, unescaped)

    def column(self, name: str) -> Any:
        """A column of numbers as a NumPy array."""
        return self._file.read([name])[name].to_numpy()


def read_table(path: Path) -> pd.DataFrame:
    """A table to analyse; names that are not UTF-8 stay escaped."""
    import pandas as pd

    return pd.read_parquet(path)


def _each_text(
    row: Mapping[str, Any], names: Iterable[str], change: Callable[[str], str]
) -> dict[str, Any]:
    return {**row, **{name: change(text) for name in names if (text := row.get(name))}}
