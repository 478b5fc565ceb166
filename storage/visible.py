"""Text from outside as a person may read it: no character of it acts on a terminal or hides."""

from __future__ import annotations

import json
import os
import re
import unicodedata
from typing import Any

_ACTING = ("Cc", "Cs", "Cn", "Zl", "Zp")
"""Unicode's categories of controls, lone surrogates, what is no character, and line separators."""
_ESCAPE = re.compile(r"\\(x(?:[89a-f][0-9a-f]|5c))")
_JOINERS = "\u200c\u200d"
"""Of all format characters those that words and emoji are written with."""


def visible(text: str) -> str:
    r"""Control, bidirectional and other characters that are not seen as escapes: ESC is \x1b.

    Spaces of all kinds stay, as names in many languages have them. What is visible stays as it is, so
    that doing it twice is doing it once.
    """
    if text.isprintable():
        return text
    return "".join(c.encode("unicode_escape").decode() if _acts(c) else c for c in text)


def visible_value(value: Any) -> Any:
    """The same of every text in nested lists and dicts; other values as they are."""
    if isinstance(value, str):
        return visible(value)
    if isinstance(value, dict):
        return {visible_value(key): visible_value(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [visible_value(inner) for inner in value]
    return value


def escaped(path: str) -> str:
    r"""A path as valid UTF-8: a byte of a name in another encoding is \xNN; `unescaped` gives it back.

    A backslash that would be taken for such an escape is \x5c.
    """
    text = _ESCAPE.sub(lambda found: rf"\x5c{found[1]}", path) if "\\x" in path else path
    return text if text.isascii() else os.fsencode(text).decode("utf-8", "backslashreplace")


def unescaped(text: str) -> str:
    """The path whose `escaped` form this is."""
    if "\\x" not in text:
        return text
    parts = _ESCAPE.split(text)  # text, digits of an escape, text, …
    raw = (bytes.fromhex(p[1:]) if i % 2 else os.fsencode(p) for i, p in enumerate(parts))
    return os.fsdecode(b"".join(raw))


def ascii_json(value: Any, **options: Any) -> str:
    """JSON of printable ASCII alone: DEL, too, is an escape. options: of `json.dumps`."""
    return json.dumps(value, **options).replace("\x7f", "\\u007f")


def _acts(character: str) -> bool:
    category = unicodedata.category(character)
    return category in _ACTING or (category == "Cf" and character not in _JOINERS)
