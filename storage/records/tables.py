"""Tables whose columns keep their types, whatever is missing."""

from __future__ import annotations

import io
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from storage.records.ledger import write_bytes

TEXT, WHOLE, REAL = "text", "whole", "real"
_TYPES = {TEXT: pa.string(), WHOLE: pa.int64(), REAL: pa.float64()}


def write_typed_table(
    path: Path, rows: Iterable[Mapping[str, Any]], columns: Mapping[str, str]
) -> None:
    """Write rows as Parquet, atomically; what a row lacks is null. Raises OutputError.

    columns: name → TEXT, WHOLE or REAL, in order.
    """
    schema = pa.schema([(name, _TYPES[kind]) for name, kind in columns.items()])
    buffer = io.BytesIO()
    pq.write_table(pa.Table.from_pylist([dict(row) for row in rows], schema=schema), buffer)
    write_bytes(path, buffer.getvalue())
