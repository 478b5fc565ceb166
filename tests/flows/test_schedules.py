"""A schedule fires by itself, its run ends well, and the server's log holds no error.

The light form of tests/browser/test_deployments.py: a schedule of seconds on an inbox that is empty.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
import pytest
from prefect_server import prefect_server, server_errors
from strangers import lay_modules, run_in

PATIENCE = 240.0
"""Seconds; on a quiet machine 20 are enough."""


def post(address: str, path: str, body: dict[str, Any], method: str = "POST") -> Any:
    request = urllib.request.Request(
        f"{address}/api/{path}",
        data=json.dumps(body).encode(),
        headers={"Content-Type": "application/json"},
        method=method,
    )
    with urllib.request.urlopen(request, timeout=60) as response:
        content = response.read()
    return json.loads(content) if content else None


@contextmanager
def prefect_worker(folder: Path) -> Iterator[subprocess.Popen[bytes]]:
    """`prefect worker start` as the guide says it, in this folder; its words go to worker.log."""
    words = [Path(sys.executable).with_name("prefect"), "worker", "start", "--pool", "chromaflow"]
    with (folder / "worker.log").open("w") as log:
        process = subprocess.Popen(words, cwd=folder, stdout=log, stderr=log)
    try:
        yield process
    finally:
        family = psutil.Process(process.pid).children(recursive=True)
        process.send_signal(signal.SIGINT)
        try:
            process.wait(timeout=30)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        for member in psutil.wait_procs(family, timeout=5)[1]:
            member.kill()


def ended_runs(address: str) -> list[dict[str, Any]]:
    """Runs that ended, the first to start first."""
    runs = post(address, "flow_runs/filter", {"sort": "START_TIME_ASC"})
    ends = ("COMPLETED", "FAILED", "CRASHED", "CANCELLED")
    return [run for run in runs if run["start_time"] and run["state"]["type"] in ends]


def wait_for_end(address: str, worker: subprocess.Popen[bytes], state: str) -> dict[str, Any]:
    """The first run that ends so. One that would overlap is cancelled, which is no fault."""
    deadline = time.monotonic() + PATIENCE
    while True:
        found = [run for run in ended_runs(address) if run["state"]["type"] != "CANCELLED"]
        if ended := [run for run in found if run["state"]["type"] == state]:
            return ended[0]
        assert worker.poll() is None and time.monotonic() < deadline, os.getloadavg()
        time.sleep(0.5)


@pytest.mark.timeout(600)
def test_a_schedule_fires_by_itself_and_its_run_ends(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In a folder full of strangers' modules, named as ours, Prefect's and Python's; none is run."""
    monkeypatch.setenv("PREFECT_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("PYTHONPATH", raising=False)
    monkeypatch.delenv("PYTHONSAFEPATH", raising=False)
    lay_modules(tmp_path)
    (tmp_path / "server").mkdir()
    with prefect_server(tmp_path / "server") as address:
        monkeypatch.setenv("PREFECT_API_URL", f"{address}/api")
        err = run_in(tmp_path, "deploy", "watch-inbox")
        assert (tmp_path / "inbox").is_dir() and "models: starter" in err
        (deployment,) = post(address, "deployments/filter", {})  # the others were not asked for
        soon = {"schedule": {"interval": 10}, "active": True, "max_scheduled_runs": 1}
        (old,) = deployment["schedules"]
        post(address, f"deployments/{deployment['id']}/schedules", [soon])  # type: ignore[arg-type]
        post(address, f"deployments/{deployment['id']}/schedules/{old['id']}", {}, "DELETE")
        with prefect_worker(tmp_path) as worker:
            first = wait_for_end(address, worker, "COMPLETED")
            assert first["auto_scheduled"], first
            assert "Traceback" not in (tmp_path / "worker.log").read_text()
            (tmp_path / "inbox").rmdir()  # as where a disk is not mounted
            failed = wait_for_end(address, worker, "FAILED")
        assert "Expected" in failed["state"]["message"], failed
        said = (tmp_path / "worker.log").read_text()
        assert "Traceback" not in said, said
        runs = [run for run in ended_runs(address) if run["state"]["type"] == "FAILED"]
        lines = [line for line in said.splitlines() if "new photos" in line]
        assert 1 <= len(lines) <= len(runs) + 1 and "ERROR" in lines[0], lines
        assert server_errors(tmp_path / "server") == []
    assert not list(tmp_path.glob("imported-*"))
