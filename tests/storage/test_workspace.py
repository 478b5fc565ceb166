"""Workspace lock between real processes, publication, sources and output names."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest

from storage.errors import LockedError, OutputError, UsageError
from storage.formats import FORMATS
from storage.records.outputs import OutputNames, output_names, output_suffix, write_output
from storage.records.workspace import Workspace
from storage.sources.files import list_files, listing_digest
from storage.sources.locations import check_folder

ROOT = str(Path(__file__).resolve().parents[2])
HOLDER = """
import sys
from pathlib import Path
from storage.records.workspace import Workspace
with Workspace(Path(sys.argv[1])).lock():
    print("held", flush=True)
    sys.stdin.read()
"""


def test_the_lock_keeps_other_processes_out_until_its_holder_dies(tmp_path):
    workspace = Workspace(tmp_path / "ws")
    workspace.create()
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(workspace.root)],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        env=os.environ | {"PYTHONPATH": ROOT},
    )  # fmt: skip
    try:
        assert holder.stdout.readline() == "held\n"
        message = f"process {holder.pid} works there"
        with pytest.raises(LockedError, match=message), workspace.lock():
            pytest.fail("two holders of one lock")
    finally:
        holder.kill()
        holder.communicate(timeout=10)
    with workspace.lock():
        assert (workspace.root / ".lock").read_text() == str(os.getpid())


def test_the_next_run_removes_what_a_killed_one_left_half_made_beside_its_steps(tmp_path):
    workspace = Workspace(tmp_path / "ws")
    workspace.create()
    half_made = f".{'0' * 16}.partial"
    left = [".", "runs/1", "report/page", "current/train", ".prefect", "stages/train/people/1"]
    for folder in left:
        (workspace.root / folder).mkdir(parents=True, exist_ok=True)
        (workspace.root / folder / half_made).write_bytes(b"x")
    link = (
        workspace.root / "current" / "ingest" / half_made
    )  # it died between the link and its name
    link.parent.mkdir()
    link.symlink_to("../../stages/train/people/1")
    with workspace.lock():
        assert not link.is_symlink()
        kept = [path.parent for path in workspace.root.rglob(half_made)]
    assert kept == [workspace.root / left[-1]], "the step sees to its own"


def test_current_always_points_somewhere_while_it_is_replaced(tmp_path):
    workspace = Workspace(tmp_path)
    folders = [workspace.stage_dir("train", "people", c * 64) for c in "ab"]
    for folder in folders:
        folder.mkdir(parents=True)
        (folder / "done").touch()
    link = workspace.current("train", "people")
    workspace.set_current("train", "people", folders[0])
    stop, missed = threading.Event(), []

    def watch() -> None:
        while not stop.is_set():
            if not (link / "done").exists():
                missed.append(1)

    watcher = threading.Thread(target=watch)
    watcher.start()
    for i in range(100):
        workspace.set_current("train", "people", folders[i % 2])
    stop.set()
    watcher.join()
    assert not missed
    assert link.resolve() == folders[1].resolve()
    assert [p.name for p in link.parent.iterdir()] == ["people"]


def test_current_survives_moving_the_whole_workspace(tmp_path):
    workspace = Workspace(tmp_path / "old")
    folder = workspace.stage_dir("train", "people", "c" * 64)
    folder.mkdir(parents=True)
    workspace.set_current("train", "people", folder)
    moved = Workspace(workspace.root.rename(tmp_path / "new"))
    assert moved.current("train", "people").resolve().name == "c" * 12


def test_a_workspace_where_a_file_lies_is_refused(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match="Choose another"):
        Workspace(tmp_path / "file").create()


def test_listing_leaves_out_hidden_files_system_files_links_and_pipes(tmp_path):
    for name in (
        "b/2.jpg", "a.TIF", "ü.png", "notes.txt",
        ".hidden.jpg", "._a.TIF", "b/Thumbs.db", "Desktop.ini", ".cache/x.jpg",
    ):  # fmt: skip
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"12345")
    (tmp_path / "link.jpg").symlink_to("a.TIF")
    (tmp_path / "linked").symlink_to("b")
    os.mkfifo(tmp_path / "pipe.jpg")
    files = list_files(tmp_path)
    assert [f.path for f in files] == ["a.TIF", "b/2.jpg", "notes.txt", "ü.png"]
    assert {f.bytes for f in files} == {5}


def test_the_digest_of_a_listing_changes_with_a_file_and_only_then(tmp_path):
    (tmp_path / "a.jpg").write_bytes(b"1")
    before = listing_digest(list_files(tmp_path))
    assert listing_digest(list_files(tmp_path)) == before
    os.utime(tmp_path / "a.jpg", ns=(1, 1))
    assert listing_digest(list_files(tmp_path)) != before


def test_a_name_that_is_not_utf8_is_still_listed_and_digested(tmp_path):
    (tmp_path / os.fsdecode(b"gr\xe4u.jpg")).write_bytes(b"1")
    assert len(listing_digest(list_files(tmp_path))) == 64


def test_a_source_that_is_not_there_is_a_usage_error(tmp_path):
    with pytest.raises(UsageError, match="folder of photos"):
        check_folder(tmp_path / "none", "photos")


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("a/0001.tif", "a/0001.tif.color.tif"),
        ("a.b/0001", "a.b/0001.color.png"),
        ("x.y.JPG", "x.y.JPG.color.JPG"),
    ],
)
def test_output_names_keep_the_source_extension(path, expected):
    suffix = output_suffix(path, format_of(path), format_of(path))
    assert output_names([path])[path] + suffix == expected


def format_of(path: str) -> str:
    suffix = f".{path.rpartition('.')[2].lower()}"
    return next((name for name, known in FORMATS.items() if suffix in known.suffixes), "PNG")


@pytest.mark.parametrize(
    ("path", "source", "output", "suffix"),
    [
        ("a.jpg", "JPEG", "PNG", ".png"),
        ("a.jpg", "PNG", "PNG", ".png"),
        ("a.gif", "GIF", "PNG", ".png"),
        ("a.TIFF", "TIFF", "TIFF", ".TIFF"),
        ("a.pgm", "PPM", "PPM", ".ppm"),
        ("a.pnm", "PPM", "PPM", ".pnm"),
        ("a", "JPEG", "JPEG", ".jpg"),
    ],
)
def test_an_output_is_named_by_what_it_is(path, source, output, suffix):
    assert output_suffix(path, source, output) == suffix


def test_names_that_some_disks_would_merge_are_told_apart():
    plain = ["a/1.jpg", "a/1.tif", "b/1.jpg"]
    assert output_names(plain) == {path: f"{path}.color" for path in plain}
    for pair in (["A/1.JPG", "a/1.jpg"], ["cafe\u0301.png", "caf\u00e9.png"]):
        names = output_names(pair)
        first, second = (names[path] for path in sorted(pair))
        assert first == f"{sorted(pair)[0]}.color"
        assert second.count("~") == 1 and second.endswith(".color")
        assert output_names(reversed(pair)) == names


def test_names_of_a_million_photos_are_those_of_a_few():
    """`OutputNames` keeps the rare ones only, and gives what `output_names` gives."""
    rng = np.random.default_rng(0)
    parts = ["a", "A", "b", "e\u0301", "\u00e9", "x" * 250, "a.v1", "a~" + "0" * 8]
    for variants in (0, 2):
        for _ in range(60):
            paths = list({"/".join(rng.choice(parts, rng.integers(1, 4))) for _ in range(12)})
            kept = rng.choice(paths, 3)
            known = {path: f"{path}~11111111.color" for path in kept[:2]} | {
                kept[2]: f"{kept[2]}.color"
            }
            others = [f"{path}.color" for path in rng.choice(paths, 2)]
            wanted = output_names(paths, known, others, variants)
            names = OutputNames(lambda paths=paths: paths, known, others, variants)
            assert {path: names.of(path) for path in paths} == wanted


def test_names_too_long_or_too_deep_for_a_disk_are_cut_and_stay_apart():
    long = ["d/" + "x" * 250 + f"{i}.jpg" for i in range(2)]
    deep = ["/".join(["d"] * 1000) + f"/{i}.jpg" for i in range(2)]
    names = list(output_names([*long, *deep]).values())
    assert len(set(names)) == 4
    assert all("/" not in name and len(name) <= 240 and name.endswith(".color") for name in names)


def test_an_output_lands_in_the_mirrored_tree_with_its_record(tmp_path):
    record = write_output(
        tmp_path, "box 1/a.png.color.png", lambda file: file.write(b"colour") and None
    )
    assert (tmp_path / "box 1" / "a.png.color.png").read_bytes() == b"colour"
    assert (record.path, record.bytes) == ("box 1/a.png.color.png", 6)
