"""Photos, settings and stored files change in any order, runs are killed: the invariants hold (R15).

Covers ingest, preprocess and colorize, planned and run inside this process (tests/engine.py).
Training and evaluation, Dask's processes, signals and power loss are covered by other tests.
"""

from __future__ import annotations

import hashlib
import io
import os
import shutil
import tempfile
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import draw_photo, write_textured
from engine import FrozenDisk, Killed, Outcome, done_here, run_workflow, write_expert
from hypothesis import HealthCheck, Phase, seed, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule
from PIL import Image

import tasks.engine.execute
from storage.records.ledger import PARTIAL, read_json
from storage.records.tables import read_rows
from storage.records.workspace import Workspace
from tasks.archive.ownership import known_outputs
from tasks.config.file import load_workflow
from tasks.engine.kept import read_kept
from tasks.engine.retry import Retry
from tasks.engine.verification import KEPT_LABEL, read_success, root_of, verify_workspace
from tasks.graph import build_steps, plan
from tasks.jobs.training.loading import open_split

SEED = int(os.environ.get("CHROMAFLOW_FAULT_SEED", "20261125"))
EXAMPLES = int(os.environ.get("CHROMAFLOW_EXAMPLES", "40"))
STEPS = 20
MEMORY = Path("/dev/shm")
_CONFIGS = {
    "data": """
[datasets]
birds = "birds"
[ingest]
val_share = 0.0
min_side = {min_side}
twin_distance = -1
min_spread = 0
[preprocess]
size = 32
saturation = {saturation}
""",
    "archive": """
workspace = "archive-workspace"
[experts]
people = "{expert}"
birds = "{expert}"
animals = "{expert}"
places = "{expert}"
[archive]
path = "gray"
output = "colour"
[ingest]
min_side = {min_side}
[colorize]
segmenter = "quarter_segmenter:Quarters"
short_side = 32
chunk = {chunk}
sheet = 0
toning = "{toning}"
format = "{format}"
sidecar = {sidecar}
""",
}
_UNTIL = {"data": "preprocess", "archive": "colorize"}
_SETTINGS: dict[str, tuple[Any, ...]] = {
    "min_side": (32, 36),
    "saturation": (1.2, 1.5),
    "chunk": (2, 3),
    "toning": ("neutral", "keep"),
    "format": ("", "webp"),
    "sidecar": ("false", "true"),
}
_CONTENTS = 8
"""Different photos of each kind; two of them are smaller than others."""
FOLDERS = st.sampled_from(["birds", "gray"])
SHARES = st.integers(0, 999).map(lambda thousandths: thousandths / 1000)
"""Places in what no two examples have alike: files with times in them, folders with hashes."""
NAMES = st.sampled_from([f"{letter}.{suffix}" for letter in "abc" for suffix in ("png", "jpg")])


@cache
def photo(folder: str, number: int, suffix: str) -> bytes:
    """One of `_CONTENTS` photos, PNG or JPEG; gray for the archive."""
    size = (34, 40) if number % 4 == 3 else (40, 36)
    buffer = io.BytesIO()
    if folder == "gray":
        image = Image.fromarray(draw_photo(number, *size)).convert("L")
    else:
        with tempfile.TemporaryDirectory() as scratch:
            path = Path(scratch, "photo.jpg")
            write_textured(path, number)
            image = Image.open(path).resize(size)
    image.save(buffer, {".png": "PNG", ".jpg": "JPEG"}[suffix])
    return buffer.getvalue()


class Machine(RuleBasedStateMachine):
    """One archive and one dataset of at most six photos each."""

    disk: FrozenDisk
    expert: Path
    """One file for all examples, so that it is loaded once."""

    def __init__(self) -> None:
        super().__init__()
        place = MEMORY if MEMORY.is_dir() else None  # thousands of fsyncs
        self.root = Path(tempfile.mkdtemp(prefix="machine-", dir=place)).resolve()
        for folder in ("birds", "gray"):
            (self.root / folder).mkdir()
        self.settings = {key: values[0] for key, values in _SETTINGS.items()}
        self.clock = 1_700_000_000
        self.swapped: dict[Path, bytes] = {}
        """What was in photos that were exchanged behind ingest's back."""
        self.ever_swapped: set[Path] = set()
        self.coloured: dict[tuple[int, str, str], str] = {}
        """Archive, path and hash of every photo ever coloured → its output, but what was damaged."""
        self.changed: set[str] = set()
        """Outputs that somebody wrote to: they are theirs, and stay when their photo goes."""
        self.up_to_date = False

    def teardown(self) -> None:
        try:
            for path in list(self.swapped):
                self._swap_back(path)
            for path in self.ever_swapped:  # ingest may have seen the other bytes: it looks again
                if path.exists():
                    self._write(path, path.read_bytes())
            for name in _CONFIGS:
                self._run(name, Retry())
            for name in _CONFIGS:
                self._run(name, None, delete=True)
            self._hold_to_a_fresh_run()
        finally:
            shutil.rmtree(self.root)

    # photos

    @initialize(numbers=st.lists(st.integers(0, _CONTENTS - 1), min_size=2, max_size=4))
    def begin(self, numbers: list[int]) -> None:
        for folder in ("birds", "gray"):
            for letter, number in zip("abcd", numbers, strict=False):
                self._write(self.root / folder / f"{letter}.png", photo(folder, number, ".png"))

    @rule(folder=FOLDERS, name=NAMES, number=st.integers(0, _CONTENTS - 1))
    def add_or_edit(self, folder: str, name: str, number: int) -> None:
        path = self.root / folder / name
        self._write(path, photo(folder, number, path.suffix))

    @rule(folder=FOLDERS, name=NAMES)
    def remove(self, folder: str, name: str) -> None:
        path = self.root / folder / name
        if path.exists():
            path.unlink()
            self.swapped.pop(path, None)
            self.up_to_date = False

    @rule(folder=FOLDERS, name=NAMES, share=st.floats(0, 0.9))
    def cut_short(self, folder: str, name: str, share: float) -> None:
        path = self.root / folder / name
        content = photo(folder, 0, path.suffix)
        self._write(path, content[: int(share * len(content))])

    @rule(folder=FOLDERS, name=NAMES)
    def exchange_unnoticed(self, folder: str, name: str) -> None:
        """Same size, same time: ingest does not look again, later stages find another hash."""
        path = self.root / folder / name
        if path.exists() and path not in self.swapped:
            before, times = path.read_bytes(), path.stat()
            if before:
                self.swapped[path] = before
                self.ever_swapped.add(path)
                path.write_bytes(bytes(len(before)))
                os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))

    @rule(which=SHARES)
    def exchange_back(self, which: float) -> None:
        if self.swapped:
            self._swap_back(sorted(self.swapped)[int(which * len(self.swapped))])

    # settings and stored files

    @rule(data=st.data(), key=st.sampled_from(sorted(_SETTINGS)))
    def change_setting(self, data: st.DataObject, key: str) -> None:
        value = data.draw(st.sampled_from(_SETTINGS[key]))
        self.up_to_date &= value == self.settings[key]
        self.settings[key] = value

    @rule(which=SHARES, place=SHARES, how=st.sampled_from(["flip", "cut", "delete"]))
    def damage(self, which: float, place: float, how: str) -> None:
        """A file of a step or an output, but no record of outputs: what is in no record is nobody's.

        No bit of an ingest's basis is flipped: before it is published, no hash of it is known.
        """
        stored = [p for p in self.root.glob("*workspace/stages/**/*") if p.is_file()]
        stored += [p for p in self.root.glob("colour/**/*") if p.is_file()]
        records = ({"colorize", "done"}, {"colorize", "superseded"})
        stored = [p for p in stored if not any(names <= set(p.parts) for names in records)]
        if how == "flip":
            stored = [p for p in stored if "basis" not in p.parts]
        if not stored:
            return
        path = sorted(stored)[int(which * len(stored))]
        content = bytearray(path.read_bytes())
        self.up_to_date = False
        if how == "delete" or not content:
            self._forget(path)
            path.unlink()
            return
        at = int(place * len(content))
        content[at] ^= 1
        damaged = bytes(content if how == "flip" else content[:at])
        if "colour" in path.parts:  # it stays under its name, or beside the one that is made anew
            mark = hashlib.sha256(damaged).hexdigest()[:8]
            self.changed |= {path.name, path.name.replace(".color", f"~{mark}.color")}
        self._forget(path)
        path.unlink()  # another step may hold the same file by a hard link: one is damaged at a time
        path.write_bytes(damaged)

    @rule(which=SHARES)
    def lose_a_step(self, which: float) -> None:
        """Of ingest or preprocess: a lost colorize step takes along what is known of its outputs."""
        folders = [*self.root.glob("*workspace/stages/[ip]*/*/*")]
        if folders:
            shutil.rmtree(sorted(folders)[int(which * len(folders))])
            self.up_to_date = False

    # runs

    @rule()
    def run(self) -> None:
        self._run_all(None)

    @rule(codes=st.sampled_from([(), ("UNREADABLE",), ("TRUNCATED", "NOT_A_PHOTO")]))
    def retry(self, codes: tuple[str, ...]) -> None:
        self._run_all(Retry.of(codes))

    @rule(num_changes=st.integers(0, 150), again=st.booleans())
    def kill(self, num_changes: int, again: bool) -> None:
        """A run, or a retry, after so many changes of the disk."""
        self.up_to_date = False
        outcomes: dict[str, Outcome] = {}
        with self.disk.after(num_changes, self.root), suppress(Killed):
            for name in _CONFIGS:
                outcome = self._start(name, Retry() if again else None)
                if self.disk.struck:  # a job died, and the step with it
                    break
                outcomes[name] = outcome
        for name, outcome in outcomes.items():
            assert set(outcome.failures) <= self._without_photos(name), outcome.failures

    @invariant()
    def an_up_to_date_workspace_stays_so(self) -> None:
        """What `plan` says after a run of things that did not change."""
        if self.up_to_date:
            assert self._left_to_do() == {}

    def _run_all(self, retry: Retry | None) -> None:
        failed = [self._run(name, retry) for name in _CONFIGS]
        self.up_to_date = not any(failed)

    def _forget(self, path: Path) -> None:
        """Nobody can keep what is damaged."""
        names = {path.name, path.name.removesuffix(".xmp")}
        for photo, output in list(self.coloured.items()):
            if "colour" in path.parts and output in names:
                del self.coloured[photo]

    def _lose_no_colour(self, workspace: Workspace, *, delete: bool) -> None:
        """What was coloured once is there, and recorded, until it is asked to go."""
        found = {output.photo: output for output in known_outputs(workspace)}
        if not delete:
            assert self.coloured.keys() <= found.keys()
        for output in found.values():
            assert delete or (output.place(workspace) / output.name).is_file()
        self.coloured = {photo: output.name for photo, output in found.items()}

    def _run(self, name: str, retry: Retry | None, *, delete: bool = False) -> bool:
        """Returns whether a step failed, which it may for want of photos only."""
        outcome = self._start(name, retry, delete=delete)
        assert set(outcome.failures) <= self._without_photos(name), outcome.failures
        self._hold_to_plan(outcome)
        workspace = Workspace(self._workflow(name).workspace)
        if outcome.failures:
            return True
        problems = verify_workspace(workspace)[1]
        kept = [p for p in problems if p["step"] == KEPT_LABEL and p["item"] in self.changed]
        assert problems == kept, "what nobody makes anew stays damaged, and verify says so"
        roots = [workspace.root / "current", *(link.resolve() for link in workspace.all_current())]
        roots += [self.root / "colour"] if name == "archive" else []
        assert [path for root in roots for path in root.rglob(f"*{PARTIAL}")] == []
        self._see_each_photo_once(name, workspace)
        if name == "archive":
            self._lose_no_colour(workspace, delete=delete)
        return False

    def _start(self, name: str, retry: Retry | None, *, delete: bool = False) -> Outcome:
        workflow = self._workflow(name)
        return run_workflow(workflow, until=_UNTIL[name], retry=retry, delete=delete)

    def _workflow(self, name: str, folder: Path | None = None) -> Any:
        folder = folder or self.root
        config = folder / f"{name}.toml"
        config.write_text(_CONFIGS[name].format(**self.settings, expert=self.expert))
        return load_workflow(config)

    def _left_to_do(self) -> dict[str, str]:
        left = {}
        for name in _CONFIGS:
            decisions = plan(build_steps(self._workflow(name)))
            stages = ("train", "evaluate")
            wanted = [d for d in decisions.values() if d.step.stage not in stages]
            left |= {f"{name} {d.step.label}": d.action for d in wanted if d.action != "skip"}
        return left

    # what must hold

    def _hold_to_plan(self, outcome: Outcome) -> None:
        for name, planned in outcome.planned.items():
            decided = outcome.decided.get("/".join(name))
            if decided is None:
                continue
            if planned.fingerprint is None:  # it waits for another step, whose outcome it awaits
                assert planned.action in ("run", "depends")
                assert planned.action == "depends" or decided[0] != "skip", name
                continue
            assert decided == (planned.action, list(planned.reasons)), name
            if planned.action == "skip":
                assert outcome.refs[name].computed == 0

    def _without_photos(self, name: str) -> set[tuple[str, str]]:
        """Steps that have nothing to do: no photo is left."""
        key, last = {"data": ("birds", "preprocess"), "archive": ("archive", "colorize")}[name]
        manifest = Workspace(self._workflow(name).workspace).current("ingest", key)
        path = manifest / "manifest.parquet"
        return {(last, key)} if path.exists() and not read_rows(path) else set()

    def _see_each_photo_once(self, name: str, workspace: Workspace) -> None:
        """Every photo is done or has one reason; the output tree holds what records name."""
        key, last = {"data": ("birds", "preprocess"), "archive": ("archive", "colorize")}[name]
        source = self.root / ("birds" if name == "data" else "gray")
        refused = [
            row["path"]
            for stage in ("ingest", last)
            for row in read_rows(workspace.current(stage, key) / "quarantine.parquet")
        ]
        folder = workspace.current(last, key)
        if name == "data":
            done = [row["path"] for row in read_rows(folder / "rows.parquet")]
        else:
            found = [read_json(path) or {} for path in (folder / "done").glob("*.json")]
            done = [output["photo"] for record in found for output in record["outputs"]]
            success = read_success(folder)
            assert success is not None
            root = root_of(workspace, folder, success)
            named = {file["path"] for record in found for file in record["files"]}
            named |= {file.path for kept in read_kept(workspace) for file in kept.files}
            present = {p.relative_to(root).as_posix() for p in root.rglob("*") if p.is_file()}
            assert named <= present
            assert present - named <= self.changed
        assert sorted(done + refused) == sorted(path.name for path in source.iterdir())

    def _hold_to_a_fresh_run(self) -> None:
        """All that was done in between gives what one run of the same photos gives."""
        fresh = self.root / "fresh"
        for folder in ("birds", "gray"):
            shutil.copytree(self.root / folder, fresh / folder)
        for name in _CONFIGS:
            run_workflow(self._workflow(name, fresh), until=_UNTIL[name])
        expected, found = _colours(fresh), _colours(self.root)
        workspace = Workspace(self._workflow("archive").workspace)
        unusable = {file.path for kept in read_kept(workspace) for file in kept.files}
        theirs = (self.changed | unusable) - expected.keys()
        assert {name: digest for name, digest in found.items() if name not in theirs} == expected
        assert _stored(self.root) == _stored(fresh)

    def _write(self, path: Path, content: bytes) -> None:
        """With a time of its own: two writes in one tick of the disk's clock look alike."""
        path.write_bytes(content)
        self.clock += 1
        os.utime(path, (self.clock, self.clock))
        self.swapped.pop(path, None)
        self.up_to_date = False

    def _swap_back(self, path: Path) -> None:
        times = path.stat()
        path.write_bytes(self.swapped.pop(path))
        os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))


def _colours(folder: Path) -> dict[str, str]:
    """Outputs of the archive, unless no photo is left."""
    current = folder / "archive-workspace/current/ingest/archive/manifest.parquet"
    if not read_rows(current):
        return {}
    paths = [path for path in (folder / "colour").rglob("*") if path.is_file()]
    return {p.name: hashlib.sha256(p.read_bytes()).hexdigest() for p in paths}


def _stored(folder: Path) -> dict[str, bytes]:
    """What the shards hold of each photo, wherever in them it lies."""
    workspace = folder / "workspace"
    if not read_rows(workspace / "current/ingest/birds/manifest.parquet"):
        return {}
    shards = workspace / "current/preprocess/birds"
    reader = open_split(shards, "train").reader
    rows = read_rows(shards / "rows.parquet")
    return {row["path"]: np.asarray(reader.photo(int(row["row"]))).tobytes() for row in rows}


@pytest.mark.timeout(900)
def test_in_any_order_the_invariants_hold(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from hypothesis.stateful import run_state_machine_as_test

    chosen = settings(
        max_examples=EXAMPLES,
        stateful_step_count=STEPS,
        deadline=None,
        database=None,
        phases=[Phase.generate],  # a failing example has 20 steps at most: shrinking takes minutes
        suppress_health_check=list(HealthCheck),
    )
    monkeypatch.setattr(tasks.engine.execute, "fan_out", done_here)
    Machine.disk, Machine.expert = FrozenDisk(), tmp_path / "expert.safetensors"
    write_expert(Machine.expert)
    print(f"seed {SEED}, {EXAMPLES} examples of {STEPS} steps")
    run_state_machine_as_test(seed(SEED)(Machine), settings=chosen)
