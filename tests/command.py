"""The command as a user runs it, for tests: separate processes, exit codes, real files."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

COMMAND = [sys.executable, "-P", "-c", "from flows.cli.app import main; main()"]


def start(
    *words: object,
    cwd: Path | None = None,
    ahead: str = "",
    variables: Mapping[str, str] | None = None,
) -> subprocess.Popen[str]:
    """Start `chromaflow` with these words, leader of a process group of its own.

    ahead: a folder whose modules come before any others. variables: of its environment.
    """
    path = [folder for folder in (ahead, str(Path(__file__).parents[1])) if folder]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path), **(variables or {})}
    return subprocess.Popen(
        [*COMMAND, *map(str, words)],
        cwd=cwd,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def chromaflow(
    *words: object, cwd: Path | None = None, ahead: str = "", patience: float = 240
) -> tuple[int, str, str]:
    """Run it to its end, for at most `patience` seconds. Returns exit code, stdout, stderr."""
    process = start(*words, cwd=cwd, ahead=ahead)
    out, err = process.communicate(timeout=patience)
    return process.returncode, out, err


def computed(config: Path, *words: object, code: int = 0) -> dict[str, Any]:
    """Run a config and return its steps by label. Fails unless it exits with `code`."""
    found, out, err = chromaflow("run", "--config", config, "--json", *words)
    assert found == code, err
    result = json.loads(out)
    return {step["step"]: step for step in result["steps"]}


def actions(config: Path) -> dict[str, tuple[str, str]]:
    """What `plan` says of a config: action and reasons by step."""
    return planned("--config", config)


def planned(*words: object) -> dict[str, tuple[str, str]]:
    """What `plan` says, asked with these words: action and reasons by step."""
    code, out, err = chromaflow("plan", *words, "--json")
    assert code == 0, err
    return {
        row["step"]: (row["action"], "; ".join(row["reasons"])) for row in json.loads(out)["steps"]
    }


def shard_hashes(workspace: Path) -> dict[str, str]:
    """SHA-256 of every shard file of the current preprocess steps, by path."""
    shards = workspace.glob("current/preprocess/*/lab.zarr/*/c/**/0")
    return {
        str(path.relative_to(workspace)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in shards
        if path.is_file()
    }


def photo_hashes(folder: Path) -> dict[str, str]:
    """SHA-256 of every colour photo below a folder, by path."""
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in folder.rglob("*.color.png")
    }


@contextmanager
def on_the_way(holds: Callable[[], bool], act: Callable[[], None]) -> Iterator[None]:
    """Beside the block: act once a condition holds. Fails where that did not happen in time."""
    acted = threading.Event()
    over = threading.Event()

    def watch() -> None:
        while not over.is_set():
            if holds():
                act()
                acted.set()
                return
            time.sleep(0.1)

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
    assert acted.is_set(), "it was over before anything could be done to it"
