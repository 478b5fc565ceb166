"""Two runs on one output, Ctrl-C and SIGTERM: what a user may count on (R10, R11)."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest
from command import chromaflow, start
from killing import listening_ports, see_all_gone

from storage.records.workspace import Workspace
from tasks.engine.events import find_run, read_events, run_summary

NUM_PHOTOS = 40


@pytest.fixture
def archive(tmp_path: Path, make_photo: Any) -> Path:
    """Gray photos, in chunks of four by the config beside them."""
    for i in range(NUM_PHOTOS):
        make_photo(tmp_path / "in" / f"{i:03d}.png", seed=i, gray=True)
    (tmp_path / "models.toml").write_text('[archive]\npath = "in"\n[colorize]\nchunk = 4\n')
    return tmp_path / "in"


def colorize_words(archive: Path, out: Path) -> tuple[object, ...]:
    models = archive.parent / "models.toml"
    return ("colorize", archive, out, "--workers", 1, "--models", models, "--json")


def most_seconds() -> float:
    """10 s; more where processes wait for a core."""
    return 10 * max(1.0, os.getloadavg()[0] / (os.cpu_count() or 1))


def wait_for_items(process: subprocess.Popen[str], out: Path, num_items: int) -> None:
    """Until so many chunks are done."""
    deadline = time.monotonic() + 200
    done = out / ".chromaflow/stages/colorize/archive"
    while len(list(done.glob("*/done/*.json"))) < num_items:
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.02)


def finish(archive: Path, out: Path) -> dict[str, Any]:
    """The same command again, to its end."""
    code, printed, err = chromaflow(*colorize_words(archive, out))
    assert code == 0, err
    result: dict[str, Any] = json.loads(printed)
    return result


@pytest.mark.usefixtures("shared_server")
@pytest.mark.timeout(600)
def test_of_two_runs_on_one_output_one_works_and_a_killed_holder_needs_no_unlocking(
    archive: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    holder = start(*colorize_words(archive, out))
    wait_for_items(holder, out, 1)
    started = time.monotonic()
    code, _, err = chromaflow(*colorize_words(archive, out))
    assert code == 8 and str(holder.pid) in err
    assert time.monotonic() - started < most_seconds() / 2
    os.killpg(holder.pid, signal.SIGKILL)
    holder.communicate()
    assert finish(archive, out)["computed"] > 0
    assert len(list(out.glob("*.color.png"))) == NUM_PHOTOS


@pytest.mark.timeout(600)
@pytest.mark.parametrize(
    ("signals", "expected"),
    [
        pytest.param([signal.SIGINT], 130, id="Ctrl-C"),
        pytest.param(
            [signal.SIGINT, signal.SIGINT], 130, id="Ctrl-C twice", marks=pytest.mark.slow
        ),
        pytest.param(  # 143 for a shell
            [signal.SIGTERM], -signal.SIGTERM, id="SIGTERM", marks=pytest.mark.slow
        ),
    ],
)
@pytest.mark.parametrize(
    "server", [pytest.param("shared_server", marks=pytest.mark.slow), "no_server"]
)
def test_an_interrupted_run_says_so_ends_soon_and_goes_on(
    archive: Path,
    tmp_path: Path,
    signals: list[int],
    expected: int,
    server: str,
    request: pytest.FixtureRequest,
) -> None:
    request.getfixturevalue(server)
    out = tmp_path / "out"
    process = start(*colorize_words(archive, out))
    wait_for_items(process, out, 2)
    ports = listening_ports(process.pid)
    assert ports, "the Dask scheduler listens"
    sent = time.monotonic()
    for number in signals:
        if number == signal.SIGINT:  # a terminal sends it to the whole group
            os.killpg(process.pid, number)
        else:
            process.send_signal(number)
        time.sleep(0.3)
    _, err = process.communicate(timeout=60)
    seconds = time.monotonic() - sent
    assert process.returncode == expected, err[-3000:]
    assert seconds < most_seconds()
    assert ("run the same command to go on" in err) == (signal.SIGINT in signals)
    assert "Traceback" not in err
    see_all_gone(process.pid, ports)
    workspace = Workspace(out / ".chromaflow")
    summary = run_summary(workspace)
    assert summary is not None and summary["state"] == "interrupted"
    assert read_events(find_run(workspace, None))[-1]["event"] == "run_ended"
    done = len(list(out.glob(".chromaflow/stages/colorize/archive/*/done/*.json")))
    assert 2 <= done < NUM_PHOTOS // 4
    result = finish(archive, out)
    steps = {step["step"]: step["computed"] for step in result["steps"]}
    assert steps == {"ingest/archive": 0, "colorize/archive": NUM_PHOTOS // 4 + 1 - done}
    print(f"{seconds:.1f} s after the signal; {done} chunks kept")
