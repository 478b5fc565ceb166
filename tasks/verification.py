"""Is what was published still there, byte for byte? Asked by the skip rule and by `verify`."""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from storage import ledger
from storage.fingerprint import hash_file, hash_value
from storage.workspace import Workspace
from tasks.kept import damaged_kept

SUCCESS_NAME = "_SUCCESS.json"
KEPT_LABEL = "colorize/kept"
"""Of outputs that no current step names."""
_SELF = "self"


def write_success(folder: Path, success: Mapping[str, Any]) -> None:
    """Write the last file of a published folder, with a hash of itself."""
    ledger.write_json(folder / SUCCESS_NAME, {**success, _SELF: hash_value(success)})


def read_success(folder: Path) -> dict[str, Any] | None:
    """What a published folder says of itself; None where it is not published or not whole."""
    success = ledger.read_json(folder / SUCCESS_NAME)
    if success is None or success.pop(_SELF, None) != hash_value(success):
        return None
    return success


def find_damage(folder: Path, success: Mapping[str, Any], root: Path) -> dict[str, list[str]]:
    """Verify a published step. Returns what is damaged: item or output name → all that is wrong.

    root: where the items' files lie.
    """
    problems: dict[str, list[str]] = {}
    for output in success["outputs"]:
        if problem := ledger.damage(folder, output):
            problems[output["path"]] = [problem]
    with ThreadPoolExecutor() as pool:  # hashing releases the interpreter's lock
        checks = pool.map(
            lambda pair: _item_damage(folder, root, *pair), list(success["items"].items())
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
    """The current steps, and every damaged item or output of them: step, item, problem."""
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
    return steps, rows


def root_of(workspace: Workspace, folder: Path, success: Mapping[str, Any]) -> Path:
    """Where a published step's files lie: its folder, or a tree beside the workspace."""
    return (workspace.root / success["root"]).resolve() if success.get("root") else folder


def _item_damage(folder: Path, root: Path, name: str, digest: str) -> tuple[str, list[str]]:
    """The item's name, and all that is wrong with its record and files."""
    path = ledger.record_path(folder, name)
    record = ledger.read_json(path)
    if record is None:
        return name, [f"record of {name} is missing"]
    if hash_file(path) != digest:
        return name, [f"record of {name} has changed"]
    files = [(root, file) for file in record["files"]]
    files += [(folder, file) for file in record["extras"]]
    found = (ledger.damage(base, file) for base, file in files)
    return name, [f"{name}: {problem}" for problem in found if problem]
