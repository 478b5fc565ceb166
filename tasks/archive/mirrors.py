"""A workspace or an output tree behind a URL: worked on in a local copy, published step by step.

The engine needs what object stores lack (rename, locks, links, hard links), so it works on a copy
below the cache and knows nothing of URLs. docs/decisions/018 weighs this.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path

from storage.errors import LockedError
from storage.reading import RemoteError
from storage.records.decisions import decisions_path
from storage.records.item_record import each_item
from storage.records.names import OWNER_NAME, STATE_NAME
from storage.records.workspace import Workspace
from storage.remote.folder import working_copy
from storage.remote.mirror import Mirror
from storage.sources.locations import is_url
from tasks.config.file import load_workflow
from tasks.config.model import ArchiveConfig, Workflow
from tasks.engine.kept import STORE_NAME, recorded_kept, store_files
from tasks.engine.progress import Terminal
from tasks.engine.stages import StageRef, Step
from tasks.engine.verification import read_success
from tasks.weights.models import scratch_folder


class Mirrors:
    """The URLs that one run publishes at, held by it."""

    def __init__(self, workflow: Workflow, mirrors: Iterable[Mirror], terminal: Terminal) -> None:
        self._mirrors = list(mirrors)
        self._archive, self._terminal = workflow.archive, terminal
        self._workspace = Workspace(workflow.workspace)

    def publish(self, step: Step, ref: StageRef) -> None:
        """Put what a published step made, and remove what it superseded; what is there is left.

        Raises RemoteError, LockedError.
        """
        if not self._mirrors:
            return
        folder = Path(ref.folder)
        outputs = _output_files(folder, step.output_root) if step.output_root else set()
        for mirror in self._mirrors:
            links = {}
            files = _files_within(outputs, mirror.local)
            gone: set[str] = set()
            if step.output_root is not None and self._archive is not None:
                files += self._kept_files(mirror, self._archive)
                gone = self._published_outputs(mirror, self._archive) - set(files)
                gone |= mirror.published(self._store_of(mirror)) - set(files)
            if folder.is_relative_to(mirror.local):
                files += _files_within(_files_below(folder), mirror.local)
                link = self._workspace.current(step.stage, step.key)
                links = {_relative(link, mirror.local): _relative(folder, mirror.local)}
            self._say(mirror.publish(files, links, gone), step.label, mirror)

    def publish_runs(self) -> None:
        """Put what runs left that is not at the URL yet (plan, events, result) and their report."""
        report = self._workspace.report
        for mirror in self._mirrors:
            if self._workspace.root.is_relative_to(mirror.local):
                shown = _files_within(_files_below(report), mirror.local)
                runs = _files_within(_files_below(self._workspace.runs), mirror.local)
                gone = mirror.published(_below(_relative(report, mirror.local))) - set(shown)
                mirror.publish([*runs, *shown], {}, gone)

    def _kept_files(self, mirror: Mirror, archive: ArchiveConfig) -> list[str]:
        """Outputs that no step names, what is recorded of them, and whose the folder is."""
        outputs = {
            output.place(self._workspace) / file.path
            for output in recorded_kept(self._workspace)
            for file in output.files
        }
        owner = archive.output / STATE_NAME / OWNER_NAME
        decided = decisions_path(archive.output)
        files = [*outputs, *store_files(self._workspace), owner, decided]
        found = (path.resolve() for path in files if path.is_file())
        return _files_within(found, mirror.local.resolve())

    def _store_of(self, mirror: Mirror) -> str:
        """Where the records of such outputs lie; of a workspace elsewhere a path that nothing has."""
        store = self._workspace.root / STORE_NAME
        is_here = store.is_relative_to(mirror.local)
        return _below(_relative(store, mirror.local)) if is_here else "\0"

    def _published_outputs(self, mirror: Mirror, archive: ArchiveConfig) -> set[str]:
        """What earlier runs put into the output tree; the workspace is none of it."""
        if not archive.output.is_relative_to(mirror.local):
            return set()
        prefix = _below(_relative(archive.output, mirror.local))
        found = mirror.published(prefix)
        for state in (archive.output / STATE_NAME, self._workspace.root):
            if state.is_relative_to(archive.output):
                found -= mirror.published(_below(_relative(state, mirror.local)))
        return found

    def _say(self, num_files: int, label: str, mirror: Mirror) -> None:
        if num_files:
            self._terminal.message(f"{label}: {num_files} files put to {mirror.url}")


@contextmanager
def held_mirrors(workflow: Workflow, terminal: Terminal) -> Iterator[Mirrors]:
    """Hold the workflow's URLs for the time of a run; their working copies are brought up to date.

    At the end the run's own folder is put as well. Raises LockedError, RemoteError, DamagedError.
    """
    with ExitStack() as stack:
        mirrors = _mirrors(workflow)
        for mirror in mirrors:
            num_files = stack.enter_context(mirror.held())
            if num_files:
                terminal.message(f"{num_files} files fetched from {mirror.url}")
        held = Mirrors(workflow, mirrors, terminal)
        try:
            yield held
        except (LockedError, RemoteError):  # the URL is another run's, or out of reach
            raise
        except BaseException:
            held.publish_runs()
            raise
        held.publish_runs()


def fetched(workflow: Workflow) -> Workflow:
    """The workflow, with its working copies brought up to date, for commands that only look.

    A copy that a run of this machine works on is up to date. Raises RemoteError, DamagedError.
    """
    for mirror in _mirrors(workflow):
        try:
            mirror.fetch()
        except LockedError:
            continue
    return workflow


def load_fetched(config: Path) -> Workflow:
    """The workflow of a chromaflow.toml, to look at: see `load_workflow` and `fetched`."""
    return fetched(load_workflow(config))


def output_folder(output: Path | str) -> Path:
    """Where an OUT lies on this machine, absolute; of a URL its working copy as it is."""
    text = str(output)
    return working_copy(scratch_folder(), text) if is_url(text) else Path(text).resolve()


def local_name(what: str, output: str | None, workflow: Workflow | None) -> str:
    """A file at the URL of an OUT or of a workflow as that of the working copy; else as it is."""
    remotes = dict(workflow.remotes) if workflow is not None else {}
    if output is not None and is_url(output):
        remotes[output] = output_folder(output)
    for url, local in remotes.items():
        start = url.rstrip("/") + "/"
        if what.startswith(start):
            return str(local / what.removeprefix(start))
    return what


def with_output_url(workflow: Workflow, output: Path | str) -> Workflow:
    """The workflow of an OUT, which is a URL or not."""
    text = str(output)
    return replace(workflow, remotes={text: output_folder(text)}) if is_url(text) else workflow


def _mirrors(workflow: Workflow) -> list[Mirror]:
    stages = Workspace(workflow.workspace).stages
    return [
        Mirror(
            local,
            url,
            _below(_relative(stages, local)) if stages.is_relative_to(local) else "",
        )
        for url, local in workflow.remotes.items()
    ]


def _output_files(folder: Path, root: Path) -> set[Path]:
    """The files of a published step that lie outside its folder."""
    success = read_success(folder)
    files = {root / file.path for record in each_item(folder / "done") for file in record.files}
    outputs = success.outputs if success is not None else ()
    beside = {Path(os.path.normpath(folder / file.path)) for file in outputs}
    return files | {path for path in beside if not path.is_relative_to(folder)}


def _files_below(folder: Path) -> list[Path]:
    """Without hidden ones: locks, and what is still being written."""
    return [p for p in folder.rglob("*") if p.is_file() and not p.name.startswith(".")]


def _files_within(files: Iterable[Path], root: Path) -> list[str]:
    return [_relative(path, root) for path in files if path.is_relative_to(root)]


def _relative(path: Path, root: Path) -> str:
    return path.relative_to(root).as_posix()


def _below(folder: str) -> str:
    return "" if folder == "." else folder.rstrip("/") + "/"
