"""The coloured photos of an output folder, as the page lists them."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cached_property
from pathlib import Path
from typing import Any

from storage.errors import UsageError
from storage.records.decisions import Decided
from storage.records.fingerprint import hash_value
from storage.records.workspace import Workspace
from tasks.engine.kept import Output, outputs_of
from tasks.engine.published import read_step
from tasks.engine.verification import root_of
from tasks.graph import ARCHIVE

_ID_LENGTH = 16
_SAID = ("description", "date", "artist")


class Photos:
    """What the current colorize step of a workspace made, by an id that says nothing of its path."""

    def __init__(self, workspace: Workspace) -> None:
        """Raises UsageError where nothing was coloured yet."""
        step = read_step(workspace.current("colorize", ARCHIVE).resolve())
        if step is None:
            raise UsageError(
                f"Expected an archive that was coloured, found none in {workspace.root}. Run `chromaflow "
                "colorize IN OUT` first."
            )
        self.workspace, self.step = workspace, step.folder
        self.root = root_of(workspace, step.folder, step.success).resolve()
        ingested = read_step(workspace.current("ingest", ARCHIVE).resolve())
        self.source = ingested.source if ingested is not None else ""
        found = [
            output
            for _, record in step.records()
            for output in outputs_of(record, workspace, step.folder, self.root)
        ]
        found.sort(key=lambda output: output.facts.photo)
        self.by_id = {photo_id(output): output for output in found}

    @property
    def is_current(self) -> bool:
        """Whether no run has published another step since."""
        return self.workspace.current("colorize", ARCHIVE).resolve() == self.step

    @cached_property
    def ids(self) -> dict[tuple[int, str, str], str]:
        """Archive, path and SHA-256 of an original → its id."""
        return {output.photo: id_ for id_, output in self.by_id.items()}

    def file_of(self, output: Output, name: str) -> Path | None:
        """A recorded file of an output; None where it is gone, or is a link to a place outside of OUT."""
        path = (self.root / name).resolve()
        known = {file.path for file in output.files}
        return path if name in known and path.is_relative_to(self.root) and path.is_file() else None

    def listing(self) -> dict[str, list[Any]]:
        """One list a column, all of the same length and in the order of paths."""
        columns: dict[str, list[Any]] = {name: [] for name in _COLUMNS}
        for id_, output in self.by_id.items():
            for name, value in _row(id_, output).items():
                columns[name].append(value)
        return columns

    def said(self, decided: Iterable[Decided]) -> dict[str, dict[str, Any]]:
        """By id what holds of photos, as the page takes it; those that are not there now are left out."""
        found = {}
        for one in decided:
            if (id_ := self.ids.get(one.photo)) is not None:
                found[id_] = _said(one, self.by_id[id_])
        return found


def photo_id(output: Output) -> str:
    """Of a photo, wherever its output lies: the same from run to run."""
    return hash_value(list(output.photo))[:_ID_LENGTH]


_COLUMNS = (
    *("id", "path", "width", "height", "version", "palette", "variants", "thumbs", "pages"),
    *("colourfulness", "uncertainty", "mostly", "mixed", "people", *_SAID, "notes"),
)


def _row(id_: str, output: Output) -> dict[str, Any]:
    facts, shares = output.facts, output.facts.shares or {}
    mostly = max(shares, key=lambda name: shares[name]) if shares else ""
    return {
        "id": id_,
        "path": facts.photo,
        "width": facts.width,
        "height": facts.height,
        "version": output.content[:_ID_LENGTH],
        "palette": facts.palette,
        "variants": [variant["palette"] for variant in facts.variants],
        "thumbs": bool(output.pack),
        "pages": facts.num_pages,
        "colourfulness": facts.colourfulness,
        "uncertainty": facts.uncertainty,
        "mostly": mostly,
        "mixed": round(1 - shares[mostly], 3) if mostly else None,
        "people": shares.get("people"),
        **{name: facts.said.get(name, "") for name in _SAID},
        "notes": "; ".join([*facts.notes, *facts.lost]),
    }


def _said(decided: Decided, output: Output) -> dict[str, Any]:
    return {
        "verdict": decided.verdict,
        "palette": decided.palette,
        "hints": [list(hint) for hint in decided.hints],
        "note": decided.note,
        "number": decided.number,
        "waits": not decided.is_done(output.facts.decided),
        "stands": decided.approves(output.facts.decided, output.content),
    }
