"""Decisions without a page, for tests."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

from storage.records.decisions import open_decisions
from storage.records.workspace import Workspace
from tasks.engine.kept import Output
from tasks.review.photos import Photos


def outputs_by_photo(output: Path) -> dict[str, Output]:
    """The outputs of the current step, by their originals' paths."""
    found = Photos(Workspace(output / ".chromaflow"))
    return {one.facts.photo: one for one in found.by_id.values()}


def decide(output: Path, photos: Iterable[str], **changes: Any) -> None:
    """Write one decision on some photos, as the page does."""
    known = outputs_by_photo(output)
    with open_decisions(output) as log:
        now = [
            replace(log.decisions.of(known[path].photo), output=known[path].content, **changes)
            for path in photos
        ]
        log.write("test", now)
