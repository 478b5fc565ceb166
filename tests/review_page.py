"""`chromaflow review` as a process, and its page in Debian's chromium, for tests."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

from command import start
from playwright.sync_api import Browser, Page

CHROMIUM = shutil.which("chromium")
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--disable-background-networking"]


class Server:
    """The command on an output folder."""

    def __init__(self, output: Path, *words: object) -> None:
        self.process: subprocess.Popen[str] = start(
            "review", output, "--no-browser", "--json", *words
        )
        assert self.process.stdout is not None
        text = ""
        while not text.rstrip().endswith("}"):
            line = self.process.stdout.readline()
            if not line:
                raise AssertionError(self.process.communicate()[1])
            text += line
        self.address: str = json.loads(text)["address"]
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


class Window:
    """The page in a window, and what it did that it must not do."""

    def __init__(self, browser: Browser, address: str, **options: Any) -> None:
        self.context = browser.new_context(accept_downloads=True, **options)
        self.page: Page = self.context.new_page()
        self.wrongs: list[str] = []
        self.page.on("console", lambda m: self._note(m.type in ("error", "warning"), m.text))
        self.page.on("pageerror", lambda error: self._note(True, str(error)))
        self.page.on("dialog", lambda dialog: self._note(True, dialog.message))
        own = (address, "data:", "blob:")
        self.page.on("request", lambda r: self._note(not r.url.startswith(own), r.url))
        self.page.goto(address)
        self.page.wait_for_selector("body[data-ready=yes]")

    def _note(self, wrong: bool, text: str) -> None:
        if wrong:
            self.wrongs.append(text)

    def close(self) -> None:
        """Nothing wrong was done."""
        assert self.wrongs == [], self.wrongs
        self.context.close()


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
