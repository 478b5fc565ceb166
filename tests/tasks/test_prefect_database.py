"""A new Prefect home starts from a migrated database; the user's own settings win."""

from __future__ import annotations

import sqlite3
import time
from contextlib import closing
from pathlib import Path

import pytest

from storage.records.names import DATABASE_NAME
from tasks.prefect_server.database import provide_database


def tables(path: Path) -> dict[str, int]:
    with sqlite3.connect(path) as database:
        names = database.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall()
        return {n: database.execute(f"SELECT count(*) FROM {n}").fetchone()[0] for (n,) in names}


def test_the_second_home_gets_a_copy_of_what_the_first_one_migrated(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CHROMAFLOW_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("PREFECT_API_URL", raising=False)
    homes = [tmp_path / name for name in ("first", "second")]
    for home in homes:
        home.mkdir()
    assert provide_database(homes[0])
    started = time.monotonic()
    assert provide_database(homes[1])
    assert time.monotonic() - started < 1
    for home in homes:
        found = tables(home / DATABASE_NAME)
        assert found["alembic_version"] == 1 and found["flow_run"] == 0
        assert not provide_database(home), "what is there is left alone"
    assert [path.name[:8] for path in (tmp_path / "cache").iterdir()] == ["prefect-"]


def test_without_a_cache_or_with_a_server_of_the_users_nothing_is_provided(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("PREFECT_API_URL", raising=False)
    (tmp_path / "cache").write_text("a file, not a folder")
    monkeypatch.setenv("CHROMAFLOW_CACHE", str(tmp_path / "cache"))
    assert not provide_database(tmp_path)
    monkeypatch.setenv("CHROMAFLOW_CACHE", str(tmp_path / "other"))
    monkeypatch.setenv("PREFECT_API_URL", "http://127.0.0.1:4200/api")
    assert not provide_database(tmp_path)
    assert not (tmp_path / DATABASE_NAME).exists()


def test_a_home_whose_database_was_only_opened_gets_a_copy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CHROMAFLOW_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("PREFECT_API_URL", raising=False)
    (tmp_path / "home").mkdir()
    with closing(sqlite3.connect(tmp_path / "home" / DATABASE_NAME)) as database:
        database.execute("BEGIN IMMEDIATE")
    assert provide_database(tmp_path / "home")
    assert tables(tmp_path / "home" / DATABASE_NAME)["alembic_version"] == 1
