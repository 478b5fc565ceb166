"""Debian's chromium, a window of it that tells what its page did wrong, and what no page may run, for tests."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

CHROMIUM = shutil.which("chromium")
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--disable-background-networking"]
needs_chromium = pytest.mark.skipif(
    CHROMIUM is None and "CI_BROWSER" not in os.environ, reason="Debian's chromium is not here"
)
AXE = Path(__file__).parent / "browser/axe-core/axe.min.js"
PAYLOADS = (
    "<script>hacked=1</script>",
    "<img src=x onerror=hacked=1>",
    "<svg onload=hacked=1>",
    "\"><iframe srcdoc='<script>top.hacked=1</script>'>",
    "'-hacked=1-'",
    "javascript:hacked=1",
    "</script><script>hacked=1</script>",
    "{{constructor.constructor('hacked=1')()}}",
    "<a href=javascript:hacked=1 autofocus onfocus=hacked=1>",
    "<style>*{background:url(http://198.51.100.1/x)}</style>",
    "<meta http-equiv=refresh content=0;url=http://198.51.100.1/>",
    "\u202egnp.<b onmouseover=hacked=1>\u2028",
)


@contextmanager
def chromium() -> Iterator[Browser]:
    """A browser without windows."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield browser
        browser.close()


class Window:
    """A page in a window, and what it did that it must not do."""

    def __init__(self, browser: Browser, address: str, own: str = "", **options: Any) -> None:
        """own: what the addresses that it may ask for begin with; its own one, if not said."""
        self.context = browser.new_context(accept_downloads=True, **options)
        self.page: Page = self.context.new_page()
        self.wrongs: list[str] = []
        self.page.on("console", lambda m: self._note(m.type in ("error", "warning"), m.text))
        self.page.on("pageerror", lambda error: self._note(True, str(error)))
        self.page.on("dialog", lambda dialog: self._note(True, dialog.message))
        allowed = (own or address, "data:", "blob:")
        self.page.on("request", lambda r: self._note(not r.url.startswith(allowed), r.url))
        self.open(address)

    def _note(self, wrong: bool, text: str) -> None:
        if wrong:
            self.wrongs.append(text)

    def open(self, address: str) -> None:
        """Load a page, and wait until it is drawn."""
        self.page.goto(address)
        self.page.wait_for_selector("body[data-ready=yes]")

    def close(self) -> None:
        """Nothing wrong was done."""
        assert self.wrongs == [], self.wrongs
        self.context.close()
