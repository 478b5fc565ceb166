"""What a published folder says of itself: _SUCCESS.json, written last.

Apart from `item_record`, which the stages' jobs import: what changes here makes no photo again.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Self

from storage.records.ledger import FileRecord, check_version, misshapen

VERSION = 1
"""Of the record. Those without one are of version 1."""


@dataclass(frozen=True, kw_only=True, slots=True)
class SuccessRecord:
    """What was published, and what it must still be when it is verified."""

    fingerprint: str
    digest: str
    """Of what the output is: downstream steps hang on it."""
    items: Mapping[str, str]
    """Name of each item → SHA-256 of its record."""
    outputs: tuple[FileRecord, ...]
    """Files in the step's folder that are not items' own."""
    counts: Mapping[str, int]
    computed_photos: int
    seconds: float
    peak_mb: float
    root: str = ""
    """Of the items' files, relative to the workspace; empty for the step's folder."""
    source: str | None = None
    """Where its photos lie; None for a step without a source of its own."""
    source_from_here: str | None = None
    """The same as seen from the workspace, for where both are moved."""

    @classmethod
    def from_dict(cls, value: Mapping[str, Any], place: Path | None = None) -> Self:
        """From JSON. place: its file, for messages. Raises DamagedError for a later version."""
        check_version(value, VERSION, place)
        try:
            outputs = tuple(FileRecord.from_dict(file) for file in value["outputs"])
            own = {name: one for name, one in value.items() if name != "version"}
            return cls(**own | {"outputs": outputs})
        except (KeyError, TypeError) as error:
            raise misshapen(place, error) from error

    def to_dict(self) -> dict[str, Any]:
        """As JSON."""
        own = {field.name: getattr(self, field.name) for field in fields(self)}
        known = {name: value for name, value in own.items() if value is not None}
        outputs = [file.to_dict() for file in self.outputs]
        return {"version": VERSION, **known, "outputs": outputs}
