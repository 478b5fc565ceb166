"""What a command starts: nothing of Prefect where nobody asked for it, and the same run either way."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from command import chromaflow

from tasks.prefect_server.asked import is_asked_for

ROOT = Path(__file__).parents[2]
RUN = """
import json, sys
from flows.cli.app import main
try:
    main()
finally:
    found = {name.partition(".")[0] for name in sys.modules}
    print(json.dumps(sorted(found & {"prefect", "torch", "uvicorn"})), file=sys.stderr)
"""


@pytest.fixture
def archive(tmp_path: Path, make_photo: Callable[..., Path]) -> Path:
    """Three gray photos and one that is cut short."""
    for seed in range(3):
        photo = make_photo(tmp_path / "in" / f"{seed}.png", seed=seed, gray=True)
    (tmp_path / "in" / "cut.png").write_bytes(photo.read_bytes()[:99])
    return tmp_path / "in"


def run(*words: object) -> tuple[int, dict[str, Any], list[str]]:
    """Exit code, JSON and lines on stderr of a command that says last what it has imported."""
    done = subprocess.run(
        [sys.executable, "-c", RUN, *map(str, words), "--json"],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=280,
    )
    assert done.stdout, done.stderr
    return done.returncode, json.loads(done.stdout), done.stderr.splitlines()


def outputs(folder: Path) -> dict[str, str]:
    return {p.name: hashlib.sha256(p.read_bytes()).hexdigest() for p in folder.glob("*.png")}


def on_server(address: str, what: str) -> list[dict[str, Any]]:
    """All of these that a server keeps."""
    request = urllib.request.Request(
        f"{address}/api/{what}/filter", b"{}", {"Content-Type": "application/json"}
    )
    with urllib.request.urlopen(request, timeout=30) as response:
        found: list[dict[str, Any]] = json.load(response)
    return found


@pytest.mark.slow
def test_a_run_without_prefect_is_the_run_that_a_server_shows(
    archive: Path, tmp_path: Path, no_server: None, prefect_address: str
) -> None:
    plain, served = tmp_path / "plain", tmp_path / "served"
    code, result, said = run("colorize", archive, plain)
    assert code == 6 and json.loads(said[-1]) == [], said
    assert said[0].startswith("Starting colorize")
    assert not list(plain.rglob("prefect.db"))

    before = {row["id"] for row in on_server(prefect_address, "flow_runs")}
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PREFECT_API_URL", f"{prefect_address}/api")
        code, same, said = run("colorize", archive, served)
    assert code == 6 and json.loads(said[-1]) == ["prefect"], said
    (flow,) = [r for r in on_server(prefect_address, "flow_runs") if r["id"] not in before]
    assert flow["state"]["type"] == "COMPLETED"
    tasks = [r for r in on_server(prefect_address, "task_runs") if r["flow_run_id"] == flow["id"]]
    assert {(r["name"].rpartition("-")[0], r["state"]["type"]) for r in tasks} <= {
        ("ingest", "COMPLETED"),
        ("ingest-archive", "COMPLETED"),
        ("colorize", "COMPLETED"),
        ("colorize-archive", "COMPLETED"),
    }
    assert len(tasks) == 2

    assert outputs(plain) == outputs(served) and len(outputs(plain)) == 3
    assert result["quarantined"] == same["quarantined"] and len(result["quarantined"]) == 1
    for key in ("computed", "exit_code", "outputs"):
        assert result[key] == same[key]
    logs = [chromaflow("log", "--output", out)[1].splitlines() for out in (plain, served)]
    events = [[line.split()[1:3] for line in log if " item " not in line] for log in logs]
    assert [len(log) for log in logs][0] == len(logs[1]) and events[0][1:] == events[1][1:]


def test_a_step_that_fails_has_its_exit_code_and_line_without_prefect(
    tmp_path: Path, no_server: None
) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.txt").write_text("no photo")
    code, _, err = chromaflow("colorize", tmp_path / "in", tmp_path / "out")
    assert (
        code == 4 and "FAILED colorize/archive: Expected photos" in err and "Traceback" not in err
    )


@pytest.mark.parametrize(
    ("variables", "file", "expected"),
    [
        ({}, "", False),
        ({"PREFECT_LOGGING_LEVEL": "DEBUG"}, "", False),
        ({"PREFECT_API_URL": "http://127.0.0.1:4200/api"}, "", True),
        ({"PREFECT_API_URL": ""}, "", False),
        ({"PREFECT_SERVER_EPHEMERAL_ENABLED": "true"}, "", True),
        ({"PREFECT_SERVER_ALLOW_EPHEMERAL_MODE": "false"}, "", False),
        ({"PREFECT_API_DATABASE_CONNECTION_URL": "sqlite+aiosqlite:///p.db"}, "", True),
        ({"PREFECT_PROFILES_PATH": "profiles.toml"}, "profiles.toml", True),
        ({"PREFECT_HOME": "."}, "profiles.toml", True),
        ({"PREFECT_HOME": "elsewhere"}, "profiles.toml", False),
        ({}, "prefect.toml", True),
        ({}, ".env", True),
        ({}, "pyproject.toml", True),
    ],
)
def test_prefect_is_asked_for_by_a_server_a_database_or_a_file(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    variables: dict[str, str],
    file: str,
    expected: bool,
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(os, "environ", dict(variables))
    (tmp_path / "pyproject.toml").write_text("[tool.other]\n")
    if file:
        (tmp_path / file).write_text("[tool.prefect]\nPREFECT_API_URL = 'http://x/api'\n")
    assert is_asked_for() is expected
