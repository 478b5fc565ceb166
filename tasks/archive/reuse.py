"""Photos that were coloured before, in whatever run: their outputs are taken over one by one.

`tasks.engine.adoption` takes whole items of the step that was current. This looks at single photos of all
that is known of the output tree, so that an original that comes back is not coloured anew.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from storage.pictures.thumbnails import is_whole_pack
from storage.records import ledger
from storage.records.decisions import DECISIONS
from storage.records.fingerprint import ValueHash
from storage.records.ledger import link_or_copy
from storage.records.workspace import Workspace
from tasks.archive.decided import Standing
from tasks.config.hints import HINTS
from tasks.engine.adoption import upstream_of_items
from tasks.engine.kept import Output, renamed
from tasks.jobs.colouring.ready import commit_ready, rows_left
from tasks.jobs.stage_items import ColorizeItem, ReadyPhoto, SheetItem

_NOT_OF_PHOTOS = ("accept_photos", "bag", "chunk", "output", "sheet")
"""Settings of the step that change no photo."""


class PhotoKeys:
    """A hash of all that decides one photo's output, wherever it lies."""

    def __init__(self, parts: Mapping[str, Any]) -> None:
        """parts: of the step's fingerprint."""
        config = {k: v for k, v in parts["config"].items() if k not in _NOT_OF_PHOTOS}
        inputs = {k: v for k, v in parts["inputs"].items() if k not in (HINTS, DECISIONS, "truth")}
        upstream = upstream_of_items(parts["upstream"])
        self._own = ValueHash([parts["schema"], config, inputs, upstream, parts["modules"]])

    def of(self, row: Mapping[str, Any]) -> str:
        """row: of the manifest, with its hints, sidecar, palette and acceptance."""
        beside = [row["sidecar"]["sha256"]] if "sidecar" in row else []
        beside += ["accepted"] if row.get("accepted") else []
        beside += [row["palette"]] if "palette" in row else []
        return self._own.of(row["sha256"], row.get("hints"), *beside)


class Coloured:
    """Photos that are coloured already, by what is known of an output tree."""

    def __init__(self, workspace: Workspace, root: Path, known: Iterable[Output]) -> None:
        """root: of the output tree. known: all outputs in it."""
        self._workspace, self._root = workspace, root
        known = list(known)
        self._standing = Standing(known)
        self._known = {(*output.photo, output.facts.key): output for output in known}

    def take_over(self, item: Any) -> tuple[Any, bool]:
        """An item with its photos that are coloured already, and whether that makes it done.

        Files that lie under another name are linked to the one that is wanted.
        """
        if not isinstance(item, ColorizeItem) or isinstance(item, SheetItem):
            return item, False
        found = _ready(self._workspace, self._root, item, self._known, self._standing)
        item = replace(item, ready=tuple(found))
        is_done = bool(item.ready) and not rows_left(item)
        if is_done:
            commit_ready(item)
        return item, is_done


def _ready(
    workspace: Workspace,
    root: Path,
    item: ColorizeItem,
    known: Mapping[tuple[Any, ...], Output],
    standing: Standing,
) -> Iterable[ReadyPhoto]:
    for row in item.photos:
        same = known.get((item.archive, row["path"], row["sha256"], row["key"]))
        output = standing.of(item.archive, row) or same
        if output is None or not _is_whole(workspace, output, item.config["thumbnails"]):
            continue
        wanted = renamed(output, row["output"])
        for source, target in zip(output.files, wanted.files, strict=True):
            here, there = output.place(workspace) / source.path, root / target.path
            if here != there and ledger.damage(root, target) is not None:
                link_or_copy(here, there, over=True)
        yield ReadyPhoto(
            path=row["path"],
            facts=replace(wanted.facts, decided=row.get("decided", "")),
            files=wanted.files,
            pack=str(workspace.root / output.pack) if output.pack else "",
            picture=output.picture,
        )


def _is_whole(workspace: Workspace, output: Output, thumbnails: int) -> bool:
    place = output.place(workspace)
    if any(ledger.damage(place, file) for file in output.files):
        return False
    return not thumbnails or is_whole_pack(workspace.root / output.pack)
