"""Values that a page loads from the disk: as scripts, because it may not read other files there."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from storage.records.ledger import write_bytes

NAMESPACE = "chromaflow"
"""The page's global object."""


def page_script(name: str, value: Any) -> str:
    """A script that hands a JSON value to the page: ASCII, and no `<` that could end a script."""
    return f"(self.{NAMESPACE} ??= {{}}).{name} = {_json(value)};\n"


def script_call(function: str, name: str, value: Any) -> str:
    """A script that calls a function of the page with a name and a JSON value."""
    return f"{function}({_json(name)}, {_json(value)});\n"


def write_page_data(path: Path, name: str, value: Any) -> None:
    """Write such a script, atomically. Raises OutputError."""
    write_bytes(path, page_script(name, value).encode())


def _json(value: Any) -> str:
    return json.dumps(value, separators=(",", ":"), allow_nan=False).replace("<", "\\u003c")
