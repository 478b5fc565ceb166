"""What `chromaflow retry` does over `run`: photos in quarantine are tried again where they are done.

A step that is not up to date runs in both. One that is up to date keeps every item but those that
hold photos to try again (docs/decisions/013).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from storage.errors import codes_in_words, explain_reason, may_pass
from storage.records import ledger
from storage.records.item_record import read_item
from storage.records.manifest import MANIFEST_COLUMNS, SEEN_COLUMNS
from storage.records.names import GENERATION_NAME, MANIFEST_NAME, QUARANTINE_NAME, SEEN_NAME
from storage.records.tables import each_row, write_table
from tasks.engine.superseded import set_aside

"""The tables of ingest, as `tasks.ingest` names them; importing it would bring Prefect to `plan`."""
_BASIS = "basis"
_OF_ALL_PHOTOS = {"colorize": ("sheet",)}
"""Items that show photos of other items, and so are made again with any of these."""


@dataclass(frozen=True, slots=True)
class Retry:
    """Which photos in quarantine to try again."""

    codes: frozenset[str] = frozenset()
    """Reason codes; empty for those whose cause may have passed."""

    @classmethod
    def of(cls, codes: Iterable[str]) -> Retry:
        """From what a user asks for. Raises UsageError naming the known codes."""
        return cls(frozenset(explain_reason(code).code for code in codes))

    def wants(self, code: str) -> bool:
        """Whether a photo with this code is tried again."""
        return code in self.codes if self.codes else may_pass(code)


def find_again(folder: Path, retry: Retry) -> tuple[str, ...]:
    """Why a published, whole folder is not left alone: the photos to try again; () for none."""
    codes = (row["code"] for row in each_row(folder / QUARANTINE_NAME))
    wanted = codes_in_words(code for code in codes if retry.wants(code))
    return (f"to try again: {wanted}",) if wanted else ()


def forget(folder: Path, stage: str, retry: Retry, *, published: bool) -> set[str]:
    """Set the records of items that hold photos to try again aside. Returns these items' names.

    folder: of the step, prepared to work in. published: whether it was whole until then; what
    ingest saw becomes the basis of a next generation, so that only these photos are looked at and
    all others keep their positions.
    """
    records = {path.stem: path for path in (folder / "done").glob("*.json")}
    forgotten = {name for name, path in records.items() if _holds(path, retry)}
    if forgotten:
        forgotten |= records.keys() & set(_OF_ALL_PHOTOS.get(stage, ()))
    _set_aside(folder, forgotten)
    tables = [folder / name for name in (SEEN_NAME, MANIFEST_NAME, GENERATION_NAME)]
    if stage == "ingest" and published and all(path.exists() for path in tables):
        _begin_generation(folder, retry)
        _set_aside(folder, records)
        return set(records)
    return forgotten


def _holds(record_file: Path, retry: Retry) -> bool:
    record = read_item(record_file)
    if record is None:
        return False
    codes = [row.code for row in record.quarantined]
    return any(map(retry.wants, codes + [row["code"] for row in record.facts.get("seen", ())]))


def _begin_generation(folder: Path, retry: Retry) -> None:
    """Make what ingest published its own basis, without the photos to try again.

    In this order a kill in between costs looking at some files again, or leaves a gap of positions;
    no position is given twice. The basis takes over all records.
    """
    basis = folder / _BASIS
    seen = (row for row in each_row(folder / SEEN_NAME) if not retry.wants(row["code"]))
    ledger.write_json(basis / GENERATION_NAME, ledger.read_json(folder / GENERATION_NAME))
    write_table(basis / MANIFEST_NAME, each_row(folder / MANIFEST_NAME), MANIFEST_COLUMNS)
    write_table(basis / SEEN_NAME, seen, SEEN_COLUMNS)


def _set_aside(folder: Path, names: Iterable[str]) -> None:
    for name in names:
        set_aside(folder, name)
