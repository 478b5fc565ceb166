"""What `plan` says is what `run` does, after changes of all kinds (field case 14, issue 19.18)."""

from __future__ import annotations

import json
import os
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
from command import computed as run_command
from command import planned as plan_command
from conftest import draw_photo, write_textured
from engine import done_here, run_workflow, write_expert
from PIL import Image

import storage.records.known_hashes
import tasks.engine.execute
import tasks.engine.source_news
import tasks.engine.stages
from storage.records.fingerprint import hash_file, hash_module
from storage.records.known_hashes import KnownHashes
from storage.records.workspace import Workspace
from tasks.config.file import load_workflow
from tasks.engine.stages import Decision
from tasks.engine.verification import verify_workspace
from tasks.graph import build_steps, plan

Change = Callable[[Path], object]
DATA, ARCHIVE = "data.toml", "archive.toml"
UNTIL = {DATA: "preprocess", ARCHIVE: "colorize"}
CONFIGS = {
    DATA: """
[datasets]
birds = "birds"
[ingest]
val_share = 0.3
twin_distance = -1
min_spread = 0
[preprocess]
size = 32
""",
    ARCHIVE: """
workspace = "archive-workspace"
[experts]
people = "expert.safetensors"
birds = "expert.safetensors"
animals = "expert.safetensors"
places = "expert.safetensors"
[archive]
path = "gray"
output = "colour"
truth = "truth"
[colorize]
segmenter = "quarter_segmenter:Quarters"
short_side = 32
chunk = 2
sheet = 0
""",
}
INGEST, PREPROCESS = "ingest/birds", "preprocess/birds"
READ, COLOUR = "ingest/archive", "colorize/archive"


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A dataset of shards and an archive in colour, up to date. No test changes it."""
    root = tmp_path_factory.mktemp("base") / "project"
    for name in ("birds", "gray", "truth"):
        (root / name).mkdir(parents=True)
    for i in range(4):
        write_textured(root / "birds" / f"{i}.jpg", i)
        Image.fromarray(draw_photo(i, 40, 36)).convert("L").save(root / "gray" / f"{i}.png")
    shutil.copytree(root / "gray", root / "truth", dirs_exist_ok=True)
    (root / "birds/list.txt").write_text("a text beside photos")
    write_expert(root / "expert.safetensors")
    for name, text in CONFIGS.items():
        (root / name).write_text(text)
    for path in root.rglob("*.*"):  # no clock of a disk is as coarse as that
        os.utime(path, (1_700_000_000, 1_700_000_000))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tasks.engine.execute, "fan_out", done_here)
        for name, until in UNTIL.items():
            assert run_workflow(load_workflow(root / name), until=until).failures == {}
    return root


def touch(*paths: Path) -> None:
    for path in paths:
        os.utime(path)


def replace_in(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert text.count(old) == 1, old
    path.write_text(text.replace(old, new))


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def one(root: Path, pattern: str) -> Path:
    return next(path for path in sorted(root.glob(pattern)) if path.is_file())


def to_files(root: Path) -> list[Path]:
    return [path for path in root.rglob("*") if path.is_file() and not path.is_symlink()]


def move(root: Path, old: str, new: str, config: str) -> None:
    (root / new).parent.mkdir(parents=True, exist_ok=True)
    (root / old).rename(root / new)
    text = (root / config).read_text()
    (root / config).write_text(text.replace(f'"{old}"', f'"{new}"'))


def copy_anew(root: Path) -> None:
    """As `cp -r`: every file has another time."""
    for path in to_files(root):
        content = path.read_bytes()
        path.unlink()
        path.write_bytes(content)


SHARD = "workspace/stages/preprocess/birds/*/lab.zarr/train/c/**/0"
CHANGES: dict[str, tuple[Change, set[str]]] = {
    "nothing": (lambda root: None, set()),
    "photos touched": (lambda root: touch(*root.glob("birds/*"), *root.glob("gray/*")), set()),
    "one photo touched": (lambda root: touch(root / "birds/2.jpg"), set()),
    "a text touched": (lambda root: touch(root / "birds/list.txt"), set()),
    "colour originals touched": (lambda root: touch(*root.glob("truth/*")), set()),
    "all touched": (lambda root: touch(*to_files(root)), set()),
    "copied without times": (copy_anew, set()),
    "weights touched": (lambda root: touch(root / "expert.safetensors"), set()),
    "config touched": (lambda root: touch(root / DATA, root / ARCHIVE), set()),
    "a comment": (lambda root: replace_in(root / DATA, "[preprocess]", "# x\n[preprocess]"), set()),
    "a default said": (
        lambda root: replace_in(root / ARCHIVE, "[colorize]", "[colorize]\naccept = []"),
        set(),
    ),
    "photos moved": (lambda root: move(root, "birds", "away/b", DATA), set()),
    "an archive moved": (lambda root: move(root, "gray", "away/g", ARCHIVE), set()),
    "colours moved": (lambda root: move(root, "colour", "away/c", ARCHIVE), set()),
    "originals moved": (lambda root: move(root, "truth", "away/t", ARCHIVE), set()),
    "weights moved": (
        lambda root: move(root, "expert.safetensors", "away/e.safetensors", ARCHIVE),
        set(),
    ),
    "a link lost": (
        lambda root: Workspace(root / "workspace").unset_current("preprocess", "birds"),
        set(),
    ),
    "known hashes lost": (lambda root: (root / "workspace/hashes.bin").unlink(True), set()),
    "known hashes damaged": (
        lambda root: (root / "archive-workspace/hashes.bin").write_bytes(b"chromaflow hashes 1\n?"),
        set(),
    ),
    "a photo added": (
        lambda root: write_textured(root / "birds/9.jpg", 9),
        {INGEST, PREPROCESS},
    ),
    "a text added": (lambda root: (root / "birds/notes.txt").write_text("x"), {INGEST}),
    "a broken photo added": (lambda root: (root / "birds/9.jpg").write_bytes(b"\xff"), {INGEST}),
    "a photo removed": (lambda root: (root / "birds/1.jpg").unlink(), {INGEST, PREPROCESS}),
    "a photo changed": (
        lambda root: write_textured(root / "birds/1.jpg", 8),
        {INGEST, PREPROCESS},
    ),
    "a photo renamed": (
        lambda root: (root / "birds/1.jpg").rename(root / "birds/8.jpg"),
        {INGEST, PREPROCESS},
    ),
    "a gray photo added": (
        lambda root: shutil.copy(root / "gray/1.png", root / "gray/7.png"),
        {READ, COLOUR},
    ),
    "a limit without effect": (
        lambda root: replace_in(root / DATA, "[ingest]", "[ingest]\nmin_side = 33"),
        {INGEST},
    ),
    "another saturation": (
        lambda root: replace_in(root / DATA, "size = 32", "size = 32\nsaturation = 1.5"),
        {PREPROCESS},
    ),
    "another toning": (
        lambda root: replace_in(root / ARCHIVE, "sheet = 0", 'sheet = 0\ntoning = "keep"'),
        {COLOUR},
    ),
    "a category added": (
        lambda root: replace_in(root / DATA, "[datasets]", '[datasets]\nanimals = "birds"'),
        {"ingest/animals", "preprocess/animals"},
    ),
    "a pattern without effect": (
        lambda root: replace_in(root / ARCHIVE, "[archive]", '[archive]\nexclude = ["*.gif"]'),
        {READ},
    ),
    "a shard damaged": (lambda root: flip(one(root, SHARD)), {PREPROCESS}),
    "a shard lost": (lambda root: one(root, SHARD).unlink(), {PREPROCESS}),
    "a table lost": (
        lambda root: one(root, "workspace/stages/preprocess/birds/*/rows.parquet").unlink(),
        {PREPROCESS},
    ),
    "a manifest damaged": (
        lambda root: flip(one(root, "workspace/stages/ingest/birds/*/manifest.parquet")),
        {INGEST},
    ),
    "a record lost": (
        lambda root: one(root, "archive-workspace/stages/colorize/archive/*/done/*").unlink(),
        {COLOUR},
    ),
    "a step lost": (
        lambda root: shutil.rmtree(one(root, "workspace/stages/ingest/*/*/_SUCCESS.json").parent),
        {INGEST},
    ),
    "an output lost": (lambda root: one(root, "colour/*").unlink(), {COLOUR}),
    "an output changed": (lambda root: flip(one(root, "colour/*")), {COLOUR}),
    "an original changed": (lambda root: flip(root / "truth/1.png"), {COLOUR}),
    "other weights": (
        lambda root: write_expert(root / "expert.safetensors", seed=1),
        {COLOUR},
    ),
}


@pytest.fixture
def project(base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the project with its times, as `cp -a` makes it."""
    monkeypatch.setattr(tasks.engine.execute, "fan_out", done_here)
    shutil.copytree(base, tmp_path / "elsewhere/copy", symlinks=True)
    return tmp_path / "elsewhere/copy"


def decisions(config: Path) -> dict[str, Decision]:
    """What `plan` says of the steps that the tests run."""
    found = plan(build_steps(load_workflow(config))).values()
    return {d.step.label: d for d in found if d.step.stage not in ("train", "evaluate")}


def digests(config: Path) -> dict[str, str]:
    workspace = Workspace(load_workflow(config).workspace)
    found = {f"{f.parent.name}/{f.name}": f / "_SUCCESS.json" for f in workspace.all_current()}
    return {label: json.loads(path.read_text())["digest"] for label, path in found.items()}


def compare(config: Path, *, may_look: bool = False) -> set[str]:
    """Plan, run, hold one to the other. Returns the steps that were not skipped."""
    planned = decisions(config)
    outcome = run_workflow(load_workflow(config), until=UNTIL[config.name])
    assert outcome.failures == {}
    did = {label for label, (action, _) in outcome.decided.items() if action != "skip"}
    said: dict[str, set[str]] = {"run": set(), "look": set(), "depends": set(), "skip": set()}
    for label, decision in planned.items():
        said["run" if decision.action == "partial" else decision.action].add(label)
    assert said["run"] <= did, "what plan says is run is run"
    assert not said["skip"] & did, "what plan says is skipped is skipped"
    assert may_look or not said["look"]
    for label in said["depends"]:
        ref, reasons = outcome.refs, planned[label].reasons
        assert all(reason.startswith("depends on ") for reason in reasons)
        upstream = [tuple(reason.removeprefix("depends on ").split("/")) for reason in reasons]
        assert all(ref[name].digest for name in upstream)  # type: ignore[index]
    assert not [
        d for d in planned.values() for r in d.reasons if "->" in r or "()" in r or "[]" in r
    ]
    assert {d.action for d in decisions(config).values()} == {"skip"}, "and then nothing is left"
    assert verify_workspace(Workspace(load_workflow(config).workspace))[1] == []
    return did


@pytest.mark.parametrize("name", CHANGES)
def test_plan_says_what_run_does_after(name: str, project: Path) -> None:
    change, expected = CHANGES[name]
    change(project)
    assert compare(project / DATA) | compare(project / ARCHIVE) == expected


def test_a_project_that_is_moved_is_left_alone(project: Path, tmp_path: Path) -> None:
    project.rename(tmp_path / "moved")
    for name in UNTIL:
        assert compare(tmp_path / "moved" / name) == set()


def test_code_that_changes_nothing_ends_where_it_changed(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def edited(name: str, _known: KnownHashes) -> str:
        return hash_module(name) + "edited" * (name == "tasks.jobs.ingest")

    monkeypatch.setattr(tasks.engine.stages, "module_hash", edited)
    said = decisions(project / DATA)
    assert said[INGEST].reasons == ("code changed: tasks.jobs.ingest",)
    assert said[PREPROCESS].action == "depends", "nobody knows yet"
    assert compare(project / DATA) == {INGEST}
    assert compare(project / ARCHIVE) == {READ}


def test_what_is_much_to_read_is_to_be_looked_at_and_what_hangs_on_it_depends(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tasks.engine.source_news, "MOST_BYTES", 0)
    touch(*(project / "birds").iterdir())
    said = decisions(project / DATA)
    assert said[INGEST].action == "look"
    assert said[INGEST].reasons == ("5 with another time: to be looked at",)
    assert (said[PREPROCESS].action, said[PREPROCESS].reasons) == (
        "depends",
        (f"depends on {INGEST}",),
    )
    assert compare(project / DATA, may_look=True) == {INGEST}


def test_a_zip_with_another_time_is_to_be_looked_at_if_it_is_large(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = project / DATA
    with zipfile.ZipFile(project / "birds.zip", "w") as archive:
        for path in sorted((project / "birds").glob("*.jpg")):
            archive.write(path, path.name)
    replace_in(config, '"birds"', '"birds.zip"')
    assert compare(config) == {INGEST, PREPROCESS}
    touch(project / "birds.zip")
    assert compare(config) == set(), "its hash is known: it is small"
    monkeypatch.setattr(tasks.engine.source_news, "_MOST_BESIDE", 0)
    with zipfile.ZipFile(project / "birds.zip", "a") as archive:
        archive.write(project / "gray/1.png", "gray.png")
    assert compare(config) == {INGEST, PREPROCESS}
    touch(project / "birds.zip")
    assert decisions(config)[INGEST].action == "look"
    assert compare(config, may_look=True) == {INGEST}


def test_other_photos_with_the_names_sizes_and_times_of_the_first_are_seen(project: Path) -> None:
    """Uncompressed scans of one size, unpacked with one time: only where they lie tells them apart."""
    shutil.copytree(project / "birds", project / "others")
    photo = project / "others/1.jpg"
    times = photo.stat()
    photo.write_bytes(
        (project / "birds/2.jpg").read_bytes().ljust(times.st_size, b"\0")[: times.st_size]
    )
    os.utime(photo, ns=(times.st_atime_ns, times.st_mtime_ns))
    replace_in(project / DATA, '"birds"', '"others"')
    assert compare(project / DATA) >= {INGEST}


def test_bytes_that_changed_under_their_stamps_are_found_by_verify_and_then_by_run(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As a bad disk does it: here the hash of before is put under the stamps of now."""
    config = project / ARCHIVE
    workspace = Workspace(load_workflow(config).workspace)
    output = one(project, "colour/*")
    before = hash_file(output)
    flip(output)
    with monkeypatch.context() as patch:
        patch.setattr(storage.records.known_hashes, "hash_file", lambda path: before)
        patch.setattr(storage.records.known_hashes.time, "time_ns", lambda: 1 << 62)
        hashes = KnownHashes(workspace.hashes)
        hashes.hash(output)
        hashes.save()
    assert decisions(config)[COLOUR].action == "skip"
    assert len(verify_workspace(workspace)[1]) == 1
    assert decisions(config)[COLOUR].action == "partial"
    assert compare(config) == {COLOUR}


def test_a_run_reads_what_is_published_once_and_the_next_one_not_at_all(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, read = hash_file, []

    def counting(path: Path) -> str:
        read.append(path)
        return real(path)

    monkeypatch.setattr(storage.records.known_hashes, "hash_file", counting)
    later = storage.records.known_hashes.time.time_ns
    monkeypatch.setattr(
        storage.records.known_hashes.time, "time_ns", lambda: later() + 5_000_000_000
    )
    for known in project.glob("*/hashes.bin"):
        known.unlink()
    first = run_workflow(load_workflow(project / ARCHIVE))
    assert all(ref.computed == 0 for ref in first.refs.values())
    assert len(set(read)) == len(read) > 8
    read.clear()
    run_workflow(load_workflow(project / ARCHIVE))
    assert read == []


@pytest.mark.slow
@pytest.mark.usefixtures("shared_server")
@pytest.mark.timeout(1200)
def test_by_command_a_moved_copied_and_touched_project_computes_nothing(
    tmp_path: Path, project: Path, make_photo: Callable[..., Path]
) -> None:
    """The whole pipeline with training, by the installed command: at first five of ten steps ran."""
    root = tmp_path / "first"
    for i in range(12):
        make_photo(root / "photos" / f"{i}.png", seed=i)
        make_photo(root / "gray" / f"{i}.png", seed=i, gray=True)
    config = root / "chromaflow.toml"
    config.write_text(
        '[datasets]\nplaces = "photos"\n[archive]\npath = "gray"\noutput = "colour"\n'
        "[ingest]\nval_share = 0.3\ntwin_distance = -1\n[preprocess]\nsize = 64\n"
        '[train]\nrecipe = "starter"\ninit = "starter"\nmin_photos = 4\n'
        "[train.overrides]\nepochs = 1\nbatch = 4\ncrop = 0\n[colorize]\nshort_side = 64\n"
    )
    run_command(config)
    shutil.copytree(root, tmp_path / "copy", symlinks=True)
    root.rename(tmp_path / "moved")
    touch(*(tmp_path / "moved/photos").iterdir(), *(tmp_path / "moved/gray").iterdir())
    for folder in ("copy", "moved"):
        config = tmp_path / folder / "chromaflow.toml"
        said = plan_command("--config", config)
        assert {action for action, _ in said.values()} == {"skip"}, said
        assert {step["computed"] for step in run_command(config).values()} == {0}
