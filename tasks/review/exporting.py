"""What was decided, for others: a CSV, and a folder or bag of what is approved."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from storage.errors import UsageError
from storage.records.decisions import APPROVED, VERDICTS, Decided, Decisions, read_decisions
from storage.records.ledger import FileRecord, damage, link_or_copy
from storage.records.safe_csv import write_csv
from storage.records.workspace import Workspace
from storage.sources.bags import write_bag
from storage.sources.nesting import is_inside
from tasks.engine.kept import Output
from tasks.review.photos import Photos

COLUMNS = (
    *("path", "decision", "note", "palette", "hints", "coloured", "output", "sha256"),
    "output_sha256",
)
"""Of the CSV. hints: x y #rrggbb, a semicolon between two. coloured: whether the output is as decided."""


@dataclass(frozen=True, kw_only=True)
class Exported:
    """What was put into a folder."""

    folder: Path
    num_photos: int
    num_files: int
    left_out: int
    """Photos without the decision that was asked for."""

    def to_dict(self) -> dict[str, Any]:
        """As JSON."""
        counts = {"photos": self.num_photos, "files": self.num_files, "left_out": self.left_out}
        return {"folder": str(self.folder), **counts}


def decision_rows(photos: Photos, decided: Iterable[Decided]) -> Iterator[dict[str, Any]]:
    """A row a photo of which something was decided, by path."""
    outputs = {output.photo: output for output in photos.by_id.values()}
    for one in sorted(decided, key=lambda one: one.path):
        output = outputs.get(one.photo)
        if one.says_nothing or output is None:
            continue
        hints = (f"{x:g} {y:g} #{r:02x}{g:02x}{b:02x}" for x, y, r, g, b in one.hints)
        yield {
            "path": one.path,
            "decision": one.verdict,
            "note": one.note,
            "palette": one.palette,
            "hints": "; ".join(hints),
            "coloured": "yes" if one.is_done(output.facts.decided) else "no",
            "output": output.name,
            "sha256": one.sha256,
            "output_sha256": output.content,
        }


def write_decisions(workspace: Workspace, output: Path, path: Path) -> int:
    """Write the CSV; the number of its rows. Raises OutputError."""
    rows = list(decision_rows(Photos(workspace), read_decisions(output).photos.values()))
    write_csv(path, COLUMNS, rows)
    return len(rows)


def export(
    workspace: Workspace, output: Path, folder: Path, *, only: str = "", bag: bool = False
) -> Exported:
    """Put finished colour photos into an empty folder, with their sidecars; linked where the disk can.

    only: of `VERDICTS`, or empty for all. bag: make the folder a BagIt bag. Raises UsageError for a
    folder that holds something or lies in OUT, DamagedError, OutputError.
    """
    if only and only not in VERDICTS:
        raise UsageError(f"Expected --only {' or '.join(VERDICTS)}, got {only!r}.")
    folder = folder.resolve()
    if is_inside(folder, output.resolve()) or (folder.exists() and any(folder.iterdir())):
        raise UsageError(
            f"Expected an empty folder outside of {output}, got {folder}. Name another."
        )
    photos, decisions = Photos(workspace), read_decisions(output)
    chosen = [one for one in photos.by_id.values() if not only or _is(one, decisions, only)]
    root = folder / "data" if bag else folder
    files: list[FileRecord] = []
    for one in chosen:
        _check_whole(photos, one)
        for file in one.files:
            link_or_copy(photos.root / file.path, root / file.path)
            files.append(replace(file))
    if bag:
        root.mkdir(parents=True, exist_ok=True)
        write_bag(folder, files, {})
    return Exported(
        folder=folder,
        num_photos=len(chosen),
        num_files=len(files),
        left_out=len(photos.by_id) - len(chosen),
    )


def _is(output: Output, decisions: Decisions, only: str) -> bool:
    found = decisions.of(output.photo)
    if only == APPROVED:
        return found.approves(output.facts.decided, output.content)
    return found.verdict == only


def _check_whole(photos: Photos, output: Output) -> None:
    for file in output.files:
        if problem := damage(photos.root, file):
            raise UsageError(
                f"Expected the outputs as they were written, but {problem}. Run the same command that made "
                "them again."
            )
