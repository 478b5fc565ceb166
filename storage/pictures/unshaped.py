"""Right-to-left text for drawing without a shaper: Arabic letters in their joined forms, in visual order.

Pillow shapes text only where the system has FriBidi. This does what a caption needs: words from right to
left within a line from left to right, digits in their order. Scripts of India keep the order of their code
points: legible, with vowels that stand after instead of before.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from functools import lru_cache

_RIGHT = ("R", "AL")
_FORMS = re.compile(r"<(isolated|final|initial|medial)> ([0-9A-F ]+)")
_PRESENTED = (*range(0xFB50, 0xFDF0), *range(0xFE70, 0xFEFD))
"""Unicode's blocks of Arabic letters by form."""
_JOINING, _LAM = "\u0640\u200d", "\u0644"
"""Tatweel and zero-width joiner."""
_MIRRORED = str.maketrans("()[]{}<>«»‹›", ")(][}{><»«›‹")


def in_drawn_order(text: str) -> str:
    """The text as it is to be drawn character by character, from left to right."""
    if not any(unicodedata.bidirectional(c) in _RIGHT for c in text):
        return text
    joined = _joined(text)
    return "".join(_turned(part) if turns else part for turns, part in _by_direction(joined))


def _by_direction(text: str) -> Iterator[tuple[bool, str]]:
    """Whether each part goes from right to left: from a letter that does to the last one before another
    script's letter, with what lies between."""
    start = end = 0
    while start < len(text):
        if not _is_right(text[start]):
            end = next((i for i in range(start, len(text)) if _is_right(text[i])), len(text))
            yield False, text[start:end]
        else:
            end = _end_of_right(text, start)
            yield True, text[start:end]
        start = end


def _end_of_right(text: str, start: int) -> int:
    """Where the part ends that begins with a letter from right to left: after the last such letter before
    one of another script, its marks, numbers that follow and the bracket that closes one in it."""
    end = start + 1
    for at in range(end, len(text)):
        character = text[at]
        kind = unicodedata.bidirectional(character)
        if kind == "L":
            break
        closes = end == at and text.count(character.translate(_MIRRORED), start, at)
        is_bracket = character != character.translate(_MIRRORED)
        if (
            kind in (*_RIGHT, "EN", "AN")
            or (kind == "NSM" and end == at)
            or is_bracket
            and closes > text.count(character, start, at)
        ):
            end = at + 1
    return end


def _turned(text: str) -> str:
    """A letter with its marks, or a number, after the other, backwards."""
    clusters: list[str] = []
    for character in text:
        is_number = unicodedata.bidirectional(character) in ("EN", "AN")
        goes_on = clusters and is_number and clusters[-1][-1].isdigit()
        if clusters and (goes_on or unicodedata.combining(character)):
            clusters[-1] += character
        else:
            clusters.append(character.translate(_MIRRORED))
    return "".join(reversed(clusters))


def _joined(text: str) -> str:
    """Arabic letters in the forms that their neighbours give them; lam with alef is one."""
    letters = [i for i, c in enumerate(text) if not unicodedata.combining(c)]
    found = list(text)
    before, skipped = "", False
    for place, at in enumerate(letters):
        letter = text[at]
        after = text[letters[place + 1]] if place + 1 < len(letters) else ""
        if skipped:  # the alef of a lam
            before, skipped = letter, False
            continue
        joins = _reaches(before) and ("final" in _forms(letter) or letter in _JOINING)
        if letter == _LAM and (pair := _forms(letter + after)) and after:
            found[at], found[letters[place + 1]] = pair["final" if joins else "isolated"], ""
            before, skipped = letter, True
            continue
        onward = _reaches(letter) and ("final" in _forms(after) or (after and after in _JOINING))
        name = {(0, 0): "isolated", (1, 0): "final", (0, 1): "initial", (1, 1): "medial"}
        found[at] = _forms(letter).get(name[bool(joins), bool(onward)], letter)
        before = letter
    return "".join(found)


def _reaches(letter: str) -> bool:
    """Whether a letter joins the one after it."""
    return bool(letter) and (letter in _JOINING or "initial" in _forms(letter))


def _forms(letters: str) -> dict[str, str]:
    """The forms of a letter, or of lam and alef, by name."""
    return _all_forms().get(letters, {})


@lru_cache(maxsize=1)
def _all_forms() -> dict[str, dict[str, str]]:
    found: dict[str, dict[str, str]] = {}
    for code in _PRESENTED:
        said = _FORMS.fullmatch(unicodedata.decomposition(chr(code)))
        if said is None:
            continue
        letters = "".join(chr(int(number, 16)) for number in said[2].split())
        is_lam_alef = (
            len(letters) == 2 and letters[0] == _LAM and letters[1] in "\u0622\u0623\u0625\u0627"
        )
        if len(letters) == 1 or is_lam_alef:
            found.setdefault(letters, {}).setdefault(said[1], chr(code))
    return found


def _is_right(character: str) -> bool:
    return unicodedata.bidirectional(character) in _RIGHT
