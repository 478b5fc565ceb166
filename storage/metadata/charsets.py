"""Text whose charset nobody declared, and IPTC's declarations, read as they were meant."""

from __future__ import annotations

import re
from itertools import chain

UTF8_DECLARED = b"\x1b%G"
"""Of IIM's dataset 1:90: UTF-8 (ISO 2022's escape to ISO/IEC 10646)."""

_ISO_8859 = {"A": 1, "B": 2, "C": 3, "D": 4, "F": 7, "G": 6, "H": 8, "L": 5, "M": 9, "V": 10}
_ISO_8859 |= {"Y": 13, "_": 14, "b": 15, "f": 16}
"""Final byte of ISO 2022's escape to a set of 96 characters, and which part of ISO 8859 that is."""
_DESIGNATED = re.compile(rb"\x1b[-./]([A-Z_bf])")
_WINDOWS = {
    code: bytes([code & 0xFF]).decode("cp1252", "replace")
    for code in chain(range(0x80, 0xA0), range(0xDC80, 0xDD00))
}
"""C1 control characters, which no caption holds, and escaped bytes, as Windows-1252 has them."""
_NEARLY = 3
"""Whole characters for one broken byte, above which text is UTF-8."""


def decoded(text: bytes) -> str:
    """UTF-8, else Windows-1252, the guess for all Western programs without a declaration.

    What is nearly all UTF-8 (its last character was cut) stays so but for the broken bytes: in capitals,
    accents and quotation marks of Windows-1252 look like UTF-8 here and there. U+FFFD stands for
    the five bytes that Windows-1252 has not.
    """
    mixed = text.decode(errors="surrogateescape")
    num_broken = sum("\udc80" <= letter <= "\udcff" for letter in mixed)
    num_whole = sum(letter > "\x7f" for letter in mixed) - num_broken
    return mixed.translate(_WINDOWS) if num_whole > _NEARLY * num_broken else latin(text)


def latin(text: bytes) -> str:
    """Latin-1 as it is meant: what it has as control characters are those of Windows-1252."""
    return text.decode("latin-1").translate(_WINDOWS)


def declared(text: bytes, declaration: bytes) -> str:
    """Text by IIM's dataset 1:90; decoded by guess without one, with another, or where it is wrong."""
    found = _DESIGNATED.search(declaration)
    part = _ISO_8859.get(found[1].decode(), 1) if found else 0
    if part == 1:
        return latin(text)
    try:
        return text.decode(f"iso8859-{part}").translate(_WINDOWS) if part else decoded(text)
    except UnicodeDecodeError:
        return decoded(text)


def in_utf8(text: bytes) -> bytes:
    """The same in UTF-8; as it was where it is that already, or by guess has no meaning."""
    new = decoded(text)
    return text if _is_utf8(text) or "\ufffd" in new else new.encode()


def _is_utf8(text: bytes) -> bool:
    try:
        text.decode()
    except UnicodeDecodeError:
        return False
    return True
