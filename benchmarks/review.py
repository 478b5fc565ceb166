"""The review page: 20,000 photos, from a click to new colours, keys for 100 photos, decisions obeyed.

    python benchmarks/review.py [--rows 20000] [--photos 200] [--sizes 1400x1000,4000x3000]
    python benchmarks/review.py --rows 64 --photos 14 --sizes 320x240   # the smallest

Draws its photos, runs the real commands and drives the page in Debian's chromium. Four parts, a line or
more each; prints the figures last.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import psutil
from PIL import Image
from playwright.sync_api import Page, sync_playwright
from report import write_archive

from storage.records.decisions import open_decisions
from storage.records.fingerprint import hash_file
from storage.records.names import STATE_NAME
from storage.records.workspace import Workspace
from tasks.config.model import ArchiveConfig, Workflow
from tasks.review.photos import Photos

_COMMAND = (sys.executable, "-c", "from flows.cli.app import main; main()")
_FLAGS = ("--no-sandbox", "--disable-gpu", "--disable-background-networking")
_PAINTED = "old => Number(document.body.dataset.painted || 0) > old"
_KINDS = ("approved", "rejected", "note", "palette", "hints", "like")


def main() -> None:
    """Make, look, decide, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=20_000)
    parser.add_argument("--photos", type=int, default=200)
    parser.add_argument("--sizes", default="1400x1000,4000x3000")
    parser.add_argument("--serve", type=Path, help="Serve this folder; for the program itself.")
    arguments = parser.parse_args()
    if arguments.serve:
        _serve(arguments.serve)
        return
    work = Path(tempfile.mkdtemp(prefix="chromaflow-review-"))
    try:
        lines = [f"machine: {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}"]
        lines += many(work / "many", arguments.rows)
        for size in arguments.sizes.split(","):
            lines += clicked(work / size, *map(int, size.split("x")))
        lines += reviewed(work / "reviewed", arguments.photos)
    finally:
        shutil.rmtree(work)
    print("\n".join(lines))


def many(out: Path, count: int) -> list[str]:
    """Open, scroll and filter the records of so many photos."""
    write_archive(out, count)
    with (
        _server((sys.executable, __file__, "--serve", str(out))) as (address, begun),
        _page() as page,
    ):
        started = time.monotonic()
        page.goto(address)
        page.wait_for_selector("body[data-ready=yes]", timeout=60_000)
        ready = time.monotonic() - started
        page.wait_for_timeout(1000)
        frames = page.evaluate(_SCROLL)
        filters = {}
        for name, script in _FILTERS.items():
            filters[name] = page.evaluate(
                f"async () => {{ {_TIMED} return timed(() => {{ {script} }}); }}"
            )
        resident = _renderer_mb()
        heap = page.evaluate("performance.memory.usedJSHeapSize") / 1e6
    told = ", ".join(f"{name} {ms:.0f} ms" for name, ms in filters.items())
    return [
        f"{count} photos: server ready after {begun:.1f} s, page open in {ready:.2f} s (goal: 1.5)",
        f"scrolling: {frames['frames']} frames, {frames['blanks']} of them blank, longest {frames['longest']:.0f} ms",
        f"{told} (goal: 200)",
        f"browser: heap {heap:.0f} MB, the page's process {resident:.0f} MB of its own (goal: 300)",
    ]


def clicked(folder: Path, width: int, height: int) -> list[str]:
    """From the click on a colour to the picture with it, of one photo."""
    _draw(folder / "in", 1, (width, height))
    _run("colorize", folder / "in", folder / "out", "--workers", "1")
    words = (*_COMMAND, "review", str(folder / "out"), "--no-browser", "--json")
    with _server(words) as (address, _), _page() as page:
        page.goto(address)
        page.wait_for_selector("#variants .variant", timeout=120_000)
        took = [_hint(page, 0.2 + 0.1 * turn) for turn in range(6)]
        chosen = [_until_painted(page, partial(page.keyboard.press, key)) for key in "456"]
    return [
        f"{width * height / 1e6:.1f} megapixels, from click to new colours: first hint {took[0]:.2f} s, "
        f"then median {statistics.median(took[1:]):.2f} s; another variant with hints {statistics.median(chosen):.2f} s "
        f"(goal: {1 if width * height < 2e6 else 2})"
    ]


def _hint(page: Page, across: float) -> float:
    box = page.locator("#world").bounding_box()
    assert box is not None
    page.mouse.click(box["x"] + across * box["width"], box["y"] + 0.4 * box["height"])
    return _until_painted(page, lambda: page.locator("#usual button").nth(2).click())


def _until_painted(page: Page, act: Any) -> float:
    before = page.evaluate("performance.now()")
    act()
    page.wait_for_function(_PAINTED, arg=before, timeout=60_000)
    painted = float(page.evaluate("Number(document.body.dataset.painted)"))
    return (painted - float(before)) / 1000


def reviewed(folder: Path, count: int) -> list[str]:
    """Keys for 100 photos, and what the next run makes of 30 decisions of each kind."""
    _draw(folder / "in", count, (96, 80))
    config = folder / "chromaflow.toml"
    config.write_text('[archive]\npath = "none"\n[colorize]\nshort_side = 64\n')
    out = folder / "out"
    words = ("colorize", folder / "in", out, "--models", config, "--json")
    _run(*words)
    before = _hashes(out)
    keys, seconds, num = _by_keys(out, count)
    (out / STATE_NAME / "decisions.jsonl").unlink()
    decided = _decide(out, max(1, count * 30 // 200))
    _run(*words)
    after = _hashes(out)
    wanted = {path for kind in ("palette", "hints", "like") for path in decided[kind]}
    changed = {path for path in before if before[path] != after[path]}
    _run(*words)
    again = {path for path in after if after[path] != _hashes(out)[path]}
    return [
        f"{num} photos reviewed by {keys} keys and clicks ({100 * keys / num:.0f} for 100; goal: 160), "
        f"{seconds:.0f} s by a machine",
        f"{len(decided['palette'])} decisions of each of {len(_KINDS)} kinds on {count} photos: {len(changed)} coloured "
        f"again, of {len(wanted)} that were decided so; {len(changed ^ wanted)} wrong; {len(again)} by a further run",
    ]


def _by_keys(out: Path, count: int) -> tuple[int, float, int]:
    """Of 100 photos accept 80, choose a variant for 15, give a hint to 5."""
    keys, num = 0, min(100, count)
    words = (*_COMMAND, "review", str(out), "--no-browser", "--json")
    with _server(words) as (address, _), _page() as page:
        page.goto(address)
        page.wait_for_selector("#variants .variant", timeout=120_000)
        started = time.monotonic()
        for photo in range(num):
            if photo % 20 in (3, 9, 15):
                page.wait_for_selector("#variants .variant")
                page.keyboard.press("5")
                keys += 1
            elif photo % 20 == 18:
                page.wait_for_selector("#swatches button")
                _hint(page, 0.5)
                keys += 2
            page.keyboard.press("a")
            keys += 1
        page.locator("#done", has_text=f"{num} of").wait_for()
        took = time.monotonic() - started
    return keys, took, num


def _decide(out: Path, each: int) -> dict[str, list[str]]:
    photos = sorted(
        Photos(Workspace(out / STATE_NAME)).by_id.values(), key=lambda one: one.facts.photo
    )
    changes: dict[str, dict[str, Any]] = {
        "approved": {"verdict": "approved"},
        "rejected": {"verdict": "rejected"},
        "note": {"note": "of 1931"},
        "palette": {"palette": "5"},
        "hints": {"hints": ((40.0, 40.0, 200, 40, 40),)},
        "like": {"palette": "40c0203010f0e010"},
    }
    decided: dict[str, list[str]] = {}
    with open_decisions(out) as log:
        for k, kind in enumerate(_KINDS):
            mine = photos[k * each : (k + 1) * each]
            decided[kind] = [one.facts.photo for one in mine]
            for one in mine:
                now = replace(log.decisions.of(one.photo), output=one.content, **changes[kind])
                log.write(kind, [now])
    return decided


def _hashes(out: Path) -> dict[str, str]:
    photos = Photos(Workspace(out / STATE_NAME)).by_id.values()
    return {one.facts.photo: hash_file(out / one.name) for one in photos}


def _draw(folder: Path, count: int, size: tuple[int, int]) -> None:
    """Gray photos of soft shapes."""
    folder.mkdir(parents=True)
    y, x = np.mgrid[0 : size[1], 0 : size[0]] / max(size)
    for seed in range(count):
        waves = np.sin(9 * x + seed) * np.cos(7 * y - seed) + (x * np.cos(seed) + y > 0.6)
        gray = np.clip(128 + 60 * waves, 0, 255).astype(np.uint8)
        Image.fromarray(gray).save(folder / f"{seed:03d}.jpg", quality=92)


def _run(*words: object) -> None:
    subprocess.run([*_COMMAND, *map(str, words)], check=True, capture_output=True)


@contextmanager
def _server(words: tuple[str, ...]) -> Iterator[tuple[str, float]]:
    """A server's address, and the seconds until it had one."""
    started = time.monotonic()
    process = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    assert process.stdout is not None
    text = ""
    while not text.rstrip().endswith("}"):
        text += process.stdout.readline() or sys.exit("the server did not start")
    begun = time.monotonic() - started
    try:
        yield json.loads(text)["address"], begun
    finally:
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=120)


@contextmanager
def _page() -> Iterator[Page]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path="/usr/bin/chromium", args=_FLAGS)
        yield browser.new_page(viewport={"width": 1400, "height": 900})
        browser.close()


def _renderer_mb() -> float:
    """Memory that only the page's process has, the largest of this process's browsers."""
    found = [
        child.memory_full_info().uss / 1e6
        for child in psutil.Process().children(recursive=True)
        if "--type=renderer" in child.cmdline()
    ]
    return max(found, default=0.0)


def _serve(out: Path) -> None:
    from tasks.review.server import served

    archive = ArchiveConfig(path=str(out), output=out)
    workflow = Workflow(workspace=out / STATE_NAME, archive=archive)
    with served(Workspace(workflow.workspace), workflow) as page:
        print(json.dumps({"address": page.address}), flush=True)
        page.run()


_SCROLL = """async () => {
  const list = document.getElementById('list');
  const box = list.getBoundingClientRect();
  let frames = 0, blanks = 0, longest = 0, last = performance.now();
  for (let turn = 0; turn < 120; turn += 1) {
    list.scrollTop = turn % 10 ? list.scrollTop + 400 : (list.scrollHeight * ((turn * 37) % 120)) / 120;
    await new Promise(requestAnimationFrame);
    await new Promise((resolve) => setTimeout(resolve));
    const now = performance.now();
    frames += 1;
    longest = Math.max(longest, now - last);
    last = now;
    for (const part of [0.2, 0.5, 0.8])
      if (!document.elementFromPoint(box.x + 60, box.y + part * box.height)?.closest('.cell')) {
        blanks += 1;
        break;
      }
  }
  return {frames, blanks, longest};
}"""
_TIMED = """
  const timed = (act) => new Promise((resolve) => {
    const found = document.getElementById('found');
    const begun = performance.now();
    new MutationObserver((_, observer) => {
      observer.disconnect();
      requestAnimationFrame(() => setTimeout(() => resolve(performance.now() - begun)));
    }).observe(found, {childList: true, characterData: true, subtree: true});
    act();
  });
"""
_FILTERS = {
    "search (with 80 ms of waiting for the next letter)": (
        "const s = document.getElementById('search'); s.value = 'folder 3'; s.dispatchEvent(new Event('input'));"
    ),
    "filter": (
        "const f = document.getElementById('filter'); f.value = 'open'; f.dispatchEvent(new Event('change'));"
    ),
    "least certain first": (
        "const f = document.getElementById('sort'); f.value = 'doubt'; f.dispatchEvent(new Event('change'));"
    ),
}

if __name__ == "__main__":
    main()
