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
from storage.records.fingerprint import hash_value
from storage.records.ledger import link_or_copy
from storage.records.workspace import Workspace
from tasks.archive.decided import Standing
from tasks.config.hints import HINTS
from tasks.engine.adoption import upstream_of_items
from tasks.engine.kept import Output, renamed
from tasks.jobs.ready import commit_ready, rows_left
from tasks.jobs.stage_items import ColorizeItem, ReadyPhoto, SheetItem

_NOT_OF_PHOTOS = ("accept_photos", "bag", "chunk", "output", "sheet")
"""Settings of the step that change no photo."""


def photo_key(parts: Mapping[str, Any], row: Mapping[str, Any]) -> str:
    """A hash of all that decides one photo's output, wherever it lies.

    parts: of the step's fingerprint. row: of the manifest, with its hints, sidecar, palette and acceptance.
    """
    config = {k: v for k, v in parts["config"].items() if k not in _NOT_OF_PHOTOS}
    inputs = {k: v for k, v in parts["inputs"].items() if k not in (HINTS, DECISIONS, "truth")}
    upstream = upstream_of_items(parts["upstream"])
    own = [parts["schema"], config, inputs, upstream, parts["modules"]]
    beside = [row["sidecar"]["sha256"]] if "sidecar" in row else []
    beside += ["accepted"] if row.get("accepted") else []
    beside += [row["palette"]] if "palette" in row else []
    return hash_value([own, row["sha256"], row.get("hints"), *beside])


def take_over(
    workspace: Workspace, root: Path, items: Iterable[Any], known: Iterable[Output]
) -> tuple[list[Any], set[str]]:
    """Items with their photos that are coloured already, and the names of those that are now done.

    root: of the output tree. known: all outputs in it. Files that lie under another name are linked
    to the one that is wanted.
    """
    known = list(known)
    ready = {(*output.photo, output.facts.key): output for output in known}
    standing = Standing(known)
    left, done = [], set()
    for item in items:
        if isinstance(item, ColorizeItem) and not isinstance(item, SheetItem):
            item = replace(item, ready=tuple(_ready(workspace, root, item, ready, standing)))
            if item.ready and not rows_left(item):
                commit_ready(item)
                done.add(item.name)
        left.append(item)
    return left, done


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
