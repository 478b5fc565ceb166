"""One photo, or several, as IN; a file or stdout as OUT; the last lines of a run."""

from __future__ import annotations

import io
import json
import os
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from command import COMMAND, chromaflow
from PIL import Image

ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def without_prefect(no_server: None) -> None:
    """As for a user who asked for no server."""


def bytes_of(*words: object, cwd: Path) -> subprocess.CompletedProcess[bytes]:
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    command = [*COMMAND, *map(str, words)]
    return subprocess.run(command, cwd=cwd, env=environment, capture_output=True, timeout=240)


def test_a_photo_goes_to_a_folder_a_file_and_stdout_with_the_same_pixels(
    tmp_path: Path, make_photo: Any
) -> None:
    first = make_photo(tmp_path / "in/a.png", seed=1, gray=True)
    make_photo(tmp_path / "in/b.png", seed=2, gray=True)
    code, _, err = chromaflow("colorize", "in/a.png", "out/", cwd=tmp_path)
    assert code == 0, err
    lines = [line.strip() for line in err.splitlines()]
    assert str(tmp_path / "out") in lines and "1 photo of the archive: 1 coloured, 0 failed" in err
    assert lines[-1] == f"Next: chromaflow review {tmp_path / 'out'}"
    in_folder = (tmp_path / "out/a.png.color.png").read_bytes()

    code, _, err = chromaflow("colorize", "in/b.png", "in/a.png", "out", cwd=tmp_path)
    assert code == 0, err
    assert (tmp_path / "out/b.png.color.png").exists()
    assert (tmp_path / "out/a.png.color.png").read_bytes() == in_folder

    code, out, err = chromaflow("colorize", "in/a.png", "a-color.png", "--json", cwd=tmp_path)
    assert code == 0 and json.loads(out)["output"] == str(tmp_path / "a-color.png"), err
    made = (tmp_path / "a-color.png").read_bytes()
    assert made == in_folder
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a-color.png", "in", "out"]

    done = bytes_of("colorize", "in/a.png", "-", "--format", "jpg", "--vivid", cwd=tmp_path)
    assert done.returncode == 0, done.stderr.decode()
    with (
        Image.open(io.BytesIO(done.stdout)) as vivid,
        Image.open(tmp_path / "a-color.png") as plain,
    ):
        assert (vivid.format, vivid.size) == ("JPEG", plain.size)
        spread = [
            np.ptp(np.asarray(i.convert("RGB")).astype(int), axis=2).mean() for i in (vivid, plain)
        ]
    assert spread[0] > 1.1 * spread[1] and b"saturation 1.3" in done.stdout
    assert first.read_bytes() == make_photo(tmp_path / "again.png", seed=1, gray=True).read_bytes()


def test_what_is_there_is_refused_at_once(tmp_path: Path, make_photo: Any) -> None:
    photo = make_photo(tmp_path / "in/a.png", seed=1, gray=True)
    other = make_photo(tmp_path / "mine.png", seed=3)
    (tmp_path / "link.png").symlink_to(photo)
    before = {path: path.read_bytes() for path in (photo, other)}
    for words, named in (
        (("in/a.png", "mine.png"), "--force"),
        (("in/a.png", "in/a.png", "--force"), "never touched"),
        (("in/a.png", "link.png", "--force"), "never touched"),
        (("in/a.png", "mine.png", "in/a.png"), "a folder as OUT of 2"),
        (("in", "-"), "one photo"),
        (("in", "mine.png", "out"), "Name one folder"),
        (("in/a.png", "a.gif"), ".webp"),
        (("in/a.png", "a.png", "--format", "tif"), "--format tiff"),
        (("in/a.png", "a.png", "--variants", "2"), "Name a folder"),
        (("in/a.png", "-", "--json"), "Name a folder"),
        (("in/none.png", "out"), "in/none.png"),
    ):
        code, out, err = chromaflow("colorize", *words, cwd=tmp_path)
        assert code == 2 and named in err, (words, err)
        assert out == "" or json.loads(out)["error"]["code"] == "USAGE", out
    assert before == {path: path.read_bytes() for path in before}
    assert not (tmp_path / "out").exists()


def test_a_photo_that_is_not_coloured_says_why_and_writes_nothing(
    tmp_path: Path,
) -> None:
    blots = np.random.default_rng(4).integers(0, 255, (6, 8, 3), dtype=np.uint8)
    Image.fromarray(blots).resize((96, 80)).save(tmp_path / "colour.png")
    code, _, err = chromaflow("colorize", "colour.png", "out.png", cwd=tmp_path)
    assert code == 4 and "ALREADY_COLOR" in err and not (tmp_path / "out.png").exists()


def test_quiet_says_what_failed_and_the_next_command_leaves_it_out(
    tmp_path: Path, make_photo: Any
) -> None:
    make_photo(tmp_path / "in/a.png", seed=1, gray=True)
    (tmp_path / "in/cut.png").write_bytes(b"\x89PNG\r\n\x1a\n and no more")
    code, out, err = chromaflow("colorize", "in", "out", "--quiet", cwd=tmp_path)
    assert (code, out) == (6, "")
    assert [line.split()[0] for line in err.splitlines()] == ["failed", "TRUNCATED:"], err
    code, _, err = chromaflow("colorize", "in", "out", "-v", cwd=tmp_path)
    assert code == 6 and "run_begun" not in err and "begun by process" in err
    *_, last = err.splitlines()
    assert last == f"Next: chromaflow colorize {tmp_path}/in {tmp_path}/out --exclude /cut.png"
