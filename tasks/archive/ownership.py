"""Whose an output folder is: one workspace's, and in it one archive's, or several that were added.

OUT/.chromaflow/owner.json says it. A path is only where an archive lies: the same photos mounted
elsewhere are the same archive.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from storage.errors import DamagedError, UsageError
from storage.records.fingerprint import hash_bytes
from storage.records.ledger import read_json, write_json
from storage.records.names import OWNER_NAME, STATE_NAME
from storage.records.outputs import output_names, plain_name
from storage.records.workspace import Workspace
from storage.sources.datasets import arrange
from storage.sources.entries import SourceFile
from storage.sources.locations import LIST_PREFIX
from storage.sources.nesting import is_inside, refuse_nesting
from storage.sources.source import Source, open_source, rooted, source_root
from tasks.config.model import ArchiveConfig, Workflow
from tasks.engine.kept import Output, outputs_of, recorded_kept
from tasks.engine.published import read_step
from tasks.engine.verification import root_of

_VERSION = 1
_ARCHIVE = "archive"
_SAMPLE = 32
"""Photos that are read to know an archive again."""
_SAME_SHARE = 0.9
"""Of what was coloured, so much must be there for an archive to be the same one."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Place:
    """Where an archive's colour goes in an output folder."""

    number: int = 0
    folder: str = ""
    """Ends in a slash; empty for the folder itself."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Owner:
    """What owner.json says."""

    workspace: str
    """Relative to the output folder."""
    archives: tuple[dict[str, str], ...] = ()
    """Of each archive where it lies, and its folder below the output's."""

    def to_dict(self) -> dict[str, Any]:
        """As JSON."""
        archives = list(self.archives)
        return {"version": _VERSION, "workspace": self.workspace, "archives": archives}


@dataclass(frozen=True, kw_only=True, slots=True)
class Claim:
    """A workflow that may write to its output folder, and what the folder is to say of it then."""

    workflow: Workflow
    owner: Owner | None = None
    number: int = 0
    """Of the archive among those of the output folder."""
    notices: tuple[str, ...] = field(default=())
    """For people."""

    def write(self) -> None:
        """Keep it in the output folder. Raises OutputError."""
        archive = self.workflow.archive
        if self.owner is not None and archive is not None:
            path = _owner_file(archive.output)
            if read_json(path) != self.owner.to_dict():
                path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
                write_json(path, self.owner.to_dict())


def read_owner(output: Path) -> Owner | None:
    """Whose an output folder is; None where nobody's. Raises DamagedError."""
    path = _owner_file(output)
    if not path.exists():
        return None
    value = read_json(path)
    if value is None or value.get("version") != _VERSION:
        raise DamagedError(
            f"Expected version {_VERSION} of {path}, got another or none. Update Chromaflow; or remove "
            "the file, and the next run owns the folder."
        )
    return Owner(workspace=value["workspace"], archives=tuple(value["archives"]))


def place_of(workflow: Workflow) -> Place:
    """Where the workflow's archive has its place in the output folder; the first where it has none."""
    archive = workflow.archive
    owner = read_owner(archive.output) if archive is not None else None
    if archive is None or owner is None:
        return Place()
    number = _find(owner, _common_root(archive.path))
    return Place() if number is None else Place(number=number, folder=_folder_of(owner, number))


def claim(workflow: Workflow, *, add: bool = False) -> Claim:
    """The right to write to the workflow's output folder, whose paths start where they did before.

    add: whether an archive beside the one that is there is meant. A pattern, a list or a folder below
    the archive's own chooses the work of one run. Raises UsageError naming the owner.
    """
    archive = workflow.archive
    if archive is None:
        return Claim(workflow=workflow)
    refuse_nesting(archive.path, archive.output, *workflow.remotes)
    workspace = Workspace(workflow.workspace)
    mine = _relative(workspace.root, archive.output)
    owner = read_owner(archive.output) or _unwritten_owner(workspace, archive, mine)
    if owner.workspace != mine:
        raise _is_anothers(archive.output, owner)
    root = source_root(archive.path)
    number = _find(owner, _common_root(archive.path))
    if number is not None:
        path = rooted(archive.path, owner.archives[number]["where"])
        return Claim(workflow=_with_path(workflow, archive, path), owner=owner, number=number)
    for number, known in enumerate(owner.archives):
        if not add and _is_same_archive(workflow, archive, number):
            said = f"{root} holds the photos of {known['where']}: the same archive, elsewhere now."
            moved = _with_archive(owner, number, known | {"where": root})
            return Claim(workflow=workflow, owner=moved, number=number, notices=(said,))
    if owner.archives and not add:
        raise _has_another(workflow, owner, root)
    folder = _free_folder(workflow, archive, owner, root) if owner.archives else ""
    return Claim(
        workflow=workflow,
        owner=replace(owner, archives=(*owner.archives, {"where": root, "folder": folder})),
        number=len(owner.archives),
    )


def claimed(workflow: Workflow, *, add: bool = False) -> Workflow:
    """The workflow as `claim` gives it, for what is only looked at before a run."""
    return claim(workflow, add=add).workflow


def archive_source(workflow: Workflow, archive: ArchiveConfig) -> Source:
    """The photos of the workflow's archive, by links and names as a run takes them."""
    return open_source(
        archive.path,
        follow=archive.follow,
        avoid=workflow.written_folders,
        include=archive.include,
        encoding=archive.encoding,
    )


def refuse_others(output: Path) -> None:
    """Raise UsageError where an output folder is a config's, so that it has no state of its own."""
    owner = read_owner(output)
    if owner is not None and owner.workspace != STATE_NAME:
        raise _is_anothers(output, owner)


def _unwritten_owner(workspace: Workspace, archive: ArchiveConfig, mine: str) -> Owner:
    """Of a folder that nobody owns yet, or that was made before folders were owned."""
    state = Workspace(archive.output / STATE_NAME)
    if mine != STATE_NAME and state.stages.is_dir():
        workspace, mine = state, STATE_NAME
    ingested = read_step(workspace.current("ingest", _ARCHIVE).resolve())
    coloured = read_step(workspace.current("colorize", _ARCHIVE).resolve())
    if ingested is None or coloured is None:
        return Owner(workspace=mine)
    root = root_of(workspace, coloured.folder, coloured.success)
    if root not in (archive.photos_root.resolve(), archive.output.resolve()):
        return Owner(workspace=mine)
    where = source_root(ingested.source)
    return Owner(workspace=mine, archives=({"where": where, "folder": ""},))


def _find(owner: Owner, root: str) -> int | None:
    """The number of the archive that lies at a root, or around it."""
    known = [archive["where"] for archive in owner.archives]
    if root in known:
        return known.index(root)
    return next((n for n, where in enumerate(known) if _is_within(root, where)), None)


def _common_root(location: str) -> str:
    """Of a list the folder that all listed files lie in, which may be below its root."""
    if not location.startswith(LIST_PREFIX):
        return source_root(location)
    return os.path.commonpath([str(folder) for folder in open_source(location).folders()])


def _is_within(root: str, where: str) -> bool:
    """Whether a root is an archive's, or a folder of it; an archive file is only itself."""
    outer = Path(where)
    if "://" in where or "://" in root or not outer.exists():
        return root == where
    if outer.is_file() or Path(root).is_file():
        return Path(root).exists() and outer.samefile(root)
    return is_inside(Path(root), outer)


def _folder_of(owner: Owner, number: int) -> str:
    folder = owner.archives[number]["folder"]
    return f"{folder}/" if folder else ""


def _with_archive(owner: Owner, number: int, value: dict[str, str]) -> Owner:
    archives = list(owner.archives)
    archives[number] = value
    return replace(owner, archives=tuple(archives))


def _with_path(workflow: Workflow, archive: ArchiveConfig, path: str) -> Workflow:
    return replace(workflow, archive=replace(archive, path=path))


def _is_same_archive(workflow: Workflow, archive: ArchiveConfig, number: int) -> bool:
    """Whether a source holds what was coloured of an archive: the same paths, sizes and bytes."""
    coloured = {
        output.facts.photo: output.facts
        for output in known_outputs(Workspace(workflow.workspace))
        if output.photo[0] == number and not output.aside
    }
    if not coloured:
        return False
    source = archive_source(workflow, archive)
    files = {entry.file.path: entry.file for entry in arrange(source, "plain").entries}
    alike = [p for p, f in coloured.items() if p in files and files[p].bytes == f.bytes]
    if len(alike) < _SAME_SHARE * len(coloured):
        return False
    step = max(1, len(alike) // _SAMPLE)
    sample = sorted(alike)[::step]
    same = sum(_hash(source, files[path]) == coloured[path].sha256 for path in sample)
    return bool(same >= _SAME_SHARE * len(sample))


def _hash(source: Source, file: SourceFile) -> str:
    try:
        return hash_bytes(source.read(file.path, file.offset, file.bytes))
    except Exception:  # noqa: BLE001 - a photo that cannot be read says nothing; ingest names it
        return ""


def known_outputs(workspace: Workspace) -> Iterable[Output]:
    """What the archive's current step made, and what is kept besides."""
    own: set[tuple[str, str]] = set()
    step = read_step(workspace.current("colorize", _ARCHIVE).resolve())
    if step is not None:
        root = root_of(workspace, step.folder, step.success)
        for _, record in step.records():
            for output in outputs_of(record, workspace, step.folder, root):
                own.add((output.root, output.name))
                yield output
    yield from (o for o in recorded_kept(workspace) if (o.root, o.name) not in own)


def _free_folder(workflow: Workflow, archive: ArchiveConfig, owner: Owner, root: str) -> str:
    """Empty where no name collides; else a folder named as the archive that is nobody's yet."""
    source, workspace = archive_source(workflow, archive), Workspace(workflow.workspace)
    listed = arrange(source, "plain", archive.include, archive.exclude)
    names = {plain_name(n) for n in output_names(e.file.path for e in listed.entries).values()}
    taken = {plain_name(output.stem) for output in known_outputs(workspace)}
    if not names & taken:
        return ""
    name = re.sub(r"[^\w.-]+", "-", root.rstrip("/").rpartition("/")[2]).strip(".-") or "added"
    used = {known["folder"] for known in owner.archives}
    tops = {stem.split("/")[0] for stem in taken}
    numbered = (name if k == 1 else f"{name}-{k}" for k in range(1, len(used | tops) + 3))
    return next(f for f in numbered if f not in used and plain_name(f) not in tops)


def _is_anothers(output: Path, owner: Owner) -> UsageError:
    workspace = Path(os.path.normpath(output / owner.workspace))
    if owner.workspace == STATE_NAME:
        whose = f"`chromaflow colorize` of {owner.archives[0]['where']}" if owner.archives else "it"
    else:
        whose = f"the workspace {workspace}"
    return UsageError(
        f"Expected an output folder of our own, but {output} belongs to {whose}. Name another output"
        f"{'' if workspace.exists() else f'; or, as that workspace is gone, remove {_owner_file(output)}'}."
    )


def _has_another(workflow: Workflow, owner: Owner, root: str) -> UsageError:
    assert workflow.archive is not None
    first = owner.archives[0]["where"]
    return UsageError(
        f"Expected {first}, whose colour {workflow.place_of(workflow.archive.output)} holds, got "
        f"{root}. Name another output, or add --add to keep both side by side."
    )


def _owner_file(output: Path) -> Path:
    return output / STATE_NAME / OWNER_NAME


def _relative(workspace: Path, output: Path) -> str:
    return Path(os.path.relpath(workspace.resolve(), output.resolve())).as_posix()
