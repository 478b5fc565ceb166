"""The first photos of a large archive are coloured while ingest reads the rest of it.

They go into a folder of the colorize step that is never published. `tasks.archive.reuse` takes its
photos over by key when the step's turn comes, as it does those of a run that was killed; what is not
taken over is made anew. So nothing that is decided hangs on it (docs/decisions/042).
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from functools import cached_property
from pathlib import Path
from typing import Any

from distributed import Future, KilledWorker

from storage.formats import FORMATS
from storage.records.fingerprint import hash_value
from storage.records.item_record import read_item
from storage.records.ledger import read_json, record_path
from storage.records.outputs import output_names, plain_name
from storage.records.workspace import Workspace
from storage.sources.selecting import fitter
from storage.sources.sidecars import SUFFIX, is_sidecar_name, sidecar_stems
from storage.visible import escaped
from tasks.archive.ownership import place_of
from tasks.archive.reuse import PhotoKeys
from tasks.colorize import item_parts
from tasks.compute.cluster import Cluster
from tasks.config.model import Workflow
from tasks.engine.kept import STORE_NAME
from tasks.engine.publishing import prepare
from tasks.engine.stages import Decision, Step, StepName, digest_of
from tasks.graph import ARCHIVE, stage_slots
from tasks.jobs.items import ItemResult
from tasks.jobs.stage_items import ColorizeItem
from tasks.jobs.timing import do_timed

INGEST, COLORIZE = ("ingest", ARCHIVE), ("colorize", ARCHIVE)
_PHOTOS = 8
"""Coloured ahead: a person sees what comes, and a chunk of the step proper has photos left to colour."""
_PRIORITY = 10
"""Before what ingest waits for with Dask's 0."""


class Ahead:
    """Of one run. Called from the tasks' threads, one after another: ingest's, then colorize's."""

    def __init__(self, workflow: Workflow, ingest: Step, colorize: Step) -> None:
        self._workflow, self._ingest = workflow, ingest
        trained = tuple(name for name in colorize.upstream if name[0] == "train")
        self._step = Step(
            stage=colorize.stage,
            key=colorize.key,
            workspace=colorize.workspace,
            code=colorize.code,
            config=colorize.config,
            upstream=trained,
            inputs=colorize.inputs,
            output_root=colorize.output_root,
            hashes=colorize.hashes,
        )
        self._listed: Callable[[], Iterable[str]] | None = None
        self._future: Future | None = None

    def will_read(self, paths: Callable[[], Iterable[str]]) -> None:
        """Take the paths of all files that ingest reads; names of outputs may hang on any of them."""
        self._listed = paths

    def see(self, step: Step, folder: Path, result: ItemResult, cluster: Cluster) -> None:
        """Begin with the photos of ingest's first item that has some, once that is done."""
        if step.name != INGEST or self._listed is None:
            return
        record = read_item(record_path(folder, result.name))
        seen = record.facts["seen"] if record is not None else []
        usable = [row for row in seen if row["checked"] and not row["code"]][:_PHOTOS]
        if not usable:
            return
        photos = self._rows({row["path"]: row for row in usable}, self._listed())
        self._listed = None
        if photos:
            item = self._item(photos, cluster)
            self._future = cluster.submit(do_timed, item, priority=_PRIORITY)

    def settle(self, step: Step) -> None:
        """Wait for what was begun, before the step that takes it over."""
        if step.name == COLORIZE and self._future is not None:
            with suppress(KilledWorker):  # the step does them itself, and says which photo kills
                self._future.result()

    def drop(self) -> None:
        """Once the step is published: what it took over is its own."""
        shutil.rmtree(self._decision.folder, ignore_errors=True)

    @cached_property
    def _decision(self) -> Decision:
        step = self._step
        digests = {name: digest_of(step.workspace, *name) for name in step.upstream}
        fingerprint = hash_value(["ahead", step.parts(digests)])
        return Decision(step=step, action="run", reasons=(), fingerprint=fingerprint)

    def _rows(
        self, seen: Mapping[str, dict[str, Any]], listed: Iterable[str]
    ) -> list[dict[str, Any]]:
        """Of these photos, by path, those that stand by themselves, with the names of their outputs."""
        assert self._workflow.archive is not None
        place = place_of(self._workflow)
        names = output_names([place.folder + path for path in seen])
        alone = set(seen) - set(_entangled(seen, listed))
        root = self._workflow.archive.photos_root
        is_accepted = fitter(self._workflow.colorize.accept_photos)
        rows = []
        for path, row in seen.items():
            name = names[place.folder + path]
            is_plain = name == f"{escaped(place.folder + path)}.color"
            if path in alone and is_plain and not _is_taken(root, name):
                accepted = {"accepted": True} if is_accepted(path) else {}
                rows.append(row | accepted | {"output": name})
        return rows

    def _item(self, rows: list[dict[str, Any]], cluster: Cluster) -> ColorizeItem:
        prepare(self._decision)
        folder = self._decision.folder
        parts = (read_json(folder / "stage.json") or {})["parts"]
        common = item_parts(self._step, self._workflow, cluster.slots, folder, self._ingest.place)
        keys = PhotoKeys(parts)
        photos = tuple(row | {"key": keys.of(row)} for row in rows)
        name = f"ahead-{hash_value([row['key'] for row in photos])[:8]}"
        return ColorizeItem(name=name, photos=photos, **common)


def ahead_of(
    workflow: Workflow, decisions: Mapping[StepName, Decision], wanted: Iterable[Step]
) -> Ahead | None:
    """What may be done ahead in a run of these steps; None where there is nothing, or where the photos
    wait for more than ingest.

    Only the first run of an output tree colours ahead: later ones have something to show.
    """
    steps = {step.name: step for step in wanted}
    if not {INGEST, COLORIZE} <= steps.keys() or decisions[INGEST].action == "skip":
        return None
    colorize, config = steps[COLORIZE], workflow.colorize
    before = [name for name in colorize.upstream if name != INGEST]
    waits = config.series or any(
        name in steps and decisions[name].action != "skip" for name in before
    )
    slots = [stage_slots(workflow, name, 1) for name, _ in (INGEST, COLORIZE)]
    other_workers = workflow.compute.is_elsewhere or slots[0] != slots[1]
    if waits or other_workers or config.hints or workflow.remotes or _has_outputs(colorize):
        return None
    return Ahead(workflow, steps[INGEST], colorize)


def _has_outputs(step: Step) -> bool:
    workspace: Workspace = step.workspace
    kept = (workspace.root / STORE_NAME).glob("*.json")
    return workspace.current(step.stage, step.key).exists() or any(kept)


def _entangled(photos: Iterable[str], listed: Iterable[str]) -> Iterator[str]:
    """Of some photos those whose output's name hangs on another file, and those with an XMP beside."""
    paths = {plain_name(path): path for path in photos}
    stems = {plain_name(stem): path for path in photos for stem in sidecar_stems(path)}
    for other in listed:
        plain = plain_name(other)
        path = paths.get(plain)
        if path is not None and path != other:
            yield path
        if is_sidecar_name(other) and (path := stems.get(plain[: -len(SUFFIX)])) is not None:
            yield path


def _is_taken(root: Path, name: str) -> bool:
    """Whether anything bears an output's name."""
    suffixes = {suffix for known in FORMATS.values() for suffix in known.suffixes}
    suffixes.add(Path(name.removesuffix(".color")).suffix)
    return any((root / (name + suffix)).exists() for suffix in suffixes)
