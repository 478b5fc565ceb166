"""Hashes of bytes, of values and of source modules."""

from __future__ import annotations

import ast
import hashlib
import json
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

_BLOCK = 1 << 20


def hash_bytes(content: bytes) -> str:
    """SHA-256 in hex."""
    return hashlib.sha256(content).hexdigest()


def hash_file(path: Path) -> str:
    """SHA-256 of a file in hex, read in blocks of 1 MiB."""
    with path.open("rb") as file:
        digest = hashlib.sha256()
        while block := file.read(_BLOCK):
            digest.update(block)
    return digest.hexdigest()


def hash_value(value: Any) -> str:
    """SHA-256 of a JSON value in canonical form: sorted keys, no spaces."""
    return hash_bytes(json.dumps(value, sort_keys=True, separators=(",", ":")).encode())


@cache
def hash_module(name: str) -> str:
    """SHA-256 of what a module does: its syntax tree, so comments and layout do not count."""
    spec = find_spec(name)
    if spec is None or spec.origin is None:
        raise ModuleNotFoundError(f"Expected an importable module, got {name!r}.", name=name)
    return hash_bytes(ast.unparse(ast.parse(Path(spec.origin).read_bytes())).encode())
