"""`chromaflow deploy` and `serve` on a real Prefect server."""

from __future__ import annotations

import json
import resource
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from command import chromaflow, start
from prefect_server import free_port, post, prefect_server

from tasks.prefect_server.deployments import PACKAGED


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    with prefect_server(tmp_path) as address:
        monkeypatch.setenv("PREFECT_API_URL", f"{address}/api")
        monkeypatch.setenv("PREFECT_HOME", str(tmp_path / "home"))
        yield address


def call(server: str, method: str, path: str, body: dict[str, Any] | None = None) -> Any:
    return post(server, path, body, method)


def deploy(*words: object, cwd: Path) -> dict[str, tuple[str, str]]:
    """What became of each thing: action and detail."""
    code, out, err = chromaflow("deploy", "--json", *words, cwd=cwd)
    assert code == 0, err
    return {row["what"]: (row["action"], row["detail"]) for row in json.loads(out)["changes"]}


def test_deploying_again_changes_what_differs_and_leaves_the_rest(
    server: str, tmp_path: Path
) -> None:
    first = deploy(cwd=tmp_path)
    missing = first.pop("chromaflow.toml")
    assert missing[0] == "missing" and "nightly-preprocess, weekly-train" in missing[1]
    assert len(first) == 8 and {action for action, _ in first.values()} == {"created"}
    assert (tmp_path / "inbox").is_dir()
    assert first["deployment watch-inbox/watch-inbox"][1] == "*/10 * * * * UTC, models: starter"
    (tmp_path / "chromaflow.toml").touch()
    weekly = call(server, "GET", "deployments/name/pipeline/weekly-train")
    schema = weekly["parameter_openapi_schema"]["properties"]
    assert all(parameter["description"] for parameter in schema.values())
    assert weekly["pull_steps"][0].popitem()[1] == {"directory": str(tmp_path)}
    queue = call(server, "GET", "work_pools/chromaflow/queues/gpu")
    assert queue["concurrency_limit"] == 1 and weekly["work_queue_name"] == "gpu"

    again = deploy(cwd=tmp_path)
    assert {action for action, _ in again.values()} == {"left"}
    unchanged = call(server, "GET", "deployments/name/pipeline/weekly-train")
    assert unchanged["updated"] == weekly["updated"]

    call(server, "PATCH", f"deployments/{weekly['id']}", {"paused": True})
    automation = call(server, "POST", "automations/filter")[0]
    call(server, "PATCH", f"automations/{automation['id']}", {"enabled": False})
    changed = PACKAGED.read_text().replace("0 2 * * 6", "0 4 * * 6")
    (tmp_path / "prefect.yaml").write_text(changed)
    third = deploy("--gpu-runs", 3, cwd=tmp_path)
    differing = {what: detail for what, (action, detail) in third.items() if action != "left"}
    assert differing == {
        "work queue chromaflow/gpu": "1 → 3 at a time",
        "deployment pipeline/weekly-train": "schedules",
    }
    weekly = call(server, "GET", "deployments/name/pipeline/weekly-train")
    assert weekly["paused"] and weekly["schedules"][0]["schedule"]["cron"] == "0 4 * * 6"
    assert not call(server, "GET", f"automations/{automation['id']}")["enabled"]


@pytest.mark.slow
def test_a_deployment_with_an_unknown_parameter_or_flow_is_refused(
    server: str, tmp_path: Path
) -> None:
    before = call(server, "POST", "deployments/filter")
    for old, new, named in (
        ("until_stage: preprocess", "until: preprocess", "until_stage"),
        ("flows.colorize.colorize_flow", "flows.colorize.no_flow", "MODULE.FLOW"),
    ):
        (tmp_path / "prefect.yaml").write_text(PACKAGED.read_text().replace(old, new))
        code, _, err = chromaflow("deploy", cwd=tmp_path)
        assert code == 2 and named in err, err
    assert call(server, "POST", "deployments/filter") == before


@pytest.mark.slow
def test_deployments_are_chosen_by_name(server: str, tmp_path: Path) -> None:
    for command in ("deploy", "serve"):
        begun = resource.getrusage(resource.RUSAGE_CHILDREN)
        code, _, err = chromaflow(command, "watch-inbox", "watch", cwd=tmp_path)
        ended = resource.getrusage(resource.RUSAGE_CHILDREN)
        assert code == 2 and "got watch." in err and "colorize-archive, watch-inbox" in err, err
        assert ended.ru_utime - begun.ru_utime < 1, "nothing slow is imported"
    changed = PACKAGED.read_text().replace("models: null", "models: chromaflow.toml")
    (tmp_path / "prefect.yaml").write_text(changed)
    done = deploy("watch-inbox", cwd=tmp_path)
    assert done["chromaflow.toml"][0] == "missing" and "watch-inbox" in done["chromaflow.toml"][1]
    assert "models: chromaflow.toml" in done["deployment watch-inbox/watch-inbox"][1]
    watch = call(server, "GET", "deployments/name/watch-inbox/watch-inbox")
    assert watch["parameters"] == {
        "inbox": "inbox",
        "output": "inbox-colour",
        "models": "chromaflow.toml",
    }
    (tmp_path / "inbox").rmdir()
    (tmp_path / "inbox").write_text("no folder")
    (tmp_path / "prefect.yaml").write_text(changed.replace("inbox: inbox ", "inbox: inbox/new "))
    code, _, err = chromaflow("deploy", "watch-inbox", cwd=tmp_path)
    assert code == 2 and "inbox/new" in err and "prefect.yaml" in err, err


@pytest.mark.slow
def test_without_a_server_the_command_that_starts_one_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PREFECT_HOME", str(tmp_path))
    for url in ("", f"http://127.0.0.1:{free_port()}/api"):
        monkeypatch.setenv("PREFECT_API_URL", url)
        for command in ("deploy", "serve"):
            code, _, err = chromaflow(command, cwd=tmp_path)
            assert code == 3 and "prefect server start" in err, err


def test_a_remote_server_without_authentication_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PREFECT_HOME", str(tmp_path))
    monkeypatch.setenv("PREFECT_API_URL", "http://prefect.example:4200/api")
    code, _, err = chromaflow("deploy", cwd=tmp_path)
    assert code == 2 and "PREFECT_API_AUTH_STRING" in err, err


@pytest.mark.slow
def test_a_server_that_refuses_the_password_is_a_usage_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PREFECT_SERVER_API_AUTH_STRING", "user:right")
    monkeypatch.setenv("PREFECT_HOME", str(tmp_path / "home"))
    with prefect_server(tmp_path) as address:
        monkeypatch.setenv("PREFECT_API_URL", f"{address}/api")
        monkeypatch.setenv("PREFECT_API_AUTH_STRING", "user:wrong")
        code, _, err = chromaflow("deploy", cwd=tmp_path)
        assert code == 2 and "credentials" in err, err
        monkeypatch.setenv("PREFECT_API_AUTH_STRING", "user:right")
        code, _, err = chromaflow("deploy", cwd=tmp_path)
        assert code == 0, err


def test_serve_runs_a_deployment_without_a_pool(server: str, tmp_path: Path) -> None:
    never = PACKAGED.read_text().replace("*/10 * * * *", "0 0 1 1 *")
    (tmp_path / "prefect.yaml").write_text(never)
    serving = start("serve", cwd=tmp_path)
    try:
        deadline = time.monotonic() + 120
        while len(found := call(server, "POST", "deployments/filter")) < 4:
            assert serving.poll() is None and time.monotonic() < deadline
            time.sleep(0.5)
        (watch,) = [d for d in found if d["name"] == "watch-inbox"]
        assert watch["work_pool_name"] is None
        run = call(server, "POST", f"deployments/{watch['id']}/create_flow_run")
        while (state := call(server, "GET", f"flow_runs/{run['id']}")["state"])["type"] not in (
            "COMPLETED",
            "FAILED",
            "CRASHED",
            "CANCELLED",
        ):
            assert serving.poll() is None and time.monotonic() < deadline
            time.sleep(0.5)
        assert state["type"] == "COMPLETED", state
    finally:
        serving.send_signal(signal.SIGINT)
        serving.communicate(timeout=60)
    paused = call(server, "POST", "deployments/filter")
    assert all(deployment["paused"] for deployment in paused)
