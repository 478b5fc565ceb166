"""The record of one item of a step, done/<name>.json, and what it says of each coloured photo."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from json import JSONDecoder
from pathlib import Path
from typing import Any, Self

from storage.errors import DamagedError
from storage.records.ledger import (
    FileRecord,
    check_version,
    misshapen,
    read_json,
    record_path,
)
from storage.records.manifest import Quarantined
from storage.records.names import PACKS_FOLDER

VERSION = 1
"""Of a record. Those without one are of version 1."""
_DECODER = JSONDecoder()
_KEYS = {"key", "files", "extras", "num_photos", "quarantined"}
_ADDED = {
    "notes": [],
    "pages": [],
    "range": "declared",
    "palette": "",
    "variants": [],
    "variant": 0,
    "decided": "",
}
"""Of few photos, and later than version 1's first records: said only where there is something to say."""
_MEASURED = ("shares", "colourfulness", "uncertainty")


@dataclass(frozen=True, kw_only=True, slots=True)
class OutputFacts:
    """What is known of one coloured photo. Its version is that of the file that holds it."""

    photo: str
    """Path of the original in its archive."""
    sha256: str
    """Of the original."""
    offset: int
    bytes: int
    """Of the original."""
    output: str
    """Name below the output's root."""
    format: str
    width: int
    height: int
    num_pages: int
    bits: int
    lossless: bool
    label: str
    archive: int = 0
    """Its number among the archives of the output folder."""
    key: str = ""
    """A hash of what decides the output; empty where a version before keys wrote it."""
    signed: bool = False
    said: Mapping[str, str] = field(default_factory=dict)
    """What the metadata says, by name: description, date, …"""
    lost: Sequence[str] = field(default_factory=list)
    """Metadata that could not be read or kept."""
    notes: Sequence[str] = ()
    """What people should know of the photo itself: pages that are missing, a range, …"""
    pages: Sequence[Mapping[str, Any]] = ()
    """Of those that were not coloured: `page` of the original and `output`, its number there, from 1,
    0 where it was left out; `reason` (THUMBNAIL, or a code) and `detail`."""
    range: str = "declared"
    """Of its samples: `declared`, or `auto`, which stretched them where they use a small part of it."""
    palette: str = ""
    """The code of the palette that it follows; empty for the mean colours."""
    variants: Sequence[Mapping[str, str]] = ()
    """Other colourings beside it, the likeliest first: `output`, its name, and `palette`, its code."""
    variant: int = 0
    """Which of a photo's variants it is, where it is kept without the photo's own output; 0 for none."""
    decided: str = ""
    """What a person decided of its colours, `storage.records.decisions.Decided.wish`; empty for nothing."""
    max_dL: float | None = None
    """Largest |ΔL*| before encoding."""
    seconds: float | None = None
    shares: Mapping[str, float] | None = None
    """Category → 0..1; like the next two only where small pictures are made for the report."""
    colourfulness: float | None = None
    uncertainty: float | None = None
    """Mean, Lab units."""

    @property
    def copied(self) -> set[int]:
        """Numbers in the output, from 1, of the pages that are as they were."""
        return {page["output"] for page in self.pages if page["output"]}

    @property
    def variant_names(self) -> list[str]:
        """Of its variants, below the output's root."""
        return [variant["output"] for variant in self.variants]

    @classmethod
    def from_dict(cls, value: Mapping[str, Any], place: Path | None = None) -> Self:
        """From JSON. place: the file that holds it, for the message. Raises DamagedError."""
        try:
            return cls(**value)
        except TypeError as error:
            raise misshapen(place, error) from error

    def to_dict(self) -> dict[str, Any]:
        """As JSON."""
        left_out = {*(_MEASURED if self.shares is None else ())}
        left_out |= {name for name, usual in _ADDED.items() if getattr(self, name) in (usual, ())}
        return {name: getattr(self, name) for name in self.__slots__ if name not in left_out}


@dataclass(frozen=True, slots=True)
class ItemRecord:
    """What one item of a step did: written last, it makes the item done.

    What it holds becomes objects when it is asked for: a run with nothing to do reads 20,000 records.
    """

    facts: Mapping[str, Any]
    """All of it as JSON; what a stage's own job says is found here: `rows`, `seen`, `epochs`, …"""
    place: Path | None = field(default=None, compare=False)
    """The file that it was read from, for messages."""

    @classmethod
    def of(
        cls,
        key: str,
        *,
        files: Iterable[FileRecord],
        extras: Iterable[FileRecord],
        num_photos: int,
        quarantined: Iterable[Quarantined],
        **facts: Any,
    ) -> Self:
        """From objects. facts: what the stage's job says besides, values of JSON."""
        own = {
            "version": VERSION,
            "key": key,
            "files": [file.to_dict() for file in files],
            "extras": [file.to_dict() for file in extras],
            "num_photos": num_photos,
            "quarantined": [row.to_dict() for row in quarantined],
        }
        return cls(own | facts)

    @classmethod
    def from_dict(cls, value: Mapping[str, Any], place: Path | None = None) -> Self:
        """From JSON. place: its file. Raises DamagedError for a later version, or where keys lack."""
        check_version(value, VERSION, place)
        if lacking := _KEYS - value.keys():
            raise misshapen(place, KeyError(*sorted(lacking)))
        return cls(value, place)

    def to_dict(self) -> dict[str, Any]:
        """As JSON."""
        return {**self.facts, "version": VERSION}

    @property
    def key(self) -> str:
        """Of what decides the item's output."""
        return str(self.facts["key"])

    @property
    def num_photos(self) -> int:
        """That it was given."""
        return int(self.facts["num_photos"])

    @property
    def files(self) -> list[FileRecord]:
        """What the item is for, below the step's output root. Raises DamagedError."""
        return self._as_files("files")

    @property
    def extras(self) -> list[FileRecord]:
        """What it wrote into the step's folder besides. Raises DamagedError."""
        return self._as_files("extras")

    @property
    def quarantined(self) -> list[Quarantined]:
        """Photos that it could not use. Raises DamagedError."""
        try:
            return [Quarantined(**row) for row in self.facts["quarantined"]]
        except TypeError as error:
            raise misshapen(self.place, error) from error

    @property
    def outputs(self) -> list[OutputFacts]:
        """Of each photo that it coloured; empty for other stages. Raises DamagedError."""
        return [OutputFacts.from_dict(row, self.place) for row in self.facts.get("outputs", ())]

    @property
    def pack(self) -> str:
        """Its file of small pictures, in the step's folder; empty for none."""
        packs = (file.path for file in self.extras if file.path.startswith(f"{PACKS_FOLDER}/"))
        return next(packs, "")

    def _as_files(self, name: str) -> list[FileRecord]:
        try:
            return [FileRecord.from_dict(row) for row in self.facts[name]]
        except (KeyError, TypeError) as error:
            raise misshapen(self.place, error) from error


def read_item(path: Path) -> ItemRecord | None:
    """Read an item's record; None where it is missing or damaged.

    Raises DamagedError for one of a later version.
    """
    value = read_json(path)
    if value is None or not value.keys() >= _KEYS:
        return None
    check_version(value, VERSION, path)
    return ItemRecord(value, path)


def named_files(path: Path) -> tuple[list[dict[str, Any]], list[dict[str, Any]]] | None:
    """`files` and `extras` of a record as JSON, without the rest of it, which is five times as long.

    None where it is not as `write_json` leaves one of this version: then `read_item` says what it is.
    Raises OSError.
    """
    text = path.read_text("ascii", "replace")
    starts = [
        text.find(f'"{name}": [') for name in ("files", "extras")
    ]  # in a text it has backslashes
    if min(starts) < 0 or not text.endswith(f'"version": {VERSION}}}\n'):
        return None
    files, extras = (_DECODER.raw_decode(text, text.index("[", start))[0] for start in starts)
    return files, extras


def require_item(path: Path) -> ItemRecord:
    """Read the record of an item that is done. Raises DamagedError where it is not whole."""
    record = read_item(path)
    if record is None:
        raise DamagedError(f"Expected a record at {path}, got none that is whole. Run again.")
    return record


def each_item(folder: Path) -> Iterator[ItemRecord]:
    """All records of a folder that are whole, by name, one in memory at a time.

    Raises DamagedError for a later version.
    """
    for path in sorted(folder.glob("*.json")):
        record = read_item(path)
        if record is not None:
            yield record


class ItemRecords(Mapping[str, ItemRecord]):
    """The records of a step's items by name, read from the disk whenever they are asked for.

    Raises DamagedError where one is not whole.
    """

    def __init__(self, folder: Path, names: Iterable[str]) -> None:
        """folder: of the step. names: of the items, in the order in which they come."""
        self._folder = folder
        self._names = dict.fromkeys(names)

    def __getitem__(self, name: str) -> ItemRecord:
        if name not in self._names:
            raise KeyError(name)
        return require_item(record_path(self._folder, name))

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)
