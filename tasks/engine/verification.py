"""Is what was published still there, byte for byte? Asked by the skip rule and by `verify`."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

from storage.records import ledger
from storage.records.fingerprint import hash_value
from storage.records.item_record import named_files, require_item
from storage.records.known_hashes import KnownHashes
from storage.records.names import SUCCESS_NAME
from storage.records.success_record import SuccessRecord
from storage.records.workspace import Workspace
from storage.sources.locations import LIST_PREFIX, is_url
from tasks.engine.kept import damaged_kept

KEPT_LABEL = "colorize/kept"
"""Of outputs that no current step names."""
_SELF = "self"


def write_success(folder: Path, success: SuccessRecord) -> None:
    """Write the last file of a published folder, with a hash of itself."""
    value = success.to_dict()
    ledger.write_json(folder / SUCCESS_NAME, {**value, _SELF: hash_value(value)})


def read_success(folder: Path) -> SuccessRecord | None:
    """What a published folder says of itself; None where it is not published or not whole.

    Raises DamagedError for one of a later version.
    """
    value = ledger.read_json(folder / SUCCESS_NAME)
    if value is None or value.pop(_SELF, None) != hash_value(value):
        return None
    return SuccessRecord.from_dict(value, folder / SUCCESS_NAME)


def find_damage(
    folder: Path,
    success: SuccessRecord,
    root: Path,
    known: KnownHashes | None = None,
) -> dict[str, list[str]]:
    """Verify a published step. Returns what is damaged: item or output name → all that is wrong.

    root: where the items' files lie. known: hashes that need not be found again; by default every
    file is read.
    """
    known = known if known is not None else KnownHashes()
    problems: dict[str, list[str]] = {}
    for output in success.outputs:
        if problem := ledger.damage(folder, output, known.hash):
            problems[output.path] = [problem]
    # one after another: threads that only look files up wait for each other's interpreter
    unknown = [
        (name, digest)
        for name, digest in success.items.items()
        if not _is_known(folder, root, name, digest, known)
    ]
    with ThreadPoolExecutor() as pool:  # hashing releases the interpreter's lock
        checks = pool.map(
            lambda pair: _item_damage(folder, root, pair[0], pair[1], known.hash), unknown
        )
        problems |= {name: found for name, found in checks if found}
    return problems


def damage_reasons(problems: Mapping[str, list[str]]) -> tuple[str, ...]:
    """A line an item or output of `find_damage`: its first problem, and how many more there are."""
    return tuple(
        found[0] + (f", and {len(found) - 1} more" if len(found) > 1 else "")
        for found in problems.values()
    )


def verify_workspace(workspace: Workspace) -> tuple[list[str], list[dict[str, str]]]:
    """The current steps, and every damaged item or output of them: step, item, problem.

    Everything is read; where something is damaged, the next run reads everything too.
    """
    rows, steps = [], []
    for folder in workspace.all_current():
        label = f"{folder.parent.name}/{folder.name}"
        steps.append(label)
        success = read_success(folder)
        if success is None:
            problem = f"{SUCCESS_NAME} is missing or damaged"
            rows.append({"step": label, "item": SUCCESS_NAME, "problem": problem})
            continue
        root = root_of(workspace, folder, success)
        problems = find_damage(folder, success, root)
        rows += [
            {"step": label, "item": item, "problem": problem}
            for item, found in sorted(problems.items())
            for problem in found
        ]
    rows += [
        {"step": KEPT_LABEL, "item": name, "problem": problem}
        for name, problem in damaged_kept(workspace)
    ]
    if rows:
        _forget_hashes(workspace)
    return steps, rows


def _forget_hashes(workspace: Workspace) -> None:
    """Have the next run read everything: the stamps of what is damaged may be those of before."""
    with suppress(OSError):  # a disk that cannot be written to: then nothing can run on it either
        workspace.hashes.unlink(missing_ok=True)


def root_of(workspace: Workspace, folder: Path, success: SuccessRecord) -> Path:
    """Where a published step's files lie: its folder, or a tree beside the workspace."""
    return (workspace.root / success.root).resolve() if success.root else folder


def places(workspace: Workspace, source: str, output_root: Path | None) -> dict[str, Any]:
    """Where a step's source and outputs lie, for its `SuccessRecord`: in no fingerprint, all may move.

    source: a location; empty where the step has none of its own.
    """
    root = os.path.relpath(output_root, workspace.root) if output_root else ""
    found = {"root": root, "source": source}
    return found | {"source_from_here": _from_here(workspace, source)} if source else {"root": root}


def source_at(workspace: Workspace, success: SuccessRecord) -> str:
    """Where the source of an ingested key lies: it may have been moved together with the workspace."""
    assert success.source is not None and success.source_from_here is not None, "of an ingest"
    beside = _at_here(workspace, success.source_from_here)
    if is_url(beside) or Path(beside.removeprefix(LIST_PREFIX)).exists():
        return beside
    return success.source


def is_same_place(workspace: Workspace, success: SuccessRecord, source: str) -> bool:
    """Whether a source lies where it did, by itself or seen from the workspace."""
    beside = _from_here(workspace, source)
    return source == success.source or beside == success.source_from_here


def _from_here(workspace: Workspace, location: str) -> str:
    """A location as seen from the workspace, so that it holds where both are moved."""
    if is_url(location):
        return location
    prefix = LIST_PREFIX if location.startswith(LIST_PREFIX) else ""
    return prefix + os.path.relpath(location.removeprefix(prefix), workspace.root.resolve())


def _at_here(workspace: Workspace, beside: str) -> str:
    """What `_from_here` was given, where the workspace is now."""
    if is_url(beside):
        return beside
    prefix = LIST_PREFIX if beside.startswith(LIST_PREFIX) else ""
    return prefix + os.path.normpath(workspace.root.resolve() / beside.removeprefix(prefix))


def _is_known(folder: Path, root: Path, name: str, digest: str, known: KnownHashes) -> bool:
    """Whether an item is whole by what is known of its files' stamps alone; else `_item_damage` says more."""
    path = ledger.record_path(folder, name)
    try:
        if known.recall(path) != digest:
            return False
        named = named_files(path)
        if named is None:
            return False
        places = [(f"{root}/", file) for file in named[0]]
        places += [(f"{folder}/", file) for file in named[1]]
        statuses = [os.stat(place + file["path"]) for place, file in places]  # noqa: PTH116 - a million
        contents = [(file["bytes"], file["sha256"]) for _, file in places]
    except (OSError, ValueError, KeyError, TypeError):
        return False
    sizes = (status.st_size for status in statuses)
    return list(zip(sizes, known.recall_all(statuses), strict=True)) == contents


def _item_damage(
    folder: Path, root: Path, name: str, digest: str, hash_of: Callable[[Path], str | None]
) -> tuple[str, list[str]]:
    """The item's name, and all that is wrong with its record and files."""
    path = ledger.record_path(folder, name)
    try:
        if hash_of(path) != digest:
            return name, [f"record of {name} has changed"]
    except OSError:
        return name, [f"record of {name} is missing"]
    record = require_item(path)
    found = [ledger.damage(root, file, hash_of) for file in record.files]
    found += [ledger.damage(folder, file, hash_of) for file in record.extras]
    return name, [f"{name}: {problem}" for problem in found if problem]
