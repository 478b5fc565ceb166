"""Prefect's own settings, as a user's shell may hold them: what cannot work is one line at once."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable
from pathlib import Path
from time import monotonic

import prefect
import pytest
from command import start
from prefect_server import free_port, server_saying

ADVICE = ("Correct", "Set ", "Choose", "unset", "Install")


@pytest.fixture
def archive(tmp_path: Path, make_photo: Callable[..., Path], ephemeral_server: None) -> Path:
    make_photo(tmp_path / "in" / "a.png", gray=True)
    (tmp_path / "a file").write_text("where a folder is wanted")
    return tmp_path


def refused(folder: Path, code: int, variables: dict[str, str], *words: str) -> str:
    """What `colorize` says under these variables: one line after that it starts, in under 5 s on a quiet
    machine."""
    begun = monotonic()
    process = start(*(words or ("colorize", "in", "out")), cwd=folder, variables=variables)
    _, err = process.communicate(timeout=120)
    seconds = monotonic() - begun
    assert process.returncode == code, err
    first, _, rest = err.partition("\n")
    err = rest if first.startswith("Starting colorize") else err
    assert len(err.splitlines()) == 1 and "Traceback" not in err, err
    assert any(advice in err for advice in ADVICE), err
    assert seconds < 5 * max(1.0, os.getloadavg()[0]), (seconds, err)
    assert not list(folder.glob("out/*.png"))
    return err


@pytest.mark.parametrize(
    ("name", "value", "named"),
    [
        ("PREFECT_LOGGING_LEVEL", "WRONG", "CRITICAL"),
        ("PREFECT_SERVER_API_PORT", "abc", "integer"),
        ("PREFECT_API_DATABASE_CONNECTION_URL", "sqlite+aiosqlite:////no/such/p.db", "unable"),
        ("PREFECT_API_DATABASE_CONNECTION_URL", "sqlite:///p.db", "sqlite+aiosqlite"),
        ("PREFECT_SERVER_DATABASE_CONNECTION_URL", "postgresql+asyncpg://u:pw@127.0.0.1:1/p", "1"),
        ("PREFECT_HOME", "a file/home", "another folder"),
    ],
)
def test_a_setting_that_cannot_work_is_named(
    archive: Path, name: str, value: str, named: str
) -> None:
    err = refused(archive, 2, {name: value})
    assert name in err and named in err, err
    assert "pw@" not in err, "a password is nobody's to read"


@pytest.mark.parametrize(
    "name", ["PREFECT_SERVER_ALLOW_EPHEMERAL_MODE", "PREFECT_SERVER_EPHEMERAL_ENABLED"]
)
def test_a_database_without_a_server_is_named(
    archive: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.delenv("PREFECT_SERVER_ALLOW_EPHEMERAL_MODE")
    url = f"sqlite+aiosqlite:///{archive / 'p.db'}"
    err = refused(archive, 2, {name: "false", "PREFECT_API_DATABASE_CONNECTION_URL": url})
    assert name in err and "PREFECT_API_URL" in err


def test_a_file_that_is_no_database_is_named(archive: Path) -> None:
    (archive / "p.db").write_bytes(b"no database " * 100)
    url = f"sqlite+aiosqlite:///{archive / 'p.db'}"
    assert "not a database" in refused(archive, 2, {"PREFECT_API_DATABASE_CONNECTION_URL": url})


def test_a_wrong_setting_in_a_file_is_named_by_its_key(archive: Path) -> None:
    (archive / "prefect.toml").write_text('[logging]\nlevel = "WRONG"\n')
    assert "level" in refused(archive, 2, {}, "deploy")
    (archive / "prefect.toml").write_text("[logging\n")
    assert "prefect.toml" in refused(archive, 2, {})


def test_a_home_on_a_read_only_file_system_is_named(archive: Path) -> None:
    home = archive / "home"
    home.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "ro", "none", str(home)]
    if subprocess.run(command, capture_output=True).returncode:
        pytest.skip("this user may not mount")
    try:
        err = refused(archive, 2, {"PREFECT_HOME": str(home)})
        assert "PREFECT_HOME" in err and "Read-only" in err
    finally:
        subprocess.run(["umount", str(home)], check=True)


MAJOR, MINOR = (int(part) for part in prefect.__version__.split(".")[:2])


@pytest.mark.parametrize(
    "version", [f"{MAJOR - 1}.99.0", f"{MAJOR}.{MINOR - 1}.0", f"{MAJOR + 1}.0.0"]
)
def test_a_server_of_another_version_is_refused(archive: Path, version: str) -> None:
    with server_saying(json.dumps(version)) as url:
        err = refused(archive, 3, {"PREFECT_API_URL": url})
    assert version in err and "PREFECT_API_URL" in err and f"prefect=={prefect.__version__}" in err


def test_a_server_that_is_another_program_or_says_nothing_is_named(archive: Path) -> None:
    with server_saying("<html>", "text/html") as url:
        assert "PREFECT_API_URL" in refused(archive, 3, {"PREFECT_API_URL": url})
    url = f"http://127.0.0.1:{free_port()}/api"
    assert url in refused(archive, 3, {"PREFECT_API_URL": url})
