"""Records that other runs left: every later version must read what tests/fixtures/records holds.

Written by `chromaflow colorize --uncertainty` of two photos and a torn one, as version 1 and, the
files `*-without-version`, before records had a version.
"""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from storage.errors import DamagedError
from storage.records.item_record import (
    ItemRecord,
    OutputFacts,
    each_item,
    named_files,
    read_item,
    require_item,
)
from storage.records.ledger import FileRecord, write_json
from storage.records.manifest import Quarantined
from storage.records.names import SUCCESS_NAME
from storage.records.success_record import SuccessRecord
from storage.records.workspace import Workspace
from tasks.engine.kept import STORE_NAME, keep, outputs_of, read_kept
from tasks.engine.verification import read_success, write_success

FIXTURES = Path(__file__).parents[1] / "fixtures/records"
OLD, NEW = "item-without-version.json", "item-colorize.json"


def load(name: str) -> dict[str, Any]:
    value: dict[str, Any] = json.loads((FIXTURES / name).read_text())
    return value


@pytest.mark.parametrize("name", [NEW, "item-ingest.json"])
def test_an_items_record_is_read_and_written_back_equal(tmp_path: Path, name: str) -> None:
    record = ItemRecord.from_dict(load(name))
    write_json(tmp_path / name, record.to_dict())
    assert (tmp_path / name).read_bytes() == (FIXTURES / name).read_bytes()
    assert read_item(tmp_path / name) == record == require_item(FIXTURES / name)


@pytest.mark.parametrize("name", ["success-colorize.json", "success-ingest.json"])
def test_a_success_is_read_and_written_back_equal(tmp_path: Path, name: str) -> None:
    shutil.copy(FIXTURES / name, tmp_path / SUCCESS_NAME)
    success = read_success(tmp_path)
    assert success is not None
    (tmp_path / SUCCESS_NAME).unlink()
    write_success(tmp_path, success)
    assert (tmp_path / SUCCESS_NAME).read_bytes() == (FIXTURES / name).read_bytes()


@pytest.mark.parametrize("name", [NEW, OLD])
def test_the_facts_of_an_output_are_read_and_written_back_equal(name: str) -> None:
    rows = load(name)["outputs"]
    facts = [OutputFacts.from_dict(row) for row in rows]
    assert [one.to_dict() for one in facts] == rows
    assert [(one.photo, one.bytes, one.width, one.lossless) for one in facts] == [
        ("harbour.png", 1025, 64, True),
        ("mill.png", 1003, 64, True),
    ]


def test_records_without_a_version_are_those_of_the_first(tmp_path: Path) -> None:
    assert "version" not in load(OLD) and load(NEW)["version"] == 1
    assert ItemRecord.from_dict(load(OLD)).to_dict() == load(OLD) | {"version": 1}
    shutil.copy(FIXTURES / "success-without-version.json", tmp_path / SUCCESS_NAME)
    success, before = read_success(tmp_path), load("success-without-version.json")
    assert success is not None
    del before["self"]
    assert success.to_dict() == before | {"version": 1}


def test_what_a_record_says_comes_as_objects() -> None:
    record, value = require_item(FIXTURES / NEW), load(NEW)
    assert [file.to_dict() for file in record.files] == value["files"]
    assert [file.path for file in record.extras] == [record.pack] and record.pack
    assert (record.key, record.num_photos) == (value["key"], 2)
    seen = require_item(FIXTURES / "item-ingest.json")
    assert [row["code"] for row in seen.facts["seen"]] == ["", "", "TRUNCATED"]
    assert (seen.outputs, seen.pack) == ([], "")
    row = Quarantined(path="a.jpg", code="TRUNCATED", detail="cut short", stage="colorize")
    made = ItemRecord.of("k", files=[], extras=[], num_photos=1, quarantined=[row], rows=[1])
    assert made.quarantined == [row] and made.facts["rows"] == [1]
    assert ItemRecord.from_dict(json.loads(json.dumps(made.to_dict()))) == made


def test_a_place_of_the_source_is_only_in_the_success_of_a_step_that_has_one() -> None:
    ingest = SuccessRecord.from_dict(
        {k: v for k, v in load("success-ingest.json").items() if k != "self"}
    )
    assert (ingest.source, ingest.source_from_here) == ("/tmp/h2run/in", "../../in")
    assert replace(ingest, source=None, source_from_here=None).to_dict().keys() == (
        load("success-colorize.json").keys() - {"self"}
    )


@pytest.mark.parametrize("name", [NEW, "item-ingest.json"])
def test_the_files_of_a_record_are_read_without_the_rest(tmp_path: Path, name: str) -> None:
    record = require_item(FIXTURES / name)
    assert named_files(FIXTURES / name) == (record.facts["files"], record.facts["extras"])
    odd = FileRecord('a "files": [1] "extras": [2].png', 1, "ab")
    made = ItemRecord.of("k", files=[odd, odd], extras=[odd], num_photos=1, quarantined=[])
    write_json(tmp_path / "x.json", made.to_dict())
    assert named_files(tmp_path / "x.json") == ([odd.to_dict()] * 2, [odd.to_dict()])
    for other in (load(NEW) | {"version": 2}, {"files": [], "version": 1}, {"extras": []}):
        write_json(tmp_path / "x.json", other)
        assert named_files(tmp_path / "x.json") is None


def test_a_later_version_is_refused_by_name(tmp_path: Path) -> None:
    path = tmp_path / "done" / "x.json"
    write_json(path, load(NEW) | {"version": 2})
    for read in (read_item, require_item, lambda path: list(each_item(path.parent))):
        with pytest.raises(DamagedError, match=r"Expected version 1 of .*x\.json, got 2.*Update"):
            read(path)
    with pytest.raises(DamagedError, match="got 2"):
        SuccessRecord.from_dict(load("success-colorize.json") | {"version": 2})


@pytest.mark.parametrize("version", [0, 3, "1", None, [1], "one"])
def test_only_the_known_version_is_read(version: object) -> None:
    with pytest.raises(DamagedError, match="Expected version 1 of a record"):
        ItemRecord.from_dict(load(NEW) | {"version": version})


def test_keys_that_nobody_knows_are_refused_by_the_files_name(tmp_path: Path) -> None:
    value = load(NEW)
    value["outputs"][1]["mood"] = "calm"
    write_json(tmp_path / "x.json", value)
    with pytest.raises(DamagedError, match=r"x\.json.*mood.*Update Chromaflow; or remove"):
        _ = require_item(tmp_path / "x.json").outputs
    success = load("success-colorize.json")  # with `self`, which only `read_success` takes away
    with pytest.raises(DamagedError, match="self"):
        SuccessRecord.from_dict(success, tmp_path / SUCCESS_NAME)


@pytest.mark.parametrize("key", ["key", "files", "extras", "num_photos", "quarantined"])
def test_a_record_without_a_key_is_none(tmp_path: Path, key: str) -> None:
    value = load(NEW)
    del value[key]
    write_json(tmp_path / "x.json", value)
    assert read_item(tmp_path / "x.json") is None and list(each_item(tmp_path)) == []
    with pytest.raises(DamagedError, match=key):
        ItemRecord.from_dict(value)
    with pytest.raises(DamagedError, match=r"x\.json"):
        require_item(tmp_path / "x.json")


@pytest.mark.parametrize(("key", "rows"), [("files", [{"path": "a"}]), ("quarantined", [{}])])
def test_rows_of_another_shape_are_refused_by_the_files_name(
    tmp_path: Path, key: str, rows: list[dict[str, str]]
) -> None:
    write_json(tmp_path / "x.json", load(NEW) | {key: rows})
    record = require_item(tmp_path / "x.json")
    with pytest.raises(DamagedError, match=r"x\.json"):
        getattr(record, key)


def test_a_file_keeps_what_its_record_says() -> None:
    value = {"path": "a.pt", "bytes": 3, "sha256": "00", "precision": "fp32"}
    assert FileRecord.from_dict(value) == FileRecord("a.pt", 3, "00")


def test_kept_outputs_are_read_and_written_back_equal(tmp_path: Path) -> None:
    """The facts go into the store of outputs that no step names, and come back from it."""
    workspace, folder = Workspace(tmp_path / "w"), tmp_path / "w/stages/colorize/archive/0"
    record = require_item(FIXTURES / NEW)
    keep(workspace, outputs_of(record, workspace, folder, tmp_path))
    stored = {path: path.read_bytes() for path in (workspace.root / STORE_NAME).glob("*.json")}
    kept = read_kept(workspace)
    assert [output.facts for output in kept] == record.outputs and len(stored) == 1
    assert [file for output in kept for file in output.files] == record.files
    keep(workspace, kept)
    assert {path: path.read_bytes() for path in stored} == stored
    (path,) = stored
    write_json(path, json.loads(stored[path]) | {"version": 2})
    with pytest.raises(DamagedError, match="got 2"):
        read_kept(workspace)
