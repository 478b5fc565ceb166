"""What a photo's EXIF says to people: who, when and what."""

from __future__ import annotations

from storage.containers.parsing import part
from storage.metadata.charsets import decoded
from storage.metadata.exif import Exif, parse_exif
from storage.metadata.extraction import Metadata

_TAGS = {"description": 270, "date": 306, "artist": 315, "copyright": 33432}
_TAKEN = 36867
"""DateTimeOriginal, of the Exif directory: before the file's own date."""
_MOST = 300
"""Characters kept of each."""


def described(metadata: Metadata) -> dict[str, str]:
    """Description, date, artist and copyright, those that are there; untrusted text, cut short.

    EXIF that does not parse says nothing.
    """
    exif = part(None, parse_exif, metadata.exif) if metadata.exif else None
    if exif is None:
        return {}
    said = {name: _text(exif, tag) for name, tag in _TAGS.items()}
    said["date"] = _text(exif, _TAKEN) or said["date"]
    return {name: text for name, text in said.items() if text}


def _text(exif: Exif, tag: int) -> str:
    value = exif.photo.get(tag) or exif.main.get(tag)
    return decoded(value.data).split("\0")[0].strip()[:_MOST] if value else ""
