"""The run report's rows and files, on outputs that the stages make in this process."""

from __future__ import annotations

import base64
import csv
import io
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from colorizing import colorize_here
from conftest import draw_photo
from PIL import Image

from colorization.categories import CATEGORY_NAMES
from colorization.colour.lab import rgb_to_lab
from colorization.metrics.distances import colourfulness, delta_e_2000
from storage.errors import OutputError, UsageError
from storage.pictures.thumbnails import read_pack
from storage.records.ledger import read_json, write_json
from storage.records.manifest import MANIFEST_COLUMNS, QUARANTINE_COLUMNS
from storage.records.names import STATE_NAME
from storage.records.safe_csv import safe_cell
from storage.records.tables import read_rows, write_table
from storage.records.workspace import Workspace
from tasks.config.request import ColorizeRequest
from tasks.queries.outputs_check import verify_outputs
from tasks.report.changes import compare_archives
from tasks.report.commands import reproduce_command
from tasks.report.pages import PAGE_ROWS, PhotoPages
from tasks.report.rows import COLUMNS, read_archive
from tasks.report.writer import Report, renew_report, write_report

NUM_GRAY = 5


def gray(seed: int) -> Image.Image:
    return Image.fromarray(draw_photo(seed, 96, 80)).convert("L")


@pytest.fixture(scope="module")
def originals(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Gray photos, one with a caption, one toned; one in colour, one cut short, one with a formula."""
    folder = tmp_path_factory.mktemp("in")
    for seed in range(NUM_GRAY - 1):
        gray(seed).save(folder / f"{seed}.png")
    exif = Image.Exif()
    exif[270], exif[315], exif[306] = "Market square", "E. Smith", "1931:05:02 10:00:00"
    gray(9).save(folder / "caption.jpg", exif=exif)
    colour = np.zeros((80, 96, 3), np.uint8)
    colour[:, :48], colour[:, 48:], colour[::9] = (200, 40, 30), (20, 60, 210), (40, 190, 60)
    Image.fromarray(colour).save(folder / "colour.png")
    whole = (folder / "caption.jpg").read_bytes()
    (folder / "cut.jpg").write_bytes(whole[: len(whole) // 2])
    (folder / "=SUM(A1).png").write_bytes(b"no photo")
    return folder


@pytest.fixture(scope="module")
def made(originals: Path, cluster: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The photos coloured, with uncertainty."""
    out = tmp_path_factory.mktemp("colour") / "out"
    colorize_here(cluster, originals, out, settings={"uncertainty": True})
    return out


@pytest.fixture
def out(made: Path, tmp_path: Path) -> Path:
    """A copy to change."""
    return Path(shutil.copytree(made, tmp_path / "out", symlinks=True))


def report(out: Path, **options: Any) -> Report:
    return write_report(Workspace(out / STATE_NAME), output=str(out), **options)


def table(written: Report) -> dict[str, dict[str, Any]]:
    """photos.parquet by path; nulls are None."""
    rows = pd.read_parquet(written.folder / "photos.parquet")
    found = rows.astype(object).where(rows.notna(), None).to_dict("records")
    return {row["path"]: row for row in found}


def test_every_photo_has_a_row_with_what_was_recorded_of_it(made: Path, originals: Path) -> None:
    written = report(made)
    rows = table(written)
    assert written.counts == {"coloured": NUM_GRAY, "failed": 2, "skipped": 1, "waiting": 0}
    assert list(pd.read_parquet(written.folder / "photos.parquet").columns) == list(COLUMNS)
    row = rows["caption.jpg"]
    assert (row["description"], row["artist"], row["date"]) == (
        "Market square",
        "E. Smith",
        "1931:05:02 10:00:00",
    )
    shares = [row[name] for name in COLUMNS if name.startswith("share_")]
    assert sum(shares) == pytest.approx(1, abs=0.003)
    assert row["seconds"] > 0 and row["uncertainty"] > 0
    assert (row["width"], row["height"], row["format"]) == (96, 80, "JPEG")
    output = (made / row["output"]).read_bytes()
    assert row["output_bytes"] == len(output)
    assert (made / row["uncertainty_map"]).exists()
    assert rows["colour.png"]["reason"] == "ALREADY_COLOR"
    assert rows["cut.jpg"]["reason"] == "TRUNCATED" and rows["cut.jpg"]["seconds"] is None


def test_what_is_measured_is_that_of_the_output(made: Path, originals: Path) -> None:
    for path, row in table(report(made)).items():
        if not path.endswith(".png") or row["status"] != "coloured":
            continue
        before = np.asarray(Image.open(originals / path))
        after = np.asarray(Image.open(made / row["output"]))
        assert row["colourfulness"] == pytest.approx(colourfulness(after), rel=0.02)
        L_before = rgb_to_lab(np.repeat(before[..., None], 3, axis=2))[0]
        most = float(np.abs(rgb_to_lab(after)[0] - L_before).max())
        assert row["max_dL"] == pytest.approx(most, abs=0.06)


def test_the_small_pictures_are_those_of_the_photo(made: Path, originals: Path) -> None:
    written = report(made)
    row = table(written)["1.png"]
    pictures = read_pack(written.folder / "thumbnails" / f"{row['pack']}.js")[int(row["picture"])]
    assert set(pictures) == {"before", "after", "segments", "uncertainty"}
    for kind, path in (("before", originals / "1.png"), ("after", made / row["output"])):
        small, whole = (
            np.asarray(Image.open(file).convert("RGB"), np.float64)
            for file in (io.BytesIO(pictures[kind]), path)
        )
        assert small.shape == whole.shape, "smaller photos are not enlarged"
        assert np.abs(small - whole).mean() < 6


def test_failures_csv_names_the_remedy_and_holds_no_formula(made: Path) -> None:
    written = report(made)
    with (written.folder / "failures.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["path"] for row in rows] == ["'=SUM(A1).png", "cut.jpg"]
    assert rows[1]["remedy"].startswith("Copy it again")
    assert rows[1]["retry"] == f"chromaflow retry {made} --reason TRUNCATED"


@pytest.mark.parametrize("start", ["=", "+", "-", "@", "\t", "\r", "  ="])
def test_a_cell_that_begins_a_formula_is_text(start: str) -> None:
    shown = start.replace("\t", r"\t").replace("\r", r"\r")
    assert safe_cell(f"{start}1") == f"'{shown}1"
    assert safe_cell(f"a{start}1") == f"a{shown}1"


def test_run_json_says_models_commands_and_reasons(made: Path) -> None:
    written = report(made)
    run = json.loads((written.folder / "run.json").read_text())
    assert set(run["models"]["experts"]) == set(run["categories"])
    assert all(len(model["sha256"]) == 64 for model in run["models"]["experts"].values())
    assert [reason["status"] for reason in run["reasons"]] == ["failed", "failed", "skipped"]
    assert run["outputs_at"] == "../../" and (written.folder / run["outputs_at"]).samefile(made)
    assert run["bytes"]["report"] == pytest.approx(written.bytes, rel=0.05)


def test_an_older_run_without_measures_leaves_cells_empty(out: Path) -> None:
    for path in (out / STATE_NAME / "current/colorize/archive/done").glob("0*.json"):
        record = read_json(path)
        assert record is not None
        record["extras"] = []
        for facts in record["outputs"]:
            for name in ("shares", "colourfulness", "uncertainty", "max_dL", "seconds", "said"):
                del facts[name]
        write_json(path, record)
    rows = table(report(out))
    row = rows["1.png"]
    assert row["status"] == "coloured" and row["output_sha256"]
    empty = ("colourfulness", "uncertainty", "max_dL", "seconds", "pack", "share_people")
    assert [row[name] for name in empty] == [None] * len(empty)


def test_verify_finds_nothing_wrong_beside_a_report(out: Path) -> None:
    report(out)
    assert verify_outputs(out).damaged == []


def test_a_photo_that_is_not_coloured_yet_is_waiting(
    originals: Path, cluster: str, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    colorize_here(cluster, originals, out, include=["[0-3].png"])
    workspace = Workspace(out / STATE_NAME)
    manifest = workspace.current("ingest", "archive").resolve() / "manifest.parquet"
    rows = read_rows(manifest)
    rows[1]["sha256"] = "0" * 64
    write_table(manifest, rows, MANIFEST_COLUMNS)
    assert table(report(out))[rows[1]["path"]]["status"] == "waiting", "coloured from other bytes"
    workspace.unset_current("colorize", "archive")
    written = report(out)
    assert written.counts == {"coloured": 0, "failed": 0, "skipped": 0, "waiting": 4}
    with pytest.raises(UsageError, match="read at least once"):
        write_report(Workspace(tmp_path / "nothing"))


def test_a_run_that_changes_nothing_keeps_the_page(out: Path) -> None:
    workspace = Workspace(out / STATE_NAME)
    write_json(workspace.runs / "20260101T000000-aaaaaa/plan.json", {"steps": [], "request": None})
    write_json(
        workspace.runs / "20260101T000000-aaaaaa/run.json",
        {"run_id": "20260101T000000-aaaaaa", "exit_code": 6, "failures": []},
    )
    page = renew_report(workspace, str(out), 6)
    before = (page.parent / "run.json").stat().st_mtime_ns
    assert renew_report(workspace, str(out), 6) == page
    assert (page.parent / "run.json").stat().st_mtime_ns == before
    renew_report(workspace, str(out), 0)
    assert (page.parent / "run.json").stat().st_mtime_ns != before


def test_the_report_keeps_no_picture_of_photos_that_are_gone(out: Path) -> None:
    shutil.rmtree(out / STATE_NAME / "report", ignore_errors=True)
    written = report(out)
    stray = written.folder / "thumbnails/0123456789abcdef.js"
    stray.write_text("")
    (kept,) = [path for path in stray.parent.iterdir() if path != stray]
    inode = kept.stat().st_ino
    report(out)
    assert not stray.exists() and kept.stat().st_ino == inode
    assert any(
        path.stat().st_ino == inode for path in (out / STATE_NAME / "stages").rglob("thumbnails/*")
    ), "a hard link"


def test_a_folder_of_somebody_else_and_a_full_disk_are_refused(made: Path, tmp_path: Path) -> None:
    (tmp_path / "site").mkdir()
    (tmp_path / "site/index.html").write_text("mine")
    with pytest.raises(UsageError, match="an empty folder"):
        report(made, folder=tmp_path / "site")
    assert [path.name for path in (tmp_path / "site").iterdir()] == ["index.html"]
    report(made, folder=tmp_path / "copy")
    report(made, folder=tmp_path / "copy")
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="another folder"):
        report(made, folder=tmp_path / "file")


def test_text_from_outside_is_escaped_in_every_script(out: Path) -> None:
    folder = (out / STATE_NAME / "current/ingest/archive").resolve()
    rows = read_rows(folder / "quarantine.parquet")
    rows[0]["detail"] = "</script><script>alert(1)</script>\u2028\u202e"
    write_table(folder / "quarantine.parquet", rows, QUARANTINE_COLUMNS)
    written = report(out)
    for name in ("run.js", "photos.js", "photos/000000.js"):
        text = (written.folder / name).read_bytes()
        assert text.isascii() and b"<" not in text


class PageOfScripts:
    """The functions and values that the report's scripts hand to the page, read as the page reads them."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.index = json.loads(self._inside("photos.js", " = ", ";"))

    def _inside(self, name: str, start: str, end: str) -> str:
        text = (self._folder / name).read_text("ascii")
        return text[text.index(start) + len(start) : text.rindex(end)]

    def rows(self) -> list[dict[str, Any]]:
        """All rows, page after page; a column that a page leaves out is null."""
        found = []
        for number in range(-(-self.index["count"] // self.index["rows"])):
            name = f"{number:06d}"
            called, columns = json.loads(f"[{self._inside(f'photos/{name}.js', '(', ')')}]")
            assert called == name
            count = min(self.index["rows"], self.index["count"] - len(found))
            values = {
                key: one if isinstance(one, list) else [one["values"][c] for c in one["codes"]]
                for key, one in columns.items()
            }
            assert {len(one) for one in values.values()} == {count}
            found += [{key: one[k] for key, one in values.items()} for k in range(count)]
        return found

    def key(self, name: str) -> list[float]:
        """A column to choose and sort by."""
        called, (kind, content) = json.loads(f"[{self._inside(f'keys/{name}.js', '(', ')')}]")
        assert called == name
        types = {"Uint8Array": "u1", "Int8Array": "i1", "Uint32Array": "<u4"}
        types |= {"Float32Array": "<f4", "Float64Array": "<f8"}
        return np.frombuffer(base64.b64decode(content), types[kind]).tolist()


def test_the_page_is_given_every_row_in_parts_and_columns_to_sort_by(tmp_path: Path) -> None:
    count = 2 * PAGE_ROWS + 3
    rows: list[dict[str, Any]] = [
        {
            "path": f"box/{i * 7919 % count}.jpg",
            "status": "failed" if i % 3 == 0 else "coloured",
            "reason": ("TRUNCATED", "DAMAGED")[i % 2] if i % 3 == 0 else None,
            "sha256": f"{i:064x}"[::-1],
            "share_people": 0.25,
            "share_places": 0.75 if i % 3 else None,
            "uncertainty": None if i == 5 else i / 2,
        }
        for i in range(count)
    ]
    for again in range(2):  # the second time fewer rows: what is left of the first goes
        written = rows[: count - again * PAGE_ROWS]
        pages = PhotoPages(tmp_path)
        for row in written:
            pages.add(row)
        pages.close()
        page = PageOfScripts(tmp_path)
        found = page.rows()
        assert [{k: v for k, v in row.items() if v is not None} for row in found] == [
            {k: v for k, v in row.items() if v is not None} for row in written
        ]
        assert len(list((tmp_path / "photos").iterdir())) == 3 - again
        statuses, reasons = page.index["statuses"], page.index["reasons"]
        assert [statuses[int(code)] for code in page.key("status")] == [
            r["status"] for r in written
        ]
        named = [reasons[int(code)] if code < len(reasons) else None for code in page.key("reason")]
        assert named == [row["reason"] for row in written] and reasons == sorted(reasons)
        numbers = [int(row["path"][4:-4]) for row in written]
        ranks = page.key("path")
        assert [numbers[i] for i in np.argsort(ranks)] == sorted(numbers), "2 before 10"
        assert np.isnan(page.key("uncertainty")[5]) and page.key("uncertainty")[7] == 3.5
        assert page.key("most")[:2] == [
            CATEGORY_NAMES.index("people"),
            CATEGORY_NAMES.index("places"),
        ]
        assert "colourfulness" not in page.index["keys"]


def test_rows_come_in_the_order_of_the_manifest_whatever_the_order_of_the_records(
    out: Path,
) -> None:
    """A photo that another position's chunk coloured; one that no manifest names any more."""
    before = [row["path"] for row in read_archive(Workspace(out / STATE_NAME)).rows()]
    folder = (out / STATE_NAME / "current/ingest/archive").resolve()
    rows = read_rows(folder / "manifest.parquet")
    gone = rows.pop(0)["path"]
    write_table(folder / "manifest.parquet", rows[::-1], MANIFEST_COLUMNS)
    now = list(read_archive(Workspace(out / STATE_NAME)).rows())
    paths = [row["path"] for row in now]
    assert paths[: len(rows)] == [row["path"] for row in rows[::-1]]
    assert paths[len(rows)] == gone and sorted(paths) == sorted(before)
    assert {row["status"] for row in now[: len(rows) + 1]} == {"coloured", "skipped"}


def test_commands_are_quoted_for_a_shell() -> None:
    request = ColorizeRequest(
        archive="/in put",
        include=("*.tif",),
        encoding="cp932",
        bag=True,
        settings={"merge": "hard", "uncertainty": True, "accept": ["BILEVEL"], "label": None},
    )
    assert reproduce_command(request, "/o;ut") == (
        "chromaflow colorize '/in put' '/o;ut' --include '*.tif' --merge hard --accept BILEVEL "
        "--uncertainty --encoding cp932 --bag"
    )
    assert reproduce_command(None, None) == "chromaflow run"


def test_two_outputs_are_compared(
    made: Path, originals: Path, cluster: str, tmp_path: Path
) -> None:
    other = tmp_path / "other"
    colorize_here(
        cluster,
        originals,
        other,
        exclude=["3.png"],
        settings={"accept": ["ALREADY_COLOR"], "abstain": 0.5},
    )
    now, before = Workspace(other / STATE_NAME), Workspace(made / STATE_NAME)
    changes = compare_archives(now, before, str(made))
    summary = changes.summary
    assert (summary["compared"], summary["colours"], summary["equal"]) == (4, 4, 0)
    assert (summary["removed"], summary["added"], summary["status"]) == (1, 0, 1)
    rows = {row["path"]: row for row in changes.rows}
    assert (rows["colour.png"]["status_before"], rows["colour.png"]["status"]) == (
        "skipped",
        "coloured",
    )
    first, second = (
        rgb_to_lab(np.asarray(Image.open(out / "1.png.color.png").resize((307, 256)))).transpose(
            1, 2, 0
        )
        for out in (made, other)
    )
    expected = float(delta_e_2000(first, second).mean())
    assert rows["1.png"]["mean_dE00"] == pytest.approx(expected, rel=0.05)
    order = [row.get("mean_dE00") or 0 for row in changes.rows]
    assert order == sorted(order, reverse=True) and len(changes.pictures) == 4
    written = report(other, changes=changes)
    assert (written.folder / "changes.js").exists()
    assert len((written.folder / "changes.csv").read_text().splitlines()) == 1 + len(changes.rows)
    report(other)
    assert not (written.folder / "changes.js").exists()


def test_outputs_of_other_photos_are_not_compared(made: Path, cluster: str, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    gray(50).save(tmp_path / "in/elsewhere.png")
    colorize_here(cluster, tmp_path / "in", tmp_path / "out")
    with pytest.raises(UsageError, match="no path in common"):
        compare_archives(
            Workspace(tmp_path / "out" / STATE_NAME), Workspace(made / STATE_NAME), "made"
        )


def test_an_output_is_the_same_as_itself(made: Path) -> None:
    workspace = Workspace(made / STATE_NAME)
    changes = compare_archives(workspace, workspace, "itself")
    assert changes.rows == [] and changes.summary["equal"] == NUM_GRAY
