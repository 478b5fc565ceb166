"""Text from outside as a person may read it: no character of it acts on a terminal or hides."""

from __future__ import annotations

import json
import unicodedata
from typing import Any

_ACTING = ("Cc", "Cs", "Cn", "Zl", "Zp")
"""Unicode's categories of controls, lone surrogates, what is no character, and line separators."""
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


def ascii_json(value: Any, **options: Any) -> str:
    """JSON of printable ASCII alone: DEL, too, is an escape. options: of `json.dumps`."""
    return json.dumps(value, **options).replace("\x7f", "\\u007f")


def _acts(character: str) -> bool:
    category = unicodedata.category(character)
    return category in _ACTING or (category == "Cf" and character not in _JOINERS)
