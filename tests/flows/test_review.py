"""What was decided in a review, and what the next run makes of it."""

from __future__ import annotations

import csv
import hashlib
import json
from pathlib import Path

import numpy as np
import pytest
from colorizing import colorize_here
from command import chromaflow
from conftest import draw_photo
from PIL import Image
from review_log import decide, outputs_by_photo

from storage.records.decisions import read_decisions
from storage.records.names import SHEET_NAME
from storage.records.tables import read_rows
from storage.records.workspace import Workspace
from storage.sources.bags import check_bag
from tasks.archive.decided import review_counts
from tasks.engine.retry import Retry
from tasks.report.rows import read_archive

NUM_PHOTOS = 24
SMALL = {"short_side": 64}


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    root = tmp_path / "in"
    for seed in range(NUM_PHOTOS):
        path = root / f"album {seed % 2}" / f"{seed:03d}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(draw_photo(seed)).convert("L").save(path)
    return root


def hashes(output: Path) -> dict[str, str]:
    """SHA-256 of every colour photo, by its original."""
    return {
        photo: hashlib.sha256((output / one.name).read_bytes()).hexdigest()
        for photo, one in outputs_by_photo(output).items()
    }


def changed(before: dict[str, str], after: dict[str, str]) -> set[str]:
    assert before.keys() == after.keys()
    return {photo for photo in before if before[photo] != after[photo]}


def names(first: int, last: int) -> list[str]:
    return [f"album {seed % 2}/{seed:03d}.png" for seed in range(first, last)]


def test_decided_photos_are_coloured_again_and_no_others(
    cluster: str, archive: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    colorize_here(cluster, archive, out, settings=SMALL)
    first = hashes(out)
    decide(out, names(0, 3), hints=((40.0, 40.0, 220, 30, 30),))
    decide(out, names(3, 6), palette="5")
    decide(out, names(6, 9), verdict="approved")
    decide(out, names(9, 12), verdict="rejected", note="too brown")
    assert review_counts(Workspace(out / ".chromaflow"), out) == {
        "approved": 3,
        "rejected": 3,
        "to be coloured again": 6,
        "with a note": 3,
    }
    colorize_here(cluster, archive, out, settings=SMALL)
    second = hashes(out)
    assert changed(first, second) == set(names(0, 6))
    assert review_counts(Workspace(out / ".chromaflow"), out).get("to be coloured again") is None
    times = {p: (out / o.name).stat().st_mtime_ns for p, o in outputs_by_photo(out).items()}
    colorize_here(cluster, archive, out, settings=SMALL)
    assert hashes(out) == second, "the third run has nothing to do"
    assert times == {p: (out / o.name).stat().st_mtime_ns for p, o in outputs_by_photo(out).items()}
    rows = {row["path"]: row for row in read_archive(Workspace(out / ".chromaflow")).rows()}
    assert rows[names(6, 7)[0]]["decision"] == "approved"
    assert rows[names(9, 10)[0]]["note"] == "too brown"
    assert len(rows[names(3, 4)[0]]["palette"]) == 16


def test_what_is_taken_back_is_as_before(cluster: str, archive: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    colorize_here(cluster, archive, out, settings=SMALL)
    first = hashes(out)
    decide(out, names(0, 2), hints=((40.0, 40.0, 220, 30, 30),))
    colorize_here(cluster, archive, out, settings=SMALL)
    assert changed(first, hashes(out)) == set(names(0, 2))
    decide(out, names(0, 2), hints=())
    colorize_here(cluster, archive, out, settings=SMALL)
    assert hashes(out) == first


def test_approved_photos_stay_whatever_changes_until_a_run_is_forced(
    cluster: str, archive: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    colorize_here(cluster, archive, out, settings=SMALL)
    first = hashes(out)
    decide(out, names(0, 4), verdict="approved")
    decide(out, names(4, 6), verdict="approved", palette="7")
    other = SMALL | {"palette": "9"}
    colorize_here(cluster, archive, out, settings=other)
    second = hashes(out)
    assert changed(first, second) == set(names(4, NUM_PHOTOS))
    colorize_here(cluster, archive, out, settings=other | {"palette": "11"})
    third = hashes(out)
    assert changed(second, third) == set(names(6, NUM_PHOTOS)), "as decided, and approved"
    decide(out, names(0, 1), verdict="")
    colorize_here(cluster, archive, out, settings=other | {"palette": "11"})
    assert changed(third, hashes(out)) == set(names(0, 1)), "it is no longer approved"


def merged_on_sheet(out: Path, row: int) -> np.ndarray:
    """The cell of the merged colours of a photo of 96 × 80 pixels."""
    with Image.open(out / ".chromaflow/current/colorize/archive" / SHEET_NAME) as sheet:
        pixels = np.asarray(sheet.convert("RGB"))
    top, left = 30 + row * (80 + 30), 8 + 3 * 232 + (224 - 96) // 2
    return pixels[top : top + 80, left : left + 96].astype(int)


def test_the_sheet_shows_what_is_in_the_files_of_approved_photos(
    cluster: str, archive: Path, tmp_path: Path
) -> None:
    out, settings = tmp_path / "out", SMALL | {"sheet": 3}
    colorize_here(cluster, archive, out, settings=settings)
    before = [merged_on_sheet(out, row) for row in range(2)]
    decide(out, names(0, 1), verdict="approved")
    for palette in ("9", "11"):  # the second run knows the photo from the first's records
        colorize_here(cluster, archive, out, settings=settings | {"palette": palette})
        with Image.open(out / outputs_by_photo(out)[names(0, 1)[0]].name) as photo:
            written = np.asarray(photo.convert("RGB")).astype(int)
        shown = merged_on_sheet(out, 0)
        assert np.abs(shown - written).max() == 0
        assert np.abs(merged_on_sheet(out, 1) - before[1]).max() > 8, "by the settings"
    decide(out, names(0, 1), verdict="")
    colorize_here(cluster, archive, out, settings=settings | {"palette": "11"})
    assert np.abs(merged_on_sheet(out, 0) - shown).max() > 8, "it is no longer approved"


@pytest.mark.timeout(900)
@pytest.mark.usefixtures("shared_server")
def test_the_commands_obey_say_and_export(archive: Path, tmp_path: Path) -> None:
    config = tmp_path / "chromaflow.toml"
    config.write_text('[archive]\npath = "none"\n[colorize]\nshort_side = 64\n')
    out = tmp_path / "out"
    words = ("colorize", archive, out, "--models", config, "--workers", "1", "--json")
    code, _, err = chromaflow(*words)
    assert code == 0, err
    first = hashes(out)
    decide(out, names(0, 2), palette="5", verdict="approved")
    decide(out, names(2, 4), verdict="approved")
    code, text, err = chromaflow("status", out, "--json")
    assert code == 0, err
    assert json.loads(text)["review"] == {"approved": 2, "to be coloured again": 2}
    code, text, err = chromaflow("plan", out)
    assert "file changed: decisions" in text, err
    code, text, err = chromaflow("retry", out, "--workers", "1", "--json")
    assert code == 0, err
    assert changed(first, hashes(out)) == set(names(0, 2)), "retry obeys too"
    second = hashes(out)
    code, text, err = chromaflow(*words)
    assert {s["step"]: s["computed"] for s in json.loads(text)["steps"]}["colorize/archive"] == 0
    code, text, err = chromaflow(
        "export", out, tmp_path / "bag", "--only", "approved", "--bag", "--json"
    )
    assert code == 0, err
    assert json.loads(text)["photos"] == 4 and json.loads(text)["left_out"] == NUM_PHOTOS - 4
    check_bag(tmp_path / "bag")
    assert len(list((tmp_path / "bag/data").rglob("*.color.png"))) == 4
    code, _, err = chromaflow("export", out, tmp_path / "bag", "--only", "approved")
    assert code == 2 and "Expected an empty folder" in err
    code, _, err = chromaflow("review", out, "--csv", tmp_path / "decisions.csv")
    assert code == 0, err
    with (tmp_path / "decisions.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [row["decision"] for row in rows] == ["approved"] * 4
    assert [row["coloured"] for row in rows] == ["yes"] * 4
    report = read_rows(out / ".chromaflow/report/photos.parquet")
    assert sum(row["decision"] == "approved" for row in report) == 4
    code, _, err = chromaflow(*words, "--force")
    assert code == 0, err
    assert hashes(out) == second, "the same colours again, forced"
    assert read_decisions(out).number == 2
    code, _, err = chromaflow("verify", out)
    assert code == 0, err


def test_a_retry_keeps_what_is_approved(cluster: str, archive: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    (archive / "broken.png").write_bytes(b"no photo")
    colorize_here(cluster, archive, out, settings=SMALL)
    first = hashes(out)
    decide(out, names(0, 4), verdict="approved")
    colorize_here(cluster, archive, out, retry=Retry.of(["NOT_A_PHOTO"]), settings=SMALL)
    assert hashes(out) == first
