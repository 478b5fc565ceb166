"""Which records `forget` deletes, and what a kill in the middle of it leaves."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from storage.errors import UsageError
from storage.records.item_record import ItemRecord
from storage.records.ledger import read_json, record_path, write_json
from storage.records.manifest import (
    MANIFEST_COLUMNS,
    QUARANTINE_COLUMNS,
    SEEN_COLUMNS,
    Quarantined,
)
from storage.records.names import GENERATION_NAME, MANIFEST_NAME, SEEN_NAME
from storage.records.tables import read_rows, write_table
from tasks.engine.retry import Retry, find_again, forget
from tasks.ingest import _BASIS_NAME


def write_record(folder: Path, name: str, *codes: str, kind: str = "quarantined") -> None:
    rows = [
        Quarantined(path=f"{name}-{i}", code=c, detail="", stage="") for i, c in enumerate(codes)
    ]
    facts = {kind: [row.to_dict() for row in rows]} if kind != "quarantined" else {}
    record = ItemRecord.of(
        "", files=(), extras=(), num_photos=0, quarantined=() if facts else rows, **facts
    )
    write_json(record_path(folder, name), record.to_dict())


def names(folder: Path) -> set[str]:
    return {path.stem for path in (folder / "done").glob("*.json")}


def row(columns: Mapping[str, str], **values: Any) -> dict[str, Any]:
    return dict.fromkeys(columns) | {"code": ""} | values


@pytest.fixture
def ingested(tmp_path: Path) -> Path:
    """What a second generation of ingest leaves: a basis, two records, three tables."""
    codes = {"old": "", "older": "TRUNCATED", "new": "", "gone": "UNREADABLE"}
    seen = [row(SEEN_COLUMNS, path=path, code=code) for path, code in codes.items()]
    manifest = [
        row(MANIFEST_COLUMNS, path=path, position=place)
        for path, place in (("old", 0), ("new", 256))
    ]
    for folder, rows, num, positions in (
        (tmp_path / _BASIS_NAME, seen[:2], 1, 1),
        (tmp_path, seen, 2, 257),
    ):
        write_table(folder / SEEN_NAME, rows, SEEN_COLUMNS)
        write_table(folder / MANIFEST_NAME, manifest[:num], MANIFEST_COLUMNS)
        generation = {"generation": num, "positions": {"all": positions}}
        write_json(folder / GENERATION_NAME, generation)
    write_record(tmp_path, "a", "", kind="seen")
    write_record(tmp_path, "b", "UNREADABLE", kind="seen")
    return tmp_path


def test_only_items_that_hold_wanted_photos_are_forgotten(tmp_path: Path) -> None:
    write_record(tmp_path, "good")
    write_record(tmp_path, "passing", "TRUNCATED", "CRASHED")
    write_record(tmp_path, "lasting", "TRUNCATED")
    write_record(tmp_path, "sheet")
    assert forget(tmp_path, "preprocess", Retry.of(["EMPTY"]), published=True) == set()
    assert forget(tmp_path, "colorize", Retry(), published=True) == {"passing", "sheet"}
    assert names(tmp_path) == {"good", "lasting"}
    assert forget(tmp_path, "preprocess", Retry.of(["TRUNCATED"]), published=True) == {"lasting"}


def test_without_a_code_only_what_may_have_passed_is_wanted(tmp_path: Path) -> None:
    rows = [row(QUARANTINE_COLUMNS, path=c, code=c) for c in ("CRASHED", "EMPTY", "DUPLICATE")]
    write_table(tmp_path / "quarantine.parquet", rows, QUARANTINE_COLUMNS)
    assert find_again(tmp_path, Retry()) == ("to try again: CRASHED 1",)
    assert find_again(tmp_path, Retry.of(["EMPTY"])) == ("to try again: EMPTY 1",)
    assert find_again(tmp_path, Retry.of(["RANGE"])) == ()
    with pytest.raises(UsageError, match="OUT_OF_MEMORY"):
        Retry.of(["SOMETHING"])


@pytest.mark.parametrize(
    ("code", "left"),
    [("UNREADABLE", {"old", "older", "new"}), ("TRUNCATED", {"old", "new", "gone"})],
)
def test_ingest_looks_at_these_photos_alone_and_all_others_keep_their_positions(
    ingested: Path, code: str, left: set[str]
) -> None:
    assert forget(ingested, "ingest", Retry.of([code]), published=True) == {"a", "b"}
    basis = ingested / _BASIS_NAME
    assert {seen["path"] for seen in read_rows(basis / SEEN_NAME)} == left
    kept = {photo["path"]: photo["position"] for photo in read_rows(basis / MANIFEST_NAME)}
    assert kept == {"old": 0, "new": 256}
    assert read_json(basis / GENERATION_NAME) == {"generation": 2, "positions": {"all": 257}}


def test_an_ingest_that_was_interrupted_keeps_its_basis(ingested: Path) -> None:
    assert forget(ingested, "ingest", Retry(), published=False) == {"b"}
    assert len(read_rows(ingested / _BASIS_NAME / SEEN_NAME)) == 2
    assert names(ingested) == {"a"}


def test_whenever_forgetting_is_killed_no_position_was_given_twice(
    ingested: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After each write, the basis knows of every position that its manifest holds."""
    import tasks.engine.retry

    basis, checked = ingested / _BASIS_NAME, []

    def checking(write: Any) -> Any:
        def do(*arguments: Any) -> None:
            write(*arguments)
            given = (read_json(basis / GENERATION_NAME) or {})["positions"]["all"]
            assert all(photo["position"] < given for photo in read_rows(basis / MANIFEST_NAME))
            checked.append(given)

        return do

    monkeypatch.setattr(tasks.engine.retry, "write_table", checking(tasks.engine.retry.write_table))
    monkeypatch.setattr(
        tasks.engine.retry.ledger, "write_json", checking(tasks.engine.retry.ledger.write_json)
    )
    forget(ingested, "ingest", Retry(), published=True)
    assert checked == [257, 257, 257]
