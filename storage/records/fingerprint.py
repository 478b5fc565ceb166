"""Hashes of bytes, of values and of source modules."""

from __future__ import annotations

import ast
import hashlib
import json
from collections.abc import Iterable
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
    return hash_bytes(_canonical(value))


def hash_list(values: Iterable[Any]) -> str:
    """As `hash_value` of the list of these values, which is never there as a whole."""
    return _hash_joined(b"[", map(_canonical, values), b"]")


def hash_contents(contents: Iterable[tuple[str, Any]], rest: Any) -> str:
    """As `hash_value` of [the mapping of these pairs, rest]. contents: in the order of their names."""
    pairs = (_canonical(name) + b":" + _canonical(value) for name, value in contents)
    return _hash_joined(b"[{", pairs, b"}," + _canonical(rest) + b"]")


class ValueHash:
    """`hash_value` of lists that begin alike, of which the beginning is hashed once."""

    def __init__(self, *first: Any) -> None:
        """first: the values that all lists begin with; at least one."""
        self._begun = hashlib.sha256(_canonical(list(first))[:-1])

    def of(self, *rest: Any) -> str:
        """The hash of the list that ends so."""
        digest = self._begun.copy()
        digest.update(b"".join(b"," + _canonical(value) for value in rest) + b"]")
        return digest.hexdigest()


def _hash_joined(start: bytes, parts: Iterable[bytes], end: bytes) -> str:
    digest = hashlib.sha256(start)
    for number, part in enumerate(parts):
        digest.update(b"," + part if number else part)
    digest.update(end)
    return digest.hexdigest()


def _canonical(value: Any) -> bytes:
    return json.dumps(value, sort_keys=True, separators=(",", ":")).encode()


@cache
def hash_module(name: str) -> str:
    """SHA-256 of what a module does: its syntax tree, so comments and layout do not count."""
    spec = find_spec(name)
    if spec is None or spec.origin is None:
        raise ModuleNotFoundError(f"Expected an importable module, got {name!r}.", name=name)
    return hash_bytes(ast.unparse(ast.parse(Path(spec.origin).read_bytes())).encode())
