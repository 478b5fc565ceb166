"""What becomes of outputs that a run does not make again: kept, replaced, or deleted on request.

Every output is named by a current record or by the store of `tasks.engine.kept`, at any moment. So what a
run is going to remove is noted there before the step is published, and removed after it.
"""

from __future__ import annotations

import os
import re
from collections.abc import (
    Callable,
    Collection,
    Container,
    Iterable,
    Iterator,
    Mapping,
    Sequence,
)
from dataclasses import dataclass, field, replace
from itertools import chain
from pathlib import Path
from typing import Any

from storage.errors import is_policy
from storage.records import ledger
from storage.records.fingerprint import hash_file
from storage.records.item_record import ItemRecord, each_item
from storage.records.ledger import FileRecord
from storage.records.names import MANIFEST_NAME, QUARANTINE_NAME
from storage.records.outputs import aside_name, bare_stem
from storage.records.tables import RowTable, each_row
from storage.records.workspace import Workspace
from tasks.engine.kept import (
    ELSEWHERE,
    GONE,
    LEFT_OUT,
    ORPHANS,
    REPLACED,
    UNASKED,
    UNUSABLE,
    Output,
    drop_unused_packs,
    keep,
    outputs_of,
    read_kept,
    renamed,
    variants_apart,
)
from tasks.engine.superseded import records_aside
from tasks.engine.verification import read_success, root_of

_MARK_LENGTH = 8
_ASIDE_NAME = re.compile(rf"~[0-9a-f]{{{_MARK_LENGTH}}}")
_ASIDE = "set-aside"
"""Folder of a bag, beside its payload, for what is in no manifest."""
Photo = tuple[int, str, str]
"""Archive, path and SHA-256 of an original."""
Takers = Callable[[Container[str]], Mapping[str, Photo]]
"""Of some names without suffix, those that the run is going to write, and for which photos."""


@dataclass
class Swept:
    """What a run kept and deleted of an output tree, by name."""

    kept: list[Output] = field(default_factory=list)
    deleted: list[str] = field(default_factory=list)
    theirs: list[str] = field(default_factory=list)
    """That were to be deleted, but somebody wrote to them."""
    changed: list[str] = field(default_factory=list)
    """Files that somebody wrote to and that were to be made again, by the names that they bear now."""

    @property
    def orphans(self) -> list[str]:
        """Names of what `--delete` would remove."""
        return [output.name for output in self.kept if output.why in ORPHANS]

    @property
    def unusable(self) -> list[str]:
        """Names of those whose original is there, but of no use now."""
        return [output.name for output in self.kept if output.why == UNUSABLE]


class OutputTree:
    """The outputs of one archive's step, those of earlier runs among them."""

    def __init__(
        self,
        workspace: Workspace,
        *,
        root: Path,
        output: Path,
        earlier: Path,
        archive: int = 0,
        delete: bool = False,
    ) -> None:
        """root: of the tree. output: the folder that it belongs to, root itself or its parent (a bag).
        earlier: the step's folder that was current before. archive: its number in the output folder.
        delete: whether outputs without an original are removed."""
        self._workspace, self._root, self._output = workspace, root.resolve(), output.resolve()
        self._earlier, self._archive, self._delete = earlier.resolve(), archive, delete
        self._own: Callable[[], Iterator[Output]] = lambda: iter(())
        """Gives the outputs that the step's records name."""
        self._files: dict[str, str] = {}
        """Path → SHA-256 of those of their files that something else names as well."""
        self._changed: list[tuple[str, str, str]] = []
        """Path, stem and SHA-256 of what `keep_changed` gave another name."""
        self._leaving: list[Output] = []
        self._elsewhere: list[Output] = []
        self.swept = Swept()

    def known(self, folder: Path) -> list[Output]:
        """All outputs that anything but the done records of a step's folder names, and that lie there.

        A later one of the same file counts.
        """
        kept = read_kept(self._workspace)
        recorded = [*self._of_records(folder), *kept]
        found = {(output.root, output.name, output.content): output for output in recorded}
        return [o for o in found.values() if self._is_here(o) and any(self._present(o))]

    def set_aside(self, folder: Path, takers: Takers) -> None:
        """Rename outputs whose names other photos are going to take.

        The new name is recorded before anything is written over the old one.
        """
        known = self.known(folder)
        names = takers({output.stem for output in known}) if known else {}
        taken = [
            output
            for output in known
            if not output.aside
            and output.place(self._workspace) == self._root
            and names.get(output.stem, output.photo) != output.photo
            and self._damage(output) is None
        ]
        if not taken:
            return
        kept = read_kept(self._workspace)
        moved = {self._aside(output): output for output in taken}
        keep(self._workspace, [*kept, *(replace(new, leaving=True) for new in moved)])
        for new, old in moved.items():
            place = old.place(self._workspace)
            for source, target in zip(old.files, new.files, strict=True):
                ledger.link_or_copy(place / source.path, place / target.path, over=True)
        keep(self._workspace, [*kept, *moved])

    def keep_changed(self, folder: Path, takers: Takers, hash_of: Callable[[Path], str]) -> None:
        """Give files that somebody wrote to another name, as the run is going to write theirs anew.

        A retouched photo and one that the disk has damaged look the same from here: neither is lost.
        Only what the run is going to write counts. hash_of: how a file's SHA-256 is found.
        """
        other: dict[
            str, tuple[str, str]
        ] = {}  # than a record says; of another one it may be the content
        for output in self._recorded(folder):
            if output.place(self._workspace) == self._root:
                for file in output.files:
                    source = self._root / file.path
                    if source.is_file() and (found := hash_of(source)) != file.sha256:
                        other[file.path] = output.stem, found
        if not other:
            return
        for output in self._recorded(folder):
            if output.place(self._workspace) == self._root:
                for file in output.files:
                    if other.get(file.path, ("", ""))[1] == file.sha256:
                        del other[file.path]
        stems = takers({stem for stem, _ in other.values()})
        for path, (stem, found) in sorted(other.items()):
            if stem in stems:
                ledger.link_or_copy(self._root / path, self._beside(path, stem, found), over=True)
                self._changed.append((path, stem, found))

    def journal(
        self,
        records: Collection[ItemRecord],
        folder: Path,
        ingested: Path,
        quarantined: Iterable[Mapping[str, Any]],
    ) -> None:
        """Note what is kept and what is going to be removed, before the step is published.

        records: of its items. ingested: folder of the ingest step. quarantined: rows of the step; like
        the records they are looked at only where the tree holds something else.
        """
        self._own = lambda: (
            o for r in records for o in outputs_of(r, self._workspace, folder, self._root)
        )
        elsewhere = [o for o in read_kept(self._workspace) if not self._is_here(o)]
        self.swept.kept, self._leaving, self._elsewhere = [], [], elsewhere
        if known := self.known(folder):
            self._judge(known, ingested, quarantined)
        keep(self._workspace, [*self.swept.kept, *self._leaving, *elsewhere])

    def _judge(
        self, known: Sequence[Output], ingested: Path, quarantined: Iterable[Mapping[str, Any]]
    ) -> None:
        """Say of each known output whether it is kept or leaves."""
        kept, leaving = self.swept.kept, self._leaving
        photos = {output.photo for output in known}
        paths = {file.path for output in known for file in output.files}
        coloured: set[Photo] = set()
        for output in self._own():
            coloured |= {output.photo} & photos
            self._files |= {f.path: f.sha256 for f in output.files if f.path in paths}
        judge = _Judge.of(ingested, quarantined, self._archive, photos, coloured)
        aside = {(o.photo, o.content) for o in known if o.aside}
        for output in self._with_variants_apart(known, judge):
            if output.facts.variant and output.photo in judge.coloured:
                gone = output.leaving and not all(self._present(output))
                (leaving if self._delete or gone else kept).append(
                    replace(output, why=UNASKED, leaving=self._delete or gone)
                )
                continue
            if self._is_own(output):
                continue
            is_copy = not output.aside and (output.photo, output.content) in aside
            if output.photo in judge.coloured or is_copy or self._is_lost(output):
                leaving.append(replace(output, leaving=True))
                continue
            output = replace(output, why=judge.why(output), leaving=False)
            is_orphan = output.why in ORPHANS and self._delete
            (leaving if is_orphan else kept).append(replace(output, leaving=is_orphan))

    def _with_variants_apart(self, known: Iterable[Output], judge: _Judge) -> Iterator[Output]:
        """What is known, variants that the run did not make again by themselves: they are nobody's to
        delete unasked."""
        made = {self._root / path for path in self._files}
        named: set[Path] = set()
        for output in sorted(known, key=lambda output: not output.facts.variant):
            place = output.place(self._workspace)
            if output.facts.variant:
                apart, rest = [output], None
            else:
                apart = [*variants_apart(output)] if output.photo in judge.coloured else []
                left = {file.path for variant in apart for file in variant.files}
                files = tuple(file for file in output.files if file.path not in left)
                rest = replace(output, files=files) if apart else output
            for variant in apart:
                path = place / variant.name
                if path not in made and path not in named and path.is_file():
                    named.add(path)
                    yield variant
            if rest is not None:
                yield rest

    def sweep(self) -> Swept:
        """Remove what was noted, once the step is published."""
        for output in self._leaving:
            self._remove(output)
        for folder in {(o.place(self._workspace) / o.name).parent for o in self._leaving}:
            if folder.is_dir():
                ledger.sync_folder(folder)
        keep(self._workspace, [*self.swept.kept, *self._elsewhere])
        drop_unused_packs(self._workspace)
        self._settle_changed()
        return self.swept

    def _settle_changed(self) -> None:
        """What a killed run had written and not yet recorded looked changed: the same is made again."""
        if beside := self._files_beside():
            beside -= {o.place(self._workspace) / f.path for o in self.swept.kept for f in o.files}
            for output in self._own():
                for file in output.files:
                    twin = self._beside(file.path, output.stem, file.sha256)
                    if twin in beside and hash_file(twin) == file.sha256:
                        twin.unlink()
        found = (self._beside(*changed) for changed in self._changed)
        self.swept.changed += [str(p.relative_to(self._output)) for p in found if p.exists()]

    def _files_beside(self) -> set[Path]:
        """What may be files that `keep_changed` gave another name, in this run or an earlier one."""
        place = self._root if self._root == self._output else self._output / _ASIDE
        return {
            Path(folder, name)
            for folder, _, names in os.walk(place)
            for name in names
            if _ASIDE_NAME.search(name)
        }

    def _beside(self, path: str, stem: str, content: str) -> Path:
        """Where an output's file goes that somebody changed; in a bag not among its payload."""
        place = self._root if self._root == self._output else self._output / _ASIDE
        aside = bare_stem(aside_name(stem, content[:_MARK_LENGTH]))
        return place / (aside + path.removeprefix(bare_stem(stem)))

    def _remove(self, output: Output) -> None:
        """Delete an output's files, the photo last. What was changed since is somebody's, and stays."""
        place, is_orphan = output.place(self._workspace), output.why in ORPHANS
        photo = next(file for file in output.files if file.path == output.name)
        if (place / output.name).exists() and ledger.damage(place, photo) is not None:
            if is_orphan:
                self.swept.theirs.append(output.name)
            return
        for file in sorted(output.files, key=lambda file: file is photo):
            if place != self._root or file.path not in self._files:
                ledger.remove_recorded(place, file)
        if is_orphan:
            self.swept.deleted.append(output.name)

    def done(self, folder: Path) -> Iterator[Output]:
        """What the done records of a step's folder name."""
        for record in each_item(folder / "done"):
            yield from outputs_of(record, self._workspace, folder, self._root)

    @property
    def is_mixed(self) -> bool:
        """Whether the tree holds, or held, more than the step's own outputs."""
        return bool(self.swept.kept or self._leaving)

    def payload(self) -> list[FileRecord]:
        """Records of the kept outputs' files below the root, for a bag's manifest."""
        mine = [o for o in self.swept.kept if o.place(self._workspace) == self._root]
        return [file for output in mine for file in output.files]

    def _recorded(self, folder: Path) -> Iterator[Output]:
        """All outputs that anything names, as they were when they were written."""
        others = [other for other, _ in self._other_folders(folder.resolve())]
        for step in (folder, *others):
            root = self._root if step == folder else self._root_of(step)
            for record in chain(each_item(step / "done"), records_aside(step)):
                yield from outputs_of(record, self._workspace, step, root)
        yield from read_kept(self._workspace)

    def _of_records(self, folder: Path) -> Iterator[Output]:
        """Of the step that was current, of those that were never finished, of items made again."""
        for other, is_current in self._other_folders(folder.resolve()):
            root = self._root_of(other)
            for record in chain(each_item(other / "done"), records_aside(other)):
                for output in outputs_of(record, self._workspace, other, root):
                    if is_current or self._damage(output) is None:
                        yield output
        for record in records_aside(folder):
            for output in outputs_of(record, self._workspace, folder, self._root):
                if self._damage(output) is None:
                    yield output

    def _other_folders(self, folder: Path) -> Iterator[tuple[Path, bool]]:
        """Folders of the same step that say something of the tree, and whether one is the current."""
        has_current = self._earlier.is_dir()
        for other in sorted(folder.parent.iterdir() if folder.parent.is_dir() else ()):
            if other == folder or not other.is_dir() or not self._writes_here(other):
                continue
            if other == self._earlier:
                yield other, True
            elif not has_current or read_success(other) is None:
                yield other, False

    def _writes_here(self, folder: Path) -> bool:
        return self._root_of(folder) in (self._output, self._output / "data")

    def _root_of(self, folder: Path) -> Path:
        """Where a folder's items wrote: as it was published, or as its settings say."""
        success = read_success(folder)
        if success is not None:
            return root_of(self._workspace, folder, success)
        parts = (ledger.read_json(folder / "stage.json") or {}).get("parts", {})
        is_bag = parts.get("config", {}).get("bag", False)
        return self._output / "data" if is_bag else self._output

    def _is_here(self, output: Output) -> bool:
        return output.place(self._workspace) in (self._output, self._output / "data")

    def _is_own(self, output: Output) -> bool:
        """Whether the step's own records name it as it is."""
        is_same_place = output.place(self._workspace) == self._root
        return is_same_place and self._files.get(output.name) == output.content

    def _present(self, output: Output) -> list[bool]:
        """Of each of its files, whether it is there."""
        place = output.place(self._workspace)
        return [(place / file.path).is_file() for file in output.files]

    def _is_lost(self, output: Output) -> bool:
        """Whether there is nothing to keep: no photo, or a run that died had begun to delete it."""
        has_photo = (output.place(self._workspace) / output.name).is_file()
        return not has_photo or (output.leaving and not all(self._present(output)))

    def _damage(self, output: Output) -> str | None:
        place = output.place(self._workspace)
        found = (ledger.damage(place, file) for file in output.files)
        return next((problem for problem in found if problem), None)

    def _aside(self, output: Output) -> Output:
        """An output under a name of its own."""
        stem = aside_name(output.stem, output.content[:_MARK_LENGTH])
        return renamed(output, stem, aside=True, why=REPLACED)


@dataclass(frozen=True, slots=True)
class _Judge:
    """Says why an output has no current record."""

    archive: int
    present: dict[str, str]
    """Path of each usable original → SHA-256."""
    failed: frozenset[str]
    skipped: frozenset[str]
    coloured: frozenset[Photo]

    @classmethod
    def of(
        cls,
        ingested: Path,
        quarantined: Iterable[Mapping[str, Any]],
        archive: int,
        photos: Iterable[Photo],
        coloured: Iterable[Photo],
    ) -> _Judge:
        """photos: originals that are asked about. coloured: those of them that the step coloured."""
        asked = {path for _, path, _ in photos}
        rows = [*each_row(ingested / QUARANTINE_NAME), *quarantined]
        manifest = RowTable(ingested / MANIFEST_NAME).each("path", "sha256")
        return cls(
            archive=archive,
            present={row["path"]: row["sha256"] for row in manifest if row["path"] in asked},
            failed=frozenset(row["path"] for row in rows if not is_policy(row["code"])),
            skipped=frozenset(row["path"] for row in rows if is_policy(row["code"])),
            coloured=frozenset(coloured),
        )

    def why(self, output: Output) -> str:
        archive, path, sha256 = output.photo
        if archive != self.archive:
            return ELSEWHERE
        parents = [path, *(str(parent) for parent in Path(path).parents)]
        if any(one in self.failed for one in parents):  # the photo, or the archive that holds it
            return UNUSABLE
        if path in self.skipped:
            return LEFT_OUT
        if path in self.present:
            return REPLACED if self.present[path] != sha256 else UNUSABLE
        return GONE
