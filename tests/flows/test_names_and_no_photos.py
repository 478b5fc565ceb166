"""Names and files that are no photos, through the command: what it colours, counts and says."""

from __future__ import annotations

import json
import os
import zipfile
from pathlib import Path
from typing import Any

import pytest
from command import chromaflow
from conftest import draw_photo
from PIL import Image

from storage.records.names import STATE_NAME

pytestmark = pytest.mark.usefixtures("shared_server")

NOT_UTF_8 = os.fsdecode(b"latin \xe9\\xe9.png")
GUESSED = "--encoding NAME"


class OfJapaneseWindows(zipfile.ZipInfo):
    """A member whose name is in CP932, without the flag of UTF-8."""

    def _encodeFilenameFlags(self) -> tuple[bytes, int]:
        return self.filename.encode("cp932"), 0


def draw(path: Path, seed: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(draw_photo(seed, 64, 48)).convert("L").save(path)


def colorize(*words: object, code: int = 0) -> tuple[dict[str, Any], str]:
    """The result as JSON, and what is said beside it."""
    found, out, err = chromaflow("colorize", *words, "--workers", 1, "--json")
    assert found == code, err
    return json.loads(out), err


def coloured(out: Path) -> set[str]:
    found = (path.relative_to(out) for path in out.rglob("*") if path.is_file())
    return {str(path) for path in found if STATE_NAME not in path.parts}


def counts(result: dict[str, Any]) -> dict[str, int]:
    return next(step["counts"] for step in result["steps"] if step["step"] == "ingest/archive")


@pytest.mark.slow
def test_what_lies_beside_photos_fails_no_run_and_is_brought_back_by_its_name(
    tmp_path: Path,
) -> None:
    photos, out = tmp_path / "in", tmp_path / "out"
    draw(photos / "1931/1.png", 1)
    draw(photos / "1931/@eaDir/1.png/SYNOPHOTO_THUMB_S.png", 2)
    draw(photos / "#recycle/1931/gone.png", 3)
    beside = {
        "caption.txt": "Großmutter – “1931”".encode("cp1252"),
        "index.csv": "Käthe\n".encode("utf-16"),
        "film.mp4": b"\0\0\0\x18ftypmp42" + bytes(12),
        "odd.bin": bytes(range(256)),
        "Icon\r": b"",
        "sums.md5": b"4aded51e27a597c08fc39c319b38777b *1.png",
    }
    for name, content in beside.items():
        (photos / name).write_bytes(content)
    first, _ = colorize(photos, out)
    assert coloured(out) == {"1931/1.png.color.png"}
    assert (counts(first)["ignored"], counts(first)["system files"]) == (4, 4)
    (photos / "broken.png").write_bytes(b"no picture")
    second, _ = colorize(photos, out, code=6)
    assert [(row["path"], row["code"]) for row in second["quarantined"]] == [
        ("broken.png", "NOT_A_PHOTO")
    ]
    assert counts(second)["ignored"] == 4, "known from before, not read again"
    code, said, _ = chromaflow("explain", "NOT_A_PHOTO")
    assert code == 0 and "--exclude" in said
    third, _ = colorize(photos, out, "--include", "*.png", "--include", "#recycle/", code=6)
    assert coloured(out) == {"1931/1.png.color.png", "#recycle/1931/gone.png.color.png"}
    assert counts(third)["system files"] == 3


def test_names_that_are_not_utf_8_are_coloured_under_their_own_bytes(tmp_path: Path) -> None:
    photos, out = tmp_path / "in", tmp_path / "out"
    draw(photos / "k.png", 1)
    (photos / "k.png").rename(photos / NOT_UTF_8)
    draw(photos / "latin \\xe9\\xe9.png", 2)
    (photos / os.fsdecode(b"bad\xff.png")).write_bytes(b"no picture")
    wanted = {f"{NOT_UTF_8}.color.png", "latin \\xe9\\xe9.png.color.png"}
    first, _ = colorize(photos, out, code=6)
    assert coloured(out) == wanted
    assert [row["path"] for row in first["quarantined"]] == [os.fsdecode(b"bad\xff.png")]
    page = (out / STATE_NAME / "report/photos/000000.js").read_text("ascii")
    assert json.dumps(NOT_UTF_8)[1:-1] in page
    second, _ = colorize(photos, out, code=6)
    assert second["computed"] == 0, "its records name it as it is"
    code, said, err = chromaflow("status", out)
    assert r"bad\udcff.png" in said + err and code in (0, 6)
    code, said, err = chromaflow("verify", out)
    assert code == 0, said + err
    (photos / NOT_UTF_8).unlink()
    colorize(photos, out, "--delete", code=6)
    assert coloured(out) == {"latin \\xe9\\xe9.png.color.png"}
    bag = tmp_path / "bag"
    (photos / "latin \\xe9\\xe9.png").rename(photos / NOT_UTF_8)
    colorize(photos, bag, "--bag", code=6)
    again, _ = colorize(photos, bag, "--bag", code=6)
    assert again["computed"] == 0
    assert "data/latin \\xe9\\x5cxe9.png.color.png" in coloured(bag), "a bag's names are UTF-8"


@pytest.mark.slow
def test_names_of_a_zip_are_a_guess_that_is_said_until_their_encoding_is_told(
    tmp_path: Path,
) -> None:
    location, out = tmp_path / "sjis.zip", tmp_path / "out"
    names = ["写真/祖母.png", "写真/表ソ能.png"]
    with zipfile.ZipFile(location, "w") as archive:
        for seed, name in enumerate(names):
            draw(tmp_path / "drawn.png", seed)
            archive.writestr(OfJapaneseWindows(name), (tmp_path / "drawn.png").read_bytes())
    first, said = colorize(location, out)
    assert said.count(GUESSED) == 1 and "the names of 2 entries are a guess" in said
    assert counts(first)["names guessed"] == 2
    assert not any("写真" in name for name in coloured(out))
    second, said = colorize(location, out)
    assert second["computed"] == 0 and said.count(GUESSED) == 1, "of every run"
    right = tmp_path / "right"
    third, said = colorize(location, right, "--encoding", "cp932")
    assert coloured(right) == {f"sjis.zip/{name}.color.png" for name in names}
    assert GUESSED not in said and "names guessed" not in counts(third)
    run = json.loads((right / STATE_NAME / "report/run.json").read_bytes())
    assert "--encoding cp932" in run["commands"]["reproduce"]
    (plan,) = (right / STATE_NAME / "runs").glob("*/plan.json")
    assert json.loads(plan.read_bytes())["request"]["encoding"] == "cp932"
    code, said, err = chromaflow("plan", right)
    assert code == 0 and "up to date" in said + err or "skip" in said


def test_an_encoding_that_there_is_not_is_a_usage_error(tmp_path: Path) -> None:
    draw(tmp_path / "in/1.png", 1)
    for name in ("nonsense", "utf-16", "rot13"):
        code, _, err = chromaflow("colorize", tmp_path / "in", tmp_path / "out", "--encoding", name)
        assert code == 2 and "encoding: expected an encoding" in err and "Traceback" not in err
    assert not (tmp_path / "out").exists()
