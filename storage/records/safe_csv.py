"""CSV for people: no cell that a spreadsheet would take for a formula, or a terminal for a command."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from storage.records.ledger import write_bytes
from storage.visible import visible

_STARTS_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n")


def safe_cell(value: Any) -> Any:
    """Text with a ' before it where it would begin a formula (OWASP, CSV injection).

    Characters that act on a terminal or hide are escapes in it; other values are themselves.
    """
    if not isinstance(value, str):
        return value
    quote = "'" if value.lstrip(" ").startswith(_STARTS_FORMULA) else ""
    return quote + visible(value)


def write_csv(path: Path, columns: Sequence[str], rows: Iterable[Mapping[str, Any]]) -> None:
    """Write a table in UTF-8, every text quoted (RFC 4180), atomically. Raises OutputError."""
    text = io.StringIO(newline="")
    writer = csv.writer(text, quoting=csv.QUOTE_NONNUMERIC)
    writer.writerow(columns)
    for row in rows:
        writer.writerow([safe_cell(row.get(name)) for name in columns])
    write_bytes(path, text.getvalue().encode("utf-8", "backslashreplace"))
