"""Colorize: an archive's manifest → coloured derivatives and a contact sheet."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Container, Mapping, Sequence
from dataclasses import replace
from functools import cached_property, partial
from importlib.metadata import version
from itertools import chain
from pathlib import Path
from typing import Any

from storage.errors import NoInputError
from storage.records.decisions import read_decisions
from storage.records.item_record import ItemRecord, ItemRecords
from storage.records.ledger import read_json, record_file
from storage.records.names import MANIFEST_NAME, QUARANTINE_NAME
from storage.records.outputs import OutputNames
from storage.records.tables import RowTable, each_row, read_rows
from storage.sources.bags import write_bag
from storage.sources.no_photo import CLUTTER, HIDDEN
from storage.visible import escaped, visible
from tasks.archive.decided import Standing, said_of_photos
from tasks.archive.models import archive_models
from tasks.archive.ownership import place_of
from tasks.archive.photo_rows import PhotoRows
from tasks.archive.reuse import Coloured
from tasks.archive.sweep import OutputTree
from tasks.compute.slots import Slots
from tasks.config.model import Workflow
from tasks.control import task
from tasks.engine.execute import Published, Reuse, Run, Work, execute
from tasks.engine.kept import Output
from tasks.engine.stages import StageRef, Step, source_of
from tasks.engine.verification import read_success, write_success
from tasks.jobs.items import spread_evenly
from tasks.jobs.stage_items import SHEET_ITEM, TRUTH, ColorizeItem, SheetItem
from tasks.series import palettes_by_path

_NAMED = 100
"""Outputs that an event names at most."""
_BY_NAME = {HIDDEN, CLUTTER}


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

    def items(self, folder: Path) -> _Items:
        """All items; outputs whose names other photos take are out of the way."""
        if not len(RowTable(self._ingested / MANIFEST_NAME)):
            raise NoInputError(_nothing(self._step, self._ingested))
        config = self._run.workflow.colorize
        found = self._step.workspace.current("series", self._step.key).resolve()
        photos = PhotoRows(
            self._ingested,
            config,
            (read_json(folder / "stage.json") or {})["parts"],
            self._names(folder),
            palettes_by_path(found) if config.series else lambda path: None,
            said_of_photos(read_decisions(self._archive.output), self._place.number),
        )
        number = self._place.number

        def takers(stems: Container[str]) -> dict[str, tuple[int, str, str]]:
            return {
                output: (number, path, digest)
                for output, path, digest in photos.outputs()
                if output in stems
            }

        self._tree.keep_changed(folder, takers, self._step.hashes.hash)
        self._tree.set_aside(folder, takers)
        return _Items(self._step, self._run, folder, photos, number, self._tree.known)

    def reuse(self, folder: Path) -> Reuse | None:
        """See `Work.reuse`."""
        known = self._tree.known(folder)
        if not known:
            return None
        return Coloured(self._step.workspace, self._archive.photos_root, known).take_over

    def finish(self, folder: Path, records: Mapping[str, ItemRecord]) -> Published:
        """Settle what other outputs the tree holds, and make it a bag."""
        quarantined = (r.to_dict() for record in records.values() for r in record.quarantined)
        self._tree.journal(records.values(), folder, self._ingested, quarantined)
        tags = self._write_bag(records) if self._archive.bag else []
        if SHEET_ITEM in records and (escaped := records[SHEET_ITEM].facts.get("undrawn")):
            self._run.events.write("names_escaped", step=self._step.label, characters=escaped)
        done = sum(len(record.facts.get("outputs", ())) for record in records.values())
        return Published(outputs=tags, counts={"done": done})

    def settle(self, folder: Path) -> None:
        """As `finish`, of a step that is published as it is."""
        success = read_success(folder)
        assert success is not None, "only a published step is settled"
        records = ItemRecords(folder, success.items)
        quarantined = each_row(folder / QUARANTINE_NAME)
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

    def _names(self, folder: Path) -> Callable[[str], str]:
        """Gives the name of a photo's output by its path; a photo that has one keeps it."""
        number, manifest = self._place.number, RowTable(self._ingested / MANIFEST_NAME)
        is_utf_8 = self._archive.bag or bool(self._run.workflow.remotes)

        def tree_path(path: str) -> str:
            """The photo's path in the output tree; a bag's and a service's names are UTF-8."""
            inside = self._place.folder + path
            return escaped(inside) if is_utf_8 else inside

        outputs = [  # photo, name and variant of what is there
            (o.photo, o.stem, o.facts.variant, o.aside)
            for o in chain(self._tree.known(folder), self._tree.done(folder))
        ]
        looked_for = {photo[1] for photo, *_ in outputs}
        paths = {
            row["path"]
            for row in (manifest.each("path") if looked_for else ())
            if row["path"] in looked_for
        }
        known: dict[str, str] = {}
        others: set[str] = set()
        for photo, stem, variant, aside in outputs:
            is_here = photo[1] in paths
            if photo[0] == number and is_here and not (aside or variant):
                known[tree_path(photo[1])] = stem
            elif not (variant and is_here):
                others.add(stem)
        names = OutputNames(
            lambda: (tree_path(row["path"]) for row in manifest.each("path")),
            known,
            others - set(known.values()),
            self._run.workflow.colorize.variants,
        )
        return lambda path: names.of(tree_path(path))

    def _write_bag(self, records: Mapping[str, ItemRecord]) -> list[Path]:
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


class _Items(Sequence[ColorizeItem]):
    """The chunks of an archive's photos, and its sheet; each is made when it is asked for."""

    def __init__(
        self,
        step: Step,
        run: Run,
        folder: Path,
        photos: PhotoRows,
        number: int,
        known: Callable[[Path], Sequence[Output]],
    ) -> None:
        """number: of the archive in its output folder. known: gives the outputs that lie there already."""
        assert run.workflow.archive is not None
        archive, config = run.workflow.archive, run.workflow.colorize
        self._step, self._photos = step, photos
        self._chunks = list(photos.chunks(config.chunk))
        self._sheet = spread_evenly(len(photos), config.sheet)
        self._truth = str(archive.truth) if archive.truth else None
        source = source_of(step.workspace, step.key)
        self._common = item_parts(step, run.workflow, run.cluster.slots, folder, source)
        self._common["archive"] = number
        self._outputs = partial(known, folder) if step.stage not in run.force else tuple

    def __len__(self) -> int:
        return len(self._chunks) + bool(self._sheet)

    def __getitem__(self, number: Any) -> Any:
        if number < len(self._chunks):
            chunk = self._chunks[number]
            photos = self._photos.rows(chunk.start, chunk.stop)
            return ColorizeItem(name=chunk.name, photos=tuple(photos), **self._common)
        if number >= len(self):
            raise IndexError(number)
        rows = (row for place in self._sheet for row in self._photos.rows(place, place + 1))
        chosen = [row | self._as_it_stays(row) for row in rows]
        digest = self._step.inputs.get(TRUTH, "")
        return SheetItem(
            name=SHEET_ITEM,
            photos=tuple(chosen),
            truth=self._truth,
            truth_digest=digest,
            **self._common,
        )

    def _as_it_stays(self, row: Mapping[str, Any]) -> dict[str, Any]:
        """Of an approved photo the file that no run colours again, where its settings are not those of now."""
        found = self._standing.of(self._common["archive"], row) if "approved" in row else None
        if found is None or found.facts.key == row["key"]:
            return {}
        path = found.place(self._step.workspace) / found.name
        return {"stays": {"path": str(path), "sha256": found.content}}

    @cached_property
    def _standing(self) -> Standing:
        return Standing(self._outputs())


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
            *(["stays", photo["stays"]["sha256"]] if "stays" in photo else []),
        ]
        for photo in item.photos
    ]
    return [item.truth_digest if isinstance(item, SheetItem) else None, photos]
