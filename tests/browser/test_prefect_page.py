"""A flow run against a real Prefect server, looked at in Debian's chromium."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from browser_window import chromium, needs_chromium
from prefect_server import prefect_server

pytestmark = pytest.mark.browser
ROOT = Path(__file__).parents[2]


@pytest.fixture
def server(tmp_path: Path) -> Iterator[str]:
    with prefect_server(tmp_path) as address:
        yield address


def post(server: str, path: str) -> Any:
    request = urllib.request.Request(
        f"{server}/api/{path}", data=b"{}", headers={"Content-Type": "application/json"}
    )
    with urllib.request.urlopen(request, timeout=20) as response:
        return json.load(response)


@pytest.mark.slow
@needs_chromium
def test_the_run_its_tasks_and_artifacts_are_on_the_server_and_its_page(
    server: str, project: Path
) -> None:
    environment = os.environ | {"PREFECT_API_URL": f"{server}/api", "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", "from flows.cli.app import main; main()"]
    words = ["run", "--config", str(project), "--until", "preprocess"]
    done = subprocess.run([*command, *words], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    run = post(server, "flow_runs/filter")[0]
    assert run["state"]["type"] == "COMPLETED"
    names = {task["name"] for task in post(server, "task_runs/filter")}
    assert names == {
        "ingest-people",
        "ingest-places",
        "ingest-archive",
        "preprocess-people",
        "preprocess-places",
    }
    keys = {artifact["key"] for artifact in post(server, "artifacts/filter")}
    assert {"stages", "progress-preprocess-people"} <= keys
    with chromium() as browser:
        page = browser.new_page(viewport={"width": 1280, "height": 900})
        page.goto(f"{server}/runs/flow-run/{run['id']}")
        page.get_by_text(run["name"]).first.wait_for(timeout=60_000)
        screenshot = project.parent / "flow-run.png"
        page.screenshot(path=screenshot)
        page.get_by_text("Task Runs", exact=True).first.click()
        page.get_by_text("preprocess-people").first.wait_for(timeout=30_000)
        page.screenshot(path=screenshot)
    assert screenshot.stat().st_size > 10_000
