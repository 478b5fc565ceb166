"""Photos and output in one another are refused, by whatever name."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import fsspec
import pytest

from storage.errors import UsageError
from storage.sources.files import write_list
from storage.sources.nesting import is_inside, refuse_nesting
from tasks.archive.workflow import archive_workflow
from tasks.config.request import ColorizeRequest
from tasks.graph import build_steps
from tasks.inbox.arrivals import look

MakePhoto = Callable[..., Path]
ROOT = Path(__file__).parents[2]


@pytest.fixture
def tree(tmp_path: Path, make_photo: MakePhoto) -> Path:
    """out/in/deep/1.jpg, and a link to each."""
    make_photo(tmp_path / "out/in/deep/1.jpg", gray=True)
    (tmp_path / "link-in").symlink_to(tmp_path / "out/in")
    (tmp_path / "link-out").symlink_to(tmp_path / "out")
    return tmp_path


@pytest.mark.parametrize("source", ["out/in", "link-in", "out/in/**/*.jpg", "link-in/deep/*.jpg"])
@pytest.mark.parametrize("output", ["out", "link-out", "out/in", "link-in/deep/new"])
def test_folders_patterns_and_links_are_refused_both_ways(
    source: str, output: str, tree: Path
) -> None:
    with pytest.raises(UsageError, match="outside") as refused:
        refuse_nesting(str(tree / source), tree / output)
    said = str(refused.value)
    assert "\n" not in said and refused.value.exit_code == 2
    assert "Choose" in said and str(tree / output) in said


def test_file_urls_and_lists_are_refused_both_ways(tree: Path) -> None:
    listed = write_list(b"deep/1.jpg\n", tree / "out/in", tree / "list.txt")
    for source in (f"file://{tree}/out/in", listed):
        with pytest.raises(UsageError, match="outside"):
            refuse_nesting(source, tree / "out")
    with pytest.raises(UsageError, match="outside"):
        refuse_nesting(str(tree / "out/in"), f"file://{tree}/out/in/new")


def test_urls_are_compared_by_where_they_lead() -> None:
    with fsspec.open("memory://nesting/out/in/1.jpg", "wb") as file:
        file.write(b"x")
    for source, output in (
        ("memory://nesting/out/in", "memory://nesting/out/"),
        ("memory:///nesting/out/in/", "memory://nesting/out/in/new"),
        ("s3://bucket/in", "s3a://bucket/in/new"),
        ("s3://bucket/out/in", "s3://bucket/out"),
    ):
        with pytest.raises(UsageError, match="outside"):
            refuse_nesting(source, output)
    refuse_nesting("s3://bucket/in", "s3://bucket/in-colour")
    refuse_nesting("s3://bucket/in", "s3://other/in/new")


def test_folders_side_by_side_and_an_archive_file_in_its_output_are_fine(tree: Path) -> None:
    refuse_nesting(str(tree / "out/in"), tree / "out-2", tree / "out/in-colour")
    (tree / "out/photos.zip").write_bytes(b"PK\x05\x06" + bytes(18))
    refuse_nesting(str(tree / "out/photos.zip"), tree / "out")


def test_config_workspace_and_inbox_go_the_same_way(tree: Path) -> None:
    with pytest.raises(UsageError, match="outside"):
        build_steps(archive_workflow(ColorizeRequest(archive=str(tree / "out/in")), tree / "out"))
    with pytest.raises(UsageError, match="outside"):
        look(tree / "out/in", tree / "out", 0)
    config = tree / "chromaflow.toml"
    for archive, output, workspace in (
        ("out/in", "out", "workspace"),
        ("out/in", "colour", "out/in/workspace"),
    ):
        config.write_text(
            f'workspace = "{workspace}"\n[archive]\npath = "{archive}"\noutput = "{output}"\n'
        )
        from tasks.config.file import load_workflow

        with pytest.raises(UsageError, match="outside"):
            build_steps(load_workflow(config))


MOUNTED = """
import sys
from pathlib import Path
from storage.sources.nesting import is_inside
root = Path(sys.argv[1])
print(is_inside(root / "elsewhere/new", root / "out/in"), is_inside(root / "elsewhere", root / "out"),
      is_inside(root / "out/in", root / "elsewhere"), is_inside(root / "deep/x", root / "out/in"),
      is_inside(root / "deep/x", root / "link-in/deep/deeper"))
"""


def test_bind_mounts_are_seen_through(tree: Path) -> None:
    """Of a folder, and of a folder in it, whose parents tell nothing."""
    for name in ("elsewhere", "deep"):
        (tree / name).mkdir()
    script = (
        f"mount --bind {tree}/out/in {tree}/elsewhere && mount --bind {tree}/out/in/deep {tree}/deep"
        f" && exec {sys.executable} -c '{MOUNTED}' {tree}"
    )
    done = subprocess.run(
        ["unshare", "-Urm", "sh", "-c", script],
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        pytest.skip(f"no mounts here: {done.stderr.strip()}")
    assert done.stdout.split() == ["True", "True", "True", "True", "False"]


def test_a_name_that_begins_alike_is_another_folder(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    assert not is_inside(tmp_path / "in-colour", tmp_path / "in")
    assert is_inside(tmp_path / "in", tmp_path / "in")
