"""Tables as Parquet whose columns keep their types, whatever is missing."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from storage.records.ledger import write_bytes
from storage.visible import escaped, unescaped

if TYPE_CHECKING:
    import pandas as pd

TEXT, WHOLE, REAL, FLAG = "string", "int64", "float64", "bool"
"""What a column holds, by pyarrow's names."""


def write_table(path: Path, rows: Iterable[Mapping[str, Any]], columns: Mapping[str, str]) -> None:
    """Write rows as Parquet, atomically, with exactly these columns; what a row lacks is null.

    columns: name → TEXT, WHOLE, REAL or FLAG, in order. Names that are not UTF-8 are escaped, and
    `read_rows` gives them back. Raises OutputError.
    """
    import pyarrow as pa  # later than the first photo: it takes 0.1 s in every process
    import pyarrow.parquet as pq

    schema = pa.schema([(name, pa.type_for_alias(kind)) for name, kind in columns.items()])
    buffer = io.BytesIO()
    texts = [name for name, kind in columns.items() if kind == TEXT]
    table = pa.Table.from_pylist([_each_text(row, texts, escaped) for row in rows], schema=schema)
    pq.write_table(table, buffer)
    write_bytes(path, buffer.getvalue())


def read_rows(path: Path) -> list[dict[str, Any]]:
    """The rows of a table as plain dictionaries, None where a value is missing."""
    import pyarrow.parquet as pq

    table = pq.read_table(path)
    texts = [field.name for field in table.schema if str(field.type) == TEXT]
    return [_each_text(row, texts, unescaped) for row in table.to_pylist()]


def read_table(path: Path) -> pd.DataFrame:
    """A table to analyse; names that are not UTF-8 stay escaped."""
    import pandas as pd

    return pd.read_parquet(path)


def _each_text(
    row: Mapping[str, Any], names: Iterable[str], change: Callable[[str], str]
) -> dict[str, Any]:
    return {**row, **{name: change(text) for name in names if (text := row.get(name))}}
