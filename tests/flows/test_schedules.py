"""A schedule fires by itself, its run ends well, and the server's log holds no error.

The light form of tests/browser/test_deployments.py: a schedule of seconds on an inbox that is empty.
"""

from __future__ import annotations

import os
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest
from prefect_server import post, prefect_server, prefect_worker, server_errors
from strangers import lay_modules, run_in

PATIENCE = 240.0
"""Seconds; on a quiet machine 20 are enough."""


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
