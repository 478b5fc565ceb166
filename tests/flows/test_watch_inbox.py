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
        if path.is_file()
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
