"""Prefect is the control plane: what it does not take, or does not answer, fails no photo and no run."""

from __future__ import annotations

import json
import os
import signal
import socket
import threading
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import psutil
import pytest
from command import start
from prefect_server import prefect_server, server_process

from storage.records.workspace import Workspace
from tasks.engine.events import describe, find_run, read_events, run_summary


@pytest.fixture
def words(project: Path) -> tuple[object, ...]:
    """`ingest` of a project, which needs no network: seconds of work."""
    return ("ingest", "--config", project, "--workers", 1, "--json")


@contextmanager
def hanging_artifacts(server: str) -> Iterator[str]:
    """A proxy before a server that never answers what is sent to /api/artifacts."""
    host, port = server.removeprefix("http://").split(":")
    listener = socket.create_server(("127.0.0.1", 0))
    opened = [listener]

    def carry(source: socket.socket, target: socket.socket, hangs: bool) -> None:
        with suppress(OSError):
            while chunk := source.recv(1 << 16):
                if hangs and b" /api/artifacts/" in chunk.partition(b"\r\n")[0]:
                    continue
                target.sendall(chunk)
            target.shutdown(socket.SHUT_WR)

    def accept() -> None:
        with suppress(OSError):
            while True:
                client, _ = listener.accept()
                behind = socket.create_connection((host, int(port)))
                opened.extend((client, behind))
                for ends in ((client, behind, True), (behind, client, False)):
                    threading.Thread(target=carry, args=ends, daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        for end in opened:
            end.close()


def see_whole(root: Path, lost: set[str]) -> None:
    """Every step is published, the run is done, and one event names what Prefect's page lacks."""
    workspace = Workspace(root)
    assert len(list(root.glob("current/ingest/*/_SUCCESS.json"))) == 3
    summary = run_summary(workspace)
    assert summary is not None and (summary["state"], summary["exit_code"]) == ("done", 0)
    events = read_events(find_run(workspace, None))
    (incomplete,) = [event for event in events if event["event"] == "page_incomplete"]
    assert lost <= set(incomplete["lost"]), incomplete
    assert incomplete["error"] and "stages" in describe(incomplete)
    assert not [event for event in events if event["event"] == "step_failed"]


@pytest.mark.slow
@pytest.mark.usefixtures("shared_server")
def test_artifacts_that_time_out_cost_the_run_nothing(
    words: tuple[object, ...], tmp_path: Path, prefect_address: str
) -> None:
    with hanging_artifacts(prefect_address) as address:
        variables = {"PREFECT_API_URL": f"{address}/api", "PREFECT_API_REQUEST_TIMEOUT": "3"}
        process = start(*words, variables=variables)
        printed, err = process.communicate(timeout=280)
    assert process.returncode == 0, err
    assert json.loads(printed)["exit_code"] == 0
    see_whole(tmp_path / "workspace", {"progress of ingest/people", "stages"})
    with urllib.request.urlopen(
        urllib.request.Request(
            f"{prefect_address}/api/flow_runs/filter",
            data=b'{"sort": "START_TIME_DESC", "limit": 1}',
            headers={"Content-Type": "application/json"},
        )
    ) as response:
        (run,) = json.load(response)
    assert run["state"]["type"] == "COMPLETED"  # the server itself was there to the end


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("number", [signal.SIGSTOP, signal.SIGKILL], ids=["hangs", "is gone"])
def test_a_server_that_goes_in_the_middle_costs_the_run_nothing(
    words: tuple[object, ...], tmp_path: Path, number: int
) -> None:
    with prefect_server(tmp_path) as address:
        server = server_process(address)
        process = start(
            *words,
            variables={"PREFECT_API_URL": f"{address}/api", "PREFECT_API_REQUEST_TIMEOUT": "5"},
        )
        wait_for_step(process, tmp_path / "workspace")
        family = [server, *server.children(recursive=True)]
        for member in family:
            member.send_signal(number)
        sent = time.monotonic()
        try:
            printed, err = process.communicate(timeout=400)
        finally:
            for member in family:
                with suppress(psutil.NoSuchProcess):
                    member.send_signal(signal.SIGCONT)
    print(f"{time.monotonic() - sent:.0f} s after the server was gone")
    assert process.returncode == 0, err
    assert "Traceback" not in err, err
    assert json.loads(printed)["exit_code"] == 0
    see_whole(tmp_path / "workspace", {"stages"})


def wait_for_step(process: Any, root: Path) -> None:
    """Until the run works on a step."""
    deadline = time.monotonic() + 200
    while not any("step_begun" in path.read_text() for path in root.glob("runs/*/events.jsonl")):
        assert process.poll() is None and time.monotonic() < deadline, os.getloadavg()
        time.sleep(0.02)
