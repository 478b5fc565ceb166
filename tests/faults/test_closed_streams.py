"""A reader that goes away, closed streams, a terminal that hangs up: no run fails of its words."""

from __future__ import annotations

import json
import os
import pty
import shlex
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from storage.records.tables import read_rows
from storage.records.workspace import Workspace
from tasks.engine.events import run_summary

ROOT = Path(__file__).parents[2]
COMMAND = f"{shlex.quote(sys.executable)} -c 'from flows.cli.app import main; main()'"
SHELL = ["bash", "-o", "pipefail", "-c"]
ENVIRONMENT = os.environ | {"PYTHONPATH": str(ROOT)}


def shell(line: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    """A line of bash, in which $C is the command."""
    words = line.replace("$C", COMMAND)
    return subprocess.run(
        [*SHELL, words], cwd=cwd, env=ENVIRONMENT, capture_output=True, text=True, timeout=280
    )


def state_of(root: Path) -> tuple[str, int | None]:
    summary = run_summary(Workspace(root))
    assert summary is not None
    return summary["state"], summary["exit_code"]


@pytest.mark.timeout(600)
@pytest.mark.usefixtures("shared_server")
def test_a_run_whose_words_nobody_reads_goes_on_to_its_end(project: Path) -> None:
    words = "$C ingest --only people --workers 1"
    done = shell(f"{words} 2>&1 | head -1; exit ${{PIPESTATUS[0]}}", project.parent)
    assert done.returncode == 0 and len(done.stdout.splitlines()) == 1, done
    root = project.parent / "workspace"
    assert state_of(root) == ("done", 0)
    assert (root / "current/ingest/people/_SUCCESS.json").is_file()

    done = shell(f"{words} --force --json <&- >&- 2>&-", project.parent)
    assert done.returncode == 0, done
    assert state_of(root) == ("done", 0)
    for events in root.glob("runs/*/events.jsonl"):
        for line in events.read_text().splitlines():  # no word of ours lies in a file of ours
            assert json.loads(line)["event"]


@pytest.mark.parametrize(
    ("line", "code"),
    [
        ("$C formats --markdown | head -1; exit ${PIPESTATUS[0]}", 0),
        ("$C formats >&-", 0),
        ("$C formats 2>&- <&-", 0),
        ("$C explain NO_CODE 2>&1 >&- | true; exit ${PIPESTATUS[0]}", 2),
        ("$C formats 2>/dev/full", 0),
        ("$C formats --markdown >/dev/full", 5),  # what was asked for is lost: that is an error
    ],
)
def test_exit_codes_are_the_commands_own(line: str, code: int, tmp_path: Path) -> None:
    done = shell(line, tmp_path)
    assert done.returncode == code, done
    assert "Traceback" not in done.stderr and "Exception ignored" not in done.stderr, done.stderr


@pytest.mark.slow
@pytest.mark.usefixtures("no_server")
@pytest.mark.timeout(900)
def test_a_run_whose_terminal_hangs_up_ends_as_on_ctrl_c_and_goes_on(
    tmp_path: Path, make_photo: Callable[..., Path]
) -> None:
    for i in range(12):
        make_photo(tmp_path / "in" / f"{i:02d}.png", seed=i, gray=True)
    (tmp_path / "models.toml").write_text('[archive]\npath = "in"\n[colorize]\nchunk = 1\n')
    words = f"{COMMAND} colorize in out --workers 1 --models models.toml"
    child, terminal = pty.fork()
    if child == 0:
        os.chdir(tmp_path)
        os.execve("/bin/bash", ["bash", "-c", f"exec {words}"], ENVIRONMENT)
    done = tmp_path / "out/.chromaflow/stages/colorize/archive"
    deadline = time.monotonic() + 400
    while not list(done.glob("*/done/*.json")):
        assert os.waitpid(child, os.WNOHANG) == (0, 0) and time.monotonic() < deadline
        time.sleep(0.05)
    sent = time.monotonic()
    os.close(terminal)  # the kernel sends SIGHUP to the whole foreground group
    _, status = os.waitpid(child, 0)
    print(f"ended {time.monotonic() - sent:.0f} s after the hang-up")
    assert os.waitstatus_to_exitcode(status) == 130
    assert state_of(tmp_path / "out/.chromaflow") == ("interrupted", None)
    finished = shell("$C colorize in out --workers 1 --models models.toml", tmp_path)
    assert finished.returncode == 0, finished.stderr
    assert len(list((tmp_path / "out").glob("*.color.png"))) == 12
    quarantined = Workspace(tmp_path / "out/.chromaflow").current("colorize", "archive")
    assert not read_rows(quarantined / "quarantine.parquet")
