"""Outputs that no current record names and that nobody asked to delete: how they stay recorded.

An output outlives the step that made it: its original is gone, left out by a filter, or another
archive's (`--add`). Its record, its small pictures and what made it go into outputs/ of the state
folder, so that `verify`, `report` and the next run know it (docs/decisions/023).
"""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

from storage.records import ledger
from storage.records.fingerprint import hash_value
from storage.records.item_record import ItemRecord, OutputFacts
from storage.records.ledger import FileRecord
from storage.records.names import PACKS_FOLDER
from storage.records.outputs import bare_stem, files_of, stem_of
from storage.records.workspace import Workspace

STORE_NAME = "outputs"
"""Folder of the state folder."""
GONE, REPLACED, LEFT_OUT, UNASKED, UNUSABLE, ELSEWHERE = WHY = (
    "no original",
    "another original now",
    "left out",
    "a variant that this run was not asked for",
    "original of no use now",
    "of another archive",
)
ORPHANS = (GONE, REPLACED, LEFT_OUT, UNASKED)
"""What `--delete` removes. The other two stay: the output may be all that is left of a photo, or its
original lies in an archive that this run did not look at."""
_VERSION = 1


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Output:
    """A coloured photo: what its record says of it, and where its files lie."""

    facts: OutputFacts
    files: tuple[FileRecord, ...]
    """Records of the photo, its sidecar and its map, relative to `root`."""
    root: str
    """Of the output tree, relative to the workspace."""
    step: str
    """Folder of the step that made it, relative to the workspace: its stage.json says how."""
    pack: str = ""
    """File of small pictures, relative to the workspace; empty for none."""
    picture: int = 0
    """Its place in that file."""
    aside: bool = False
    """Whether it was renamed for a newer photo that took its name."""
    leaving: bool = False
    """Whether it is being deleted: its files may be gone already."""
    why: str = ""
    """Why no current record names it: one of `WHY`."""
    group: str = ""
    """The file of the store that holds it; empty for one that is not kept yet."""

    @property
    def photo(self) -> tuple[int, str, str]:
        """Archive, path and SHA-256 of its original."""
        return self.facts.archive, self.facts.photo, self.facts.sha256

    @property
    def name(self) -> str:
        """Of the colour photo, relative to its root."""
        return self.facts.output

    @property
    def stem(self) -> str:
        """Its name without the last suffix."""
        return stem_of(self.name)

    @property
    def content(self) -> str:
        """SHA-256 of the colour photo."""
        return next(file.sha256 for file in self.files if file.path == self.name)

    def place(self, workspace: Workspace) -> Path:
        """The folder that its files lie in."""
        return Path(os.path.normpath(workspace.root.resolve() / self.root))

    @classmethod
    def from_dict(cls, value: Mapping[str, Any], path: Path) -> Output:
        """From JSON of the store's file `path`. Raises DamagedError."""
        try:
            facts = OutputFacts.from_dict(value["facts"], path)
            files = tuple(FileRecord.from_dict(file) for file in value["files"])
            return cls(**{**value, "facts": facts, "files": files, "group": path.stem})
        except (KeyError, TypeError) as error:
            raise ledger.misshapen(path, error) from error

    def to_dict(self) -> dict[str, Any]:
        """As JSON, for a file of the store."""
        entry = {field.name: getattr(self, field.name) for field in fields(self)}
        del entry["group"]
        files = [file.to_dict() for file in self.files]
        return entry | {"facts": self.facts.to_dict(), "files": files}


def renamed(output: Output, stem: str, **changes: Any) -> Output:
    """An output whose files bear another name. changes: of its fields besides."""
    before, after = bare_stem(output.stem), bare_stem(stem)
    names = {file.path: after + file.path.removeprefix(before) for file in output.files}
    variants = [{**one, "output": names[one["output"]]} for one in output.facts.variants]
    return replace(
        output,
        facts=replace(output.facts, output=names[output.name], variants=variants),
        files=tuple(replace(file, path=names[file.path]) for file in output.files),
        group="",
        **changes,
    )


def variants_apart(output: Output) -> Iterator[Output]:
    """The variants of an output, each as one of its own that stands for no photo's colours."""
    by_name = {file.path: file for file in output.files}
    for number, variant in enumerate(output.facts.variants, start=1):
        if variant["output"] in by_name:
            facts = replace(
                output.facts, output=variant["output"], key="", variant=number, variants=()
            )
            files = tuple(by_name[name] for name in files_of(facts.output, by_name))
            yield replace(output, facts=facts, files=files, pack="", picture=0, why=UNASKED)


def outputs_of(
    record: ItemRecord, workspace: Workspace, folder: Path, root: Path
) -> Iterator[Output]:
    """The outputs of an item's record. folder: of its step. root: of the output tree."""
    by_name = {file.path: file for file in record.files}
    pack, step = record.pack, _relative(folder, workspace)
    place_of_tree = _relative(root, workspace)
    for place, facts in enumerate(record.outputs):
        if facts.output in by_name:
            yield Output(
                facts=facts,
                files=tuple(
                    by_name[name] for name in files_of(facts.output, by_name, facts.variant_names)
                ),
                root=place_of_tree,
                step=step,
                pack=f"{step}/{pack}" if pack else "",
                picture=place,
            )


def read_kept(workspace: Workspace) -> list[Output]:
    """All that is kept, that which is being deleted included. Raises DamagedError."""
    found = []
    for path in sorted((workspace.root / STORE_NAME).glob("*.json")):
        value = ledger.read_json(path)
        if value is not None:
            ledger.check_version(value, _VERSION, path)
            found += [Output.from_dict(entry, path) for entry in value["outputs"]]
    return found


def recorded_kept(workspace: Workspace) -> list[Output]:
    """What is kept and stays: for those who look."""
    return [output for output in read_kept(workspace) if not output.leaving]


def keep(workspace: Workspace, outputs: Iterable[Output]) -> None:
    """Make these, and no others, what is kept. A kill in between leaves some groups as they were."""
    store = workspace.root / STORE_NAME
    groups: dict[str, list[Output]] = defaultdict(list)
    for output in outputs:
        groups[output.group or _group_of(output)].append(output)
    before = {path.stem: path for path in store.glob("*.json")}
    for name, members in sorted(groups.items()):
        entries = [_with_own_pack(workspace, output).to_dict() for output in members]
        value = {"version": _VERSION, "outputs": sorted(entries, key=_by_name)}
        if name not in before or ledger.read_json(before[name]) != value:
            ledger.write_json(store / f"{name}.json", value)
    ledger.remove_unnamed(store, "*.json", {f"{name}.json" for name in groups})


def drop_unused_packs(workspace: Workspace) -> None:
    """Delete files of small pictures that nothing kept needs."""
    used = {Path(output.pack).name for output in read_kept(workspace) if output.pack}
    ledger.remove_unnamed(workspace.root / STORE_NAME / PACKS_FOLDER, "*.js", used)


def damaged_kept(workspace: Workspace) -> list[tuple[str, str]]:
    """Name of each kept output that is not as it was recorded, and the problem."""
    return [
        (output.name, problem)
        for output in recorded_kept(workspace)
        for file in output.files
        if (problem := ledger.damage(output.place(workspace), file))
    ]


def store_files(workspace: Workspace) -> list[Path]:
    """The store's own files."""
    found = (workspace.root / STORE_NAME).rglob("*")
    return [path for path in found if path.is_file() and not path.name.startswith(".")]


def _with_own_pack(workspace: Workspace, output: Output) -> Output:
    """Its small pictures in the store, as a step's folder may be cleaned up or not be fetched."""
    source = workspace.root / output.pack
    own = f"{STORE_NAME}/{PACKS_FOLDER}/{source.name}"
    if not output.pack or output.pack == own:
        return output
    if not source.is_file():
        return replace(output, pack="")
    if not (workspace.root / own).exists():
        ledger.link_or_copy(source, workspace.root / own, over=True)
    return replace(output, pack=own)


def _by_name(entry: Mapping[str, Any]) -> str:
    return str(entry["facts"]["output"])


def _group_of(output: Output) -> str:
    """Outputs of one chunk stay together."""
    return hash_value([output.step, output.pack or output.name, output.root])[:16]


def _relative(path: Path, workspace: Workspace) -> str:
    return Path(os.path.relpath(path.resolve(), workspace.root.resolve())).as_posix()
