"""What the page shows of photos: the rows in parts that it loads as one scrolls, and columns to choose and
sort by (docs/report-data.md).

Nothing of a million photos is held but some numbers each: 40 bytes.
"""

from __future__ import annotations

import base64
import re
import sys
import zlib
from array import array
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Any

from storage.records.ledger import remove_unnamed, sync_folder, write_bytes
from storage.records.page_data import script_call, write_page_data
from tasks.report.rows import COLUMNS, STATUSES, Row

PAGES_FOLDER, KEYS_FOLDER, INDEX_FILE = "photos", "keys", "photos.js"
PAGE_ROWS = 500
"""Rows of a page: about 120 kB."""
_CODED = ("status", "reason", "stage", "format", "pack")
"""Columns with few values: written as a list of these and numbers."""
_NONE = 255
"""Of a code: there is no value."""
_TYPES = {"B": "Uint8Array", "b": "Int8Array", "f": "Float32Array", "d": "Float64Array"}
_TYPES |= {"I": "Uint32Array"}
"""Of JavaScript, by type codes of `array`; all little-endian."""
_NUMBERS = ("uncertainty", "colourfulness", "max_dL", "seconds")
_HASH_DIGITS = 12
"""Of a SHA-256, as a whole number that a double holds."""


class PhotoPages:
    """Writes the rows for the page, one after another."""

    def __init__(self, folder: Path, columns: Collection[str] = tuple(COLUMNS)) -> None:
        """folder: of the report. columns: of `Archive.columns`."""
        self._folder, self._names = folder, columns
        self._shares = [name for name in columns if name.startswith("share_")]
        self._rows: list[Row] = []
        self._count = 0
        self._known: set[str] = set()
        self._reasons: dict[str, int] = {}
        self._order = _Order()
        numbers = {name: _number(name) for name in _NUMBERS}
        self._keys: dict[str, tuple[str, Callable[[Row], float]]] = {
            "status": ("B", lambda row: STATUSES.index(row["status"])),
            "reason": ("B", self._reason),
            "most": ("b", self._most),
            "share": ("f", lambda row: max(row.get(name) or 0.0 for name in self._shares)),
            "pixels": ("f", _pixels),
            **{name: ("f", number) for name, number in numbers.items()},
            "sha256": ("d", _hash("sha256")),
            "output_sha256": ("d", _hash("output_sha256")),
            "mark": ("I", lambda row: path_mark(row["path"])),
        }
        self._columns = {name: array(code) for name, (code, _) in self._keys.items()}

    def add(self, row: Row) -> None:
        """The next row. Raises OutputError."""
        for name, (_, key) in self._keys.items():
            self._columns[name].append(key(row))  # type: ignore[arg-type]  # of its own code
        self._order.add(row["path"])
        self._known |= row.keys() - self._known
        self._rows.append(row)
        if len(self._rows) == PAGE_ROWS:
            self._write_page()

    def close(self) -> None:
        """Write what is left, the columns, and the index last. Raises OutputError."""
        if self._rows:
            self._write_page()
        pages = {f"{number:06d}.js" for number in range(self._num_pages)}
        remove_unnamed(self._folder / PAGES_FOLDER, "*.js", pages)
        reasons = sorted(self._reasons)
        renamed = bytearray(range(256))
        for place, code in enumerate(reasons):
            renamed[self._reasons[code]] = place
        self._columns["reason"] = array("B", self._columns["reason"].tobytes().translate(renamed))
        ranks = self._order.ranks()
        if ranks is not None:
            self._columns["path"] = ranks
        kept = {n: c for n, c in self._columns.items() if not _is_empty(c)}
        for name, column in kept.items():
            self._write_key(name, column)
        remove_unnamed(self._folder / KEYS_FOLDER, "*.js", {f"{name}.js" for name in kept})
        index = {
            "count": self._count,
            "rows": PAGE_ROWS,
            "columns": [name for name in self._names if name in self._known],
            "keys": sorted(kept),
            "statuses": list(STATUSES),
            "reasons": reasons,
        }
        for folder in (PAGES_FOLDER, KEYS_FOLDER):
            if (self._folder / folder).is_dir():
                sync_folder(self._folder / folder)
        write_page_data(self._folder / INDEX_FILE, "photos", index)

    @property
    def _num_pages(self) -> int:
        return -(-self._count // PAGE_ROWS)

    def _write_page(self) -> None:
        name = f"{self._count // PAGE_ROWS:06d}"
        script = script_call("chromaflowRows", name, _by_column(self._rows, self._names))
        path = self._folder / PAGES_FOLDER / f"{name}.js"
        write_bytes(path, script.encode(), sync_its_folder=False)
        self._count += len(self._rows)
        self._rows = []

    def _write_key(self, name: str, column: array[Any]) -> None:
        if sys.byteorder == "big":
            column.byteswap()
        content = base64.b64encode(column.tobytes()).decode()
        script = script_call("chromaflowKeys", name, [_TYPES[column.typecode], content])
        write_bytes(self._folder / KEYS_FOLDER / f"{name}.js", script.encode())

    def _most(self, row: Row) -> int:
        """Which category has the largest share; -1 where none was recorded."""
        shares = [row.get(name) or 0.0 for name in self._shares]
        return shares.index(max(shares)) if max(shares) > 0 else -1

    def _reason(self, row: Row) -> int:
        code = row.get("reason")
        return _NONE if not code else self._reasons.setdefault(code, len(self._reasons))


def path_mark(path: str) -> int:
    """By which the page knows a path without loading it: CRC-32 of its UTF-16."""
    return zlib.crc32(path.encode("utf-16-le", "surrogatepass"))


class _Order:
    """Which place each path has among all, in the order that people expect: 2 before 10."""

    def __init__(self) -> None:
        self._last = ""
        self._is_sorted = True
        self._waiting: list[str] = []
        self._chunks: list[Any] = []

    def add(self, path: str) -> None:
        """The next path."""
        key = re.sub(
            r"\d+",
            lambda found: f"{len(found[0].lstrip('0')):02d}{found[0].lstrip('0')}",
            path.casefold(),
        )
        self._is_sorted &= self._last <= key
        self._last = key
        self._waiting.append(key)
        if len(self._waiting) >= PAGE_ROWS:
            self._settle()

    def _settle(self) -> None:
        import pyarrow as pa

        encoded = [key.encode("utf-8", "surrogatepass") for key in self._waiting]
        self._chunks.append(pa.array(encoded, pa.binary()))
        self._waiting = []

    def ranks(self) -> array[int] | None:
        """The place of each; None where they came in this order."""
        if self._is_sorted:
            return None
        import numpy as np
        import pyarrow as pa
        import pyarrow.compute as pc

        self._settle()
        order = pc.array_sort_indices(pa.chunked_array(self._chunks).combine_chunks()).to_numpy()
        ranks = np.empty(len(order), np.uint32)
        ranks[order] = np.arange(len(order), dtype=np.uint32)
        return array("I", ranks.tobytes())


def _number(name: str) -> Callable[[Row], float]:
    return lambda row: float("nan") if row.get(name) is None else row[name]


def _pixels(row: Row) -> float:
    return row["width"] * row["height"] if row.get("width") else float("nan")


def _hash(name: str) -> Callable[[Row], float]:
    return lambda row: int(row[name][:_HASH_DIGITS], 16) if row.get(name) else float("nan")


def _is_empty(column: array[Any]) -> bool:
    """Whether nothing was recorded in it of any photo."""
    return column.typecode in "fd" and all(value != value for value in column)  # noqa: PLR0124 - NaN


def _by_column(rows: list[Row], names: Collection[str]) -> Mapping[str, Any]:
    """The rows column by column; a column that is empty everywhere is left out."""
    columns: dict[str, Any] = {}
    for name in names:
        values = [row.get(name) for row in rows]
        if all(value is None for value in values):
            continue
        if name in _CODED:
            known = {value: i for i, value in enumerate(dict.fromkeys(values))}
            columns[name] = {"values": list(known), "codes": [known[value] for value in values]}
        else:
            columns[name] = values
    return columns
