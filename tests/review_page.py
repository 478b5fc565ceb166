"""`chromaflow review` as a process, and its log, for tests."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

from command import start


class Server:
    """The command on an output folder."""

    def __init__(self, output: Path, *words: object) -> None:
        self.process: subprocess.Popen[str] = start(
            "review", output, "--no-browser", "--json", *words
        )
        assert self.process.stdout is not None
        text, said = "", None
        while said is None:
            line = self.process.stdout.readline()
            if not line:
                raise AssertionError(self.process.communicate()[1])
            text += line
            with suppress(json.JSONDecodeError):
                said = json.loads(text)
        if "error" in said:
            raise AssertionError(self.process.communicate()[1])
        self.address: str = said["address"]
        self.port = int(self.address.split(":")[2].split("/")[0])
        self.token = self.address.rstrip("/").rpartition("/")[2]

    def kill(self) -> None:
        """As a power loss would."""
        os.kill(self.process.pid, signal.SIGKILL)
        self.process.communicate()

    def stop(self) -> str:
        """As Ctrl-C does. Returns what it said."""
        if self.process.poll() is not None:
            return ""
        os.kill(self.process.pid, signal.SIGINT)
        _, err = self.process.communicate(timeout=60)
        assert self.process.returncode == 0, (self.process.returncode, err)
        assert "Traceback" not in err, err
        return err


def lines(output: Path) -> list[dict[str, Any]]:
    """The decisions on an output, as they lie on the disk."""
    path = output / ".chromaflow/decisions.jsonl"
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def wait_for_lines(output: Path, count: int, seconds: float = 20) -> list[dict[str, Any]]:
    """Until there are so many decisions."""
    deadline = time.monotonic() + seconds
    while len(lines(output)) < count and time.monotonic() < deadline:
        time.sleep(0.05)
    found = lines(output)
    assert len(found) >= count, f"{len(found)} of {count} decisions"
    return found
