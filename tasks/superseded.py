"""Records of items that are made again, kept until the step is published.

A photo may be of no use the second time. Its first output is then removed: what lies in an output
tree is what the records name. A kill in between loses nothing, the records wait in the folder.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from storage import ledger
from storage.fingerprint import hash_file
from tasks.verification import read_success

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


def remove_superseded(folder: Path, root: Path, records: Iterable[Mapping[str, Any]]) -> None:
    """Delete files that only records set aside name, and these records.

    root: where the items' files lie. records: of all items. A file that was changed since it was
    written is somebody's, and stays.
    """
    if not (folder / _NAME).is_dir():
        return
    kept = _files_of(records)
    for path in (folder / _NAME).glob("*.json"):
        _remove_unnamed(path, root, kept)
        path.unlink()
    (folder / _NAME).rmdir()


def remove_abandoned(folder: Path, root: Path) -> None:
    """Delete files in an output tree that only steps name that were never finished, or not whole.

    Settings were changed in the middle and changed back, say. folder: of the step that is up to
    date; the others of its key lie beside it. root: as for `remove_superseded`.
    """
    abandoned = [
        other
        for other in folder.parent.iterdir()
        if other != folder and read_success(other) is None and _same_place(other, folder)
    ]
    left = [
        path
        for other in abandoned
        for path in [*(other / "done").glob("*.json"), *(other / _NAME).glob("*.json")]
    ]
    if left:
        own = (ledger.read_json(path) for path in (folder / "done").glob("*.json"))
        kept = _files_of(record for record in own if record is not None)
        for path in left:
            _remove_unnamed(path, root, kept)


def _same_place(other: Path, folder: Path) -> bool:
    """Whether two steps write to one output tree."""
    own, others = (ledger.read_json(one / "stage.json") or {} for one in (folder, other))
    return own.get("root") == others.get("root")


def _files_of(records: Iterable[Mapping[str, Any]]) -> set[str]:
    return {file["path"] for record in records for file in record["files"]}


def _remove_unnamed(record_file: Path, root: Path, kept: set[str]) -> None:
    for file in (ledger.read_json(record_file) or {"files": []})["files"]:
        if file["path"] not in kept and ledger.damage(root, file) is None:
            (root / file["path"]).unlink()
