"""Records of items that are made again, kept until the step is published.

A photo may be of no use the second time: the output that it had stays recorded (`tasks.archive.sweep`). A
kill in between loses nothing, the records wait in the folder.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Iterator
from pathlib import Path

from storage.records import ledger
from storage.records.fingerprint import hash_file
from storage.records.item_record import ItemRecord, each_item

_NAME = "superseded"


def set_aside(folder: Path, item: str) -> None:
    """Take an item's record out of `done`, if there is one, so that the item is made again."""
    path = ledger.record_path(folder, item)
    if not path.exists():
        return
    target = folder / _NAME / f"{item}-{hash_file(path)[:8]}.json"
    target.parent.mkdir(exist_ok=True)
    path.replace(target)
    ledger.sync_folder(target.parent)
    ledger.sync_folder(path.parent)


def set_all_aside(folder: Path) -> None:
    """Make the whole step again: nothing but the records that were set aside stays."""
    for path in (folder / "done").glob("*.json"):
        set_aside(folder, path.stem)
    for path in folder.glob("*"):
        if path.is_dir() and path.name != _NAME:
            shutil.rmtree(path)
        elif not path.is_dir():
            path.unlink()


def remove_superseded(folder: Path, records: Iterable[ItemRecord]) -> None:
    """Delete files of a step's folder that only records set aside name.

    records: of all items. A file that was changed since it was written is somebody's, and stays. Of
    what lies in an output tree `tasks.archive.sweep` decides.
    """
    aside = list(records_aside(folder))
    kept = _files_of(records) if aside else set()
    for record in aside:
        for file in record.files:
            if file.path not in kept:
                ledger.remove_recorded(folder, file)


def records_aside(folder: Path) -> Iterator[ItemRecord]:
    """The records that were set aside and are still to be settled. Raises DamagedError."""
    return each_item(folder / _NAME)


def drop_records_aside(folder: Path) -> None:
    """Forget records that were set aside, once what they name is settled and the step published."""
    ledger.remove_unnamed(folder / _NAME, "*.json")
    if (folder / _NAME).is_dir():
        (folder / _NAME).rmdir()


def _files_of(records: Iterable[ItemRecord]) -> set[str]:
    return {file.path for record in records for file in record.files}
