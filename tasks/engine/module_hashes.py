"""Hashes of our modules, of those that did not change without parsing them: that takes a second."""

from __future__ import annotations

import platform
import threading
from functools import cache

from storage.records.fingerprint import hash_module
from storage.records.known_hashes import KnownHashes
from tasks.engine.stage_code import file_of

_KIND = f"syntax tree, Python {platform.python_version()}"
"""What is hashed; another Python may write another tree."""
_PARSING = threading.Lock()
"""Python 3.11 counts the depth of syntax trees for all threads together: two that parse at a time may
raise SystemError, "AST constructor recursion depth mismatch" (python/cpython#106905)."""


@cache
def module_hash(name: str, known: KnownHashes) -> str:
    """`hash_module`, asked once a process, and parsed once as long as its file has the same stamp."""
    path = file_of(name)
    with _PARSING:
        if path is None:
            return hash_module(name)
        return known.derived(path, _KIND, lambda: hash_module(name))
