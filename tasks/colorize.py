"""Colorize: an archive's manifest → coloured derivatives and a contact sheet."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

from storage.errors import NoInputError
from storage.records.decisions import read_decisions
from storage.records.item_record import ItemRecord, require_item
from storage.records.ledger import read_json, record_file, record_path
from storage.records.names import MANIFEST_NAME, QUARANTINE_NAME, SIDECARS_NAME
from storage.records.outputs import output_names
from storage.records.tables import read_rows
from storage.sources.bags import write_bag
from storage.sources.no_photo import CLUTTER, HIDDEN
from storage.sources.selecting import fitter
from storage.sources.sidecars import with_sidecars
from storage.visible import escaped, visible
from tasks.archive.decided import with_decisions
from tasks.archive.models import archive_models
from tasks.archive.ownership import place_of
from tasks.archive.reuse import photo_key, take_over
from tasks.archive.sweep import OutputTree
from tasks.compute.slots import Slots
from tasks.config.hints import read_hints, with_hints
from tasks.config.model import Workflow
from tasks.control import task
from tasks.engine.execute import Published, Run, Work, execute
from tasks.engine.stages import StageRef, Step, source_of
from tasks.engine.verification import read_success, write_success
from tasks.jobs.items import spread_evenly
from tasks.jobs.stage_items import SHEET_ITEM, TRUTH, ColorizeItem, SheetItem
from tasks.series import with_palettes

_NAMED = 100
"""Outputs that an event names at most."""
_BY_NAME = {HIDDEN, CLUTTER}
_CHUNK_PIXELS = 12e6
"""Of a chunk: one more photo begins the next one. What a kill loses stays at about a second of work,
and an archive of small photos costs no future for every few of them."""


@task("colorize")
def colorize(step: Step, upstream: list[StageRef], run: Run) -> StageRef:
    """Colour every photo of an archive, one future a chunk, and draw its contact sheet."""

    photos = _Photos(step, run)
    work = Work(
        items=photos.items,
        finish=photos.finish,
        identity=_identity,
        reuse=photos.reuse,
        settle=photos.settle,
        sweep=photos.sweep,
    )
    return execute(step, upstream, run, work)


class _Photos:
    """The photos of one archive, and the tree that they are coloured into."""

    def __init__(self, step: Step, run: Run) -> None:
        assert run.workflow.archive is not None
        self._step, self._run, self._archive = step, run, run.workflow.archive
        self._place = place_of(run.workflow)
        self._tree = OutputTree(
            step.workspace,
            root=self._archive.photos_root,
            output=self._archive.output,
            earlier=step.workspace.current(step.stage, step.key).resolve(),
            archive=self._place.number,
            delete=run.delete,
        )

    @property
    def _ingested(self) -> Path:
        return self._step.workspace.current("ingest", self._step.key).resolve()

    def items(self, folder: Path) -> list[ColorizeItem]:
        """All items; outputs whose names other photos take are out of the way."""
        manifest = read_rows(self._ingested / MANIFEST_NAME)
        if not manifest:
            raise NoInputError(_nothing(self._step, self._ingested))
        parts = (read_json(folder / "stage.json") or {})["parts"]
        manifest = with_sidecars(
            self._named(folder, manifest), read_rows(self._ingested / SIDECARS_NAME)
        )
        config = self._run.workflow.colorize
        if config.hints:
            refused = read_rows(self._ingested / QUARANTINE_NAME)
            unusable = [row["path"] for row in refused]
            manifest = with_hints(manifest, read_hints(Path(config.hints)), unusable)
        if config.accept_photos:
            is_accepted = fitter(config.accept_photos)
            manifest = [
                row | {"accepted": True} if is_accepted(row["path"]) else row for row in manifest
            ]
        if config.series:
            found = self._step.workspace.current("series", self._step.key).resolve()
            manifest = with_palettes(manifest, found)
        number = self._place.number
        manifest = with_decisions(manifest, read_decisions(self._archive.output), number)
        manifest = [row | {"key": photo_key(parts, row)} for row in manifest]
        self._tree.keep_changed(folder, {row["output"] for row in manifest}, self._step.hashes.hash)
        self._tree.set_aside(
            folder, {row["output"]: (number, row["path"], row["sha256"]) for row in manifest}
        )
        return _items(self._step, self._run, folder, manifest, number)

    def reuse(self, folder: Path, items: list[Any]) -> tuple[list[Any], set[str]]:
        """See `Work.reuse`."""
        known = self._tree.known(folder)
        return take_over(self._step.workspace, self._archive.photos_root, items, known)

    def finish(self, folder: Path, records: dict[str, ItemRecord]) -> Published:
        """Settle what other outputs the tree holds, and make it a bag."""
        quarantined = [r.to_dict() for record in records.values() for r in record.quarantined]
        self._tree.journal(records.values(), folder, self._ingested, quarantined)
        tags = self._write_bag(records) if self._archive.bag else []
        done = sum(len(record.outputs) for record in records.values())
        return Published(outputs=tags, counts={"done": done})

    def settle(self, folder: Path) -> None:
        """As `finish`, of a step that is published as it is."""
        success = read_success(folder)
        assert success is not None, "only a published step is settled"
        records = {n: require_item(record_path(folder, n)) for n in success.items}
        quarantined = read_rows(folder / QUARANTINE_NAME)
        self._tree.journal(records.values(), folder, self._ingested, quarantined)
        if self._archive.bag and self._tree.is_mixed:
            tags = [record_file(folder, path) for path in self._write_bag(records)]
            names = {tag.path for tag in tags}
            kept = [file for file in success.outputs if file.path not in names]
            write_success(folder, replace(success, outputs=(*kept, *tags)))

    def sweep(self) -> dict[str, int]:
        """Remove what is replaced or asked to go, and say what is kept."""
        swept = self._tree.sweep()
        label = self._step.label
        facts = {"kept": swept.orphans, "unusable": swept.unusable, "changed": swept.changed}
        for event, names in (*facts.items(), ("deleted", swept.deleted), ("theirs", swept.theirs)):
            if names:
                self._run.events.write(
                    f"outputs_{event}", step=label, count=len(names), outputs=names[:_NAMED]
                )
        counts = {
            "kept": len(swept.orphans) + len(swept.unusable),
            "deleted": len(swept.deleted),
            "set aside": len(swept.changed),
        }
        return {name: count for name, count in counts.items() if count}

    def _named(self, folder: Path, manifest: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """The rows with the names of their outputs; a photo that has one keeps it."""
        number = self._place.number
        paths = {row["path"] for row in manifest}
        outputs = [*self._tree.known(folder), *self._tree.done(folder)]
        own = [
            o
            for o in outputs
            if o.photo[0] == number and o.photo[1] in paths and not (o.aside or o.facts.variant)
        ]
        outputs = [o for o in outputs if not (o.facts.variant and o.photo[1] in paths)]
        rest = {o.stem for o in outputs} - {o.stem for o in own}
        is_utf_8 = self._archive.bag or bool(self._run.workflow.remotes)

        def tree_path(path: str) -> str:
            """The photo's path in the output tree; a bag's and a service's names are UTF-8."""
            inside = self._place.folder + path
            return escaped(inside) if is_utf_8 else inside

        known = {tree_path(o.photo[1]): o.stem for o in own}
        variants = self._run.workflow.colorize.variants
        names = output_names(map(tree_path, paths), known, rest, variants)
        return [row | {"output": names[tree_path(row["path"])]} for row in manifest]

    def _write_bag(self, records: dict[str, ItemRecord]) -> list[Path]:
        files = [file for record in records.values() for file in record.files]
        return write_bag(self._archive.output, [*files, *self._tree.payload()], {})


def _nothing(step: Step, ingested: Path) -> str:
    """That an archive holds no photo to colour, with all that was found or left out, by count."""
    success = read_success(ingested)
    found_counts = success.counts if success is not None else {}
    counts = {name: count for name, count in found_counts.items() if name != "done" and count}
    if "ignored" in counts:
        counts["other files"] = counts.pop("ignored")
    refused = read_rows(ingested / QUARANTINE_NAME)
    again = (
        " `--include NAME` brings back what its name leaves out;"
        if counts.keys() & _BY_NAME
        else ""
    )
    by_code = Counter(row["code"] for row in refused)
    found = [f"{count} {name}" for name, count in sorted(counts.items())]
    for code, count in by_code.most_common():
        first = next(row for row in refused if row["code"] == code)
        found.append(f"{count} {code} (as {visible(first['path'])}: {visible(first['detail'])})")
    return (
        f"Expected photos in {source_of(step.workspace, step.key)}, found none that can be coloured: "
        f"{'; '.join(found) or 'it is empty'}. Check the path and the patterns;{again} "
        "`chromaflow explain CODE` says what helps."
    )


def _items(
    step: Step, run: Run, folder: Path, manifest: list[dict[str, Any]], number: int
) -> list[ColorizeItem]:
    """number: of the archive in its output folder."""
    assert run.workflow.archive is not None
    archive, config = run.workflow.archive, run.workflow.colorize
    source = source_of(step.workspace, step.key)
    common = item_parts(step, run.workflow, run.cluster.slots, folder, source)
    common["archive"] = number
    chunks = [
        ColorizeItem(name=name, photos=tuple(rows), **common)
        for name, rows in _chunks(manifest, config.chunk)
    ]
    photos = tuple(manifest[i] for i in spread_evenly(len(manifest), config.sheet))
    if not photos:
        return list(chunks)
    truth = str(archive.truth) if archive.truth else None
    digest = step.inputs.get(TRUTH, "")
    return [
        *chunks,
        SheetItem(name=SHEET_ITEM, photos=photos, truth=truth, truth_digest=digest, **common),
    ]


def item_parts(
    step: Step, workflow: Workflow, slots: Slots, folder: Path, source: str
) -> dict[str, Any]:
    """What all items of a step have in common. folder: of the step. source: of the photos."""
    assert workflow.archive is not None
    return {
        "folder": str(folder),
        "source": source,
        "config": workflow.colorize.output_parts() | {"version": version("chromaflow")},
        "models": archive_models(step.workspace, workflow, slots),
        "output": str(workflow.archive.photos_root),
    }


def _chunks(
    manifest: list[dict[str, Any]], most: int
) -> Iterator[tuple[str, list[dict[str, Any]]]]:
    """Names and rows of chunks: of `most` neighbouring positions, cut where they grow too large.

    Photos that come or go later change the chunks of their own positions only.
    """
    windows: dict[int, list[dict[str, Any]]] = defaultdict(list)
    for row in manifest:
        windows[row["position"] // most].append(row)
    for number, rows in sorted(windows.items()):
        parts: list[list[dict[str, Any]]] = [[]]
        num_pixels = 0
        for row in rows:
            num_pixels += row["width"] * row["height"]
            if parts[-1] and num_pixels > _CHUNK_PIXELS:
                parts.append([])
                num_pixels = row["width"] * row["height"]
            parts[-1].append(row)
        for k, part in enumerate(parts):
            yield f"{number:06d}" + (f"-{k}" if k else ""), part


def _identity(item: ColorizeItem) -> list[Any]:
    is_sheet = isinstance(item, SheetItem)
    photos = [
        [
            *(photo["path"], photo["sha256"], photo["output"], photo.get("hints")),
            *([photo["sidecar"]["sha256"]] if "sidecar" in photo else []),
            *(["accepted"] if photo.get("accepted") else []),
            *([photo["palette"]] if "palette" in photo else []),
            *([photo["decided"]] if "decided" in photo else []),
            *(["approved", photo["approved"]] if "approved" in photo and not is_sheet else []),
        ]
        for photo in item.photos
    ]
    return [item.truth_digest if isinstance(item, SheetItem) else None, photos]
