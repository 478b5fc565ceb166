"""The watch-inbox flow: only what is new is coloured, and a look where nothing came computes nothing."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
WATCH = """
import json, sys
from dataclasses import asdict
from flows.watch_inbox import watch_inbox_flow
seen = watch_inbox_flow(inbox="inbox", output="out", settle_seconds=0.2, workers=1)
print(json.dumps(asdict(seen)))
"""


def watch(folder: Path) -> dict[str, object]:
    """Run the flow in a process of its own, as a Prefect worker does."""
    done = subprocess.run(
        [sys.executable, "-c", WATCH],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=240,
    )
    assert done.returncode == 0, done.stderr
    report: dict[str, object] = json.loads(done.stdout.splitlines()[-1])
    return report


def hashes(folder: Path) -> dict[str, str]:
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*.png"))
        if path.is_file() and ".chromaflow" not in path.parts
    }


@pytest.mark.usefixtures("shared_server")
def test_each_look_colours_what_is_new(tmp_path: Path, make_photo: Callable[..., Path]) -> None:
    inbox, output = tmp_path / "inbox", tmp_path / "out"
    for number in range(3):
        make_photo(inbox / f"{number}.png", seed=number, gray=True)
    before = hashes(inbox)
    (inbox / "broken.png").write_bytes((inbox / "0.png").read_bytes()[:100])
    first = watch(tmp_path)
    codes = {f"{number}.png": "coloured" for number in range(3)} | {"broken.png": "TRUNCATED"}
    assert first["outcomes"] == codes and first["computed"] != 0
    coloured = {path: path.stat().st_mtime_ns for path in output.glob("*.png")}
    assert len(coloured) == 3

    assert watch(tmp_path) == {"outcomes": {}, "computed": 0}

    make_photo(inbox / "later" / "new.png", seed=9, gray=True)
    third = watch(tmp_path)
    assert third["outcomes"] == {"later/new.png": "coloured"}
    assert (output / "later" / "new.png.color.png").exists()
    assert coloured == {path: path.stat().st_mtime_ns for path in coloured}
    assert {name: hash_ for name, hash_ in hashes(inbox).items() if name in before} == before

    whole = hashes(output)
    (inbox / "0.png").unlink()
    make_photo(inbox / "last.png", seed=11, gray=True)
    assert watch(tmp_path)["outcomes"] == {"last.png": "coloured"}
    left = hashes(output)
    assert {path: left[path] for path in whole} == whole and "last.png.color.png" in left


@pytest.mark.slow
@pytest.mark.usefixtures("shared_server")
def test_a_photo_that_leaves_the_inbox_leaves_its_colour_copy(
    tmp_path: Path, make_photo: Callable[..., Path]
) -> None:
    inbox, output = tmp_path / "inbox", tmp_path / "out"
    for number in range(2):
        make_photo(inbox / "a" / f"scan[{number}].png", seed=number, gray=True)
    watch(tmp_path)
    first = hashes(output)
    copy = "a/scan[0].png.color.png"
    (inbox / "a" / "scan[0].png").unlink()
    make_photo(inbox / "b.png", seed=5, gray=True)
    assert watch(tmp_path)["outcomes"] == {"b.png": "coloured"}
    second = hashes(output)
    assert {path: second[path] for path in first} == first and "b.png.color.png" in second

    make_photo(inbox / "a" / "scan[0].png", seed=7, gray=True)  # another photo of the same name
    assert watch(tmp_path)["outcomes"] == {"a/scan[0].png": "coloured"}
    third = hashes(output)
    earlier = f"a/scan[0].png~{first[copy][:8]}.color.png"
    assert third[earlier] == first[copy] and third[copy] != first[copy]
    assert third.keys() - second.keys() == {earlier}
    assert not (output / ".chromaflow" / "kept").exists()
