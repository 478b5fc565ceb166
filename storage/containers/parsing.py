"""What a parser raises for bad bytes, told apart from a mistake in this package."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Concatenate, ParamSpec, TypeVar

from storage.errors import PhotoError

_P = ParamSpec("_P")
_T = TypeVar("_T")
_MISTAKES = (TypeError, NameError, AttributeError, AssertionError)
_OURS = ("chromaflow", "colorization", "flows", "storage", "tasks")
_LONGEST = 200
_ADDRESS = re.compile(r"<[^<>]* at 0x[0-9a-f]+>")
"""Of a Python object, which says nothing to people."""


def is_damage(error: BaseException) -> bool:
    """Whether it may be the bytes' fault: parsers raise nearly every built-in error.

    TypeError and its like raised by a line of ours are mistakes of ours; in a library they are not.
    """
    if not isinstance(error, Exception):
        return False
    if not isinstance(error, _MISTAKES):
        return True
    place = error.__traceback__
    while place is not None and place.tb_next is not None:
        place = place.tb_next
    module = place.tb_frame.f_globals.get("__name__", "") if place else ""
    return str(module).partition(".")[0] not in _OURS


def plain_words(error: BaseException) -> str:
    """An error of a library as it says it, without a Python object's address and cut to one line's length."""
    return _ADDRESS.sub("it", str(error))[:_LONGEST] or "it does not parse"


def part(default: _T, read: Callable[_P, _T], *args: _P.args, **kwargs: _P.kwargs) -> _T:
    """Read something that may not parse; the default where it does not."""
    try:
        return read(*args, **kwargs)
    except Exception as error:
        if not is_damage(error):
            raise
        return default


class Losses(list[str]):
    """What of a photo's metadata could not be read, in words."""

    def part(
        self,
        name: str,
        default: _T,
        read: Callable[Concatenate[bytes, _P], _T],
        content: bytes,
        *args: _P.args,
        **kwargs: _P.kwargs,
    ) -> _T:
        """Read one part; the default where there is none, and, noted as lost, where it does not parse."""
        if not content:
            return default
        try:
            return read(content, *args, **kwargs)
        except Exception as error:
            if not is_damage(error):
                raise
            self.note(name, error)
            return default

    def note(self, name: str, why: BaseException | str) -> None:
        """Note that a part is lost, wholly or as it says, once."""
        words = why.detail if isinstance(why, PhotoError) else why
        words = words if isinstance(words, str) else plain_words(words)
        line = f"{name}: {words}"[:_LONGEST]
        if line not in self:
            self.append(line)
