"""The run report of a large archive: building, memory, size, first paint, scrolling.

    python benchmarks/report.py [--rows 50000]
    python benchmarks/report.py --rows 64   # the smallest

Writes the records of a colorized archive, as the stages would: chunks of 32 photos with pictures of
their own, failures and skipped photos among them. Then runs `chromaflow report OUT` in a process of
its own and opens the page in Debian's chromium, scrolls the table by the wheel and by jumps and looks
at every frame whether a row is drawn everywhere in the window. Prints the figures last.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from playwright.sync_api import Page, sync_playwright

from colorization.categories import CATEGORY_NAMES
from storage.pictures.thumbnails import small_jpeg, write_pack
from storage.records.fingerprint import hash_file
from storage.records.item_record import ItemRecord, OutputFacts
from storage.records.ledger import FileRecord, record_path, write_json
from storage.records.manifest import MANIFEST_COLUMNS, QUARANTINE_COLUMNS
from storage.records.names import STATE_NAME
from storage.records.success_record import SuccessRecord
from storage.records.tables import write_table
from storage.records.workspace import Workspace
from tasks.engine.verification import write_success
from tasks.weights.models import segmenter_file, starter_file

_CHUNK = 32
_FAILED, _SKIPPED = ("TRUNCATED", "DAMAGED", "NOT_A_PHOTO"), ("ALREADY_COLOR", "BILEVEL")
_COMMAND = (sys.executable, "-c", "from flows.cli.app import main; main()", "report")
_FLAGS = ("--no-sandbox", "--disable-gpu", "--disable-background-networking")
_WATCH = """
() => {
  const box = document.getElementById('scroller').getBoundingClientRect();
  self.seen = {frames: 0, blanks: 0, longest: 0, last: performance.now(), go: true};
  const look = (now) => {
    if (!self.seen.go) return;
    self.seen.frames += 1;
    self.seen.longest = Math.max(self.seen.longest, now - self.seen.last);
    self.seen.last = now;
    for (let part = 0.15; part < 1; part += 0.2) {
      const there = document.elementFromPoint(box.x + 200, box.y + part * box.height);
      if (!there?.closest('tr[data-index]')) self.seen.blanks += 1;
    }
    requestAnimationFrame(look);
  };
  requestAnimationFrame(look);
}
"""


_SORT = """
(name) => {
  const button = document.querySelector(`[data-sort=${name}]`);
  const started = performance.now();
  button?.click();
  return performance.now() - started;
}
"""


def main() -> None:
    """Write, build, look, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=50_000)
    parser.add_argument("--keep", action="store_true", help="Leave the files.")
    arguments = parser.parse_args()
    work = Path(tempfile.mkdtemp(prefix="chromaflow-report-"))
    try:
        write_archive(work, arguments.rows)
        lines = [*build(work), *look_at(work / STATE_NAME / "report/index.html")]
    finally:
        if not arguments.keep:
            shutil.rmtree(work)
    print("\n".join(lines))


def write_archive(out: Path, count: int) -> None:
    """The records of an archive of so many photos; one in 50 failed, one in 50 was skipped."""
    workspace = Workspace(out / STATE_NAME)
    rng = np.random.default_rng(7)
    pictures = [_picture(rng) for _ in range(64)]
    ingest = workspace.stage_dir("ingest", "archive", "1" * 12)
    colour = workspace.stage_dir("colorize", "archive", "2" * 12)
    manifest, refused, items = [], [], {}
    for start in range(0, count, _CHUNK):
        outputs, name = [], f"{start // _CHUNK:06d}"
        for position in range(start, min(start + _CHUNK, count)):
            photo = _photo(position)
            manifest.append(photo)
            code = _code(position)
            if code:
                detail = f"expected the end marker of JPEG, found none in {position}"
                refused.append([photo["path"], code, detail, "colorize"])
                continue
            outputs.append(_facts(photo, rng))
        chosen = [pictures[i] for i in rng.integers(64, size=len(outputs))]
        pack = write_pack(colour, chosen)
        record = ItemRecord.of(
            "",
            files=[FileRecord(one.output, 180_000, _digest(one.output)) for one in outputs],
            extras=[pack],
            num_photos=_CHUNK,
            quarantined=[],
            outputs=[one.to_dict() for one in outputs],
        )
        write_json(record_path(colour, name), record.to_dict())
        items[name] = hash_file(record_path(colour, name))
    ingest.mkdir(parents=True)
    write_table(ingest / "manifest.parquet", manifest, MANIFEST_COLUMNS)
    write_table(ingest / "quarantine.parquet", [], QUARANTINE_COLUMNS)
    rows = [dict(zip(QUARANTINE_COLUMNS, row, strict=True)) for row in refused]
    write_table(colour / "quarantine.parquet", rows, QUARANTINE_COLUMNS)
    _publish(workspace, ingest, {}, {"source": "/archive"}, {}, "")
    models = {f"starter:{name}": starter_file(name) for name in CATEGORY_NAMES}
    models["starter:segmenter"] = segmenter_file("starter", "")
    inputs = {name: hash_file(model.path) for name, model in models.items()}
    _publish(workspace, colour, items, {"segmenter": "starter"}, inputs, "..")


def _publish(
    workspace: Workspace,
    folder: Path,
    items: dict[str, str],
    config: dict[str, Any],
    inputs: dict[str, str],
    root: str,
) -> None:
    stage = folder.parents[1].name
    parts = {"config": config, "inputs": inputs, "upstream": {}}
    facts = {"versions": {}, "host": "benchmark", "platform": ""}
    step = {"stage": stage, "key": "archive", "fingerprint": folder.name, "parts": parts}
    write_json(folder / "stage.json", step | facts)
    success = SuccessRecord(
        root=root,
        fingerprint=folder.name,
        digest=stage,
        items=items,
        outputs=(),
        counts={},
        computed_photos=0,
        seconds=1.0,
        peak_mb=1.0,
    )
    write_success(folder, success)
    workspace.set_current(stage, "archive", folder)


def _code(position: int) -> str:
    if position % 50 == 13:
        return _FAILED[position % len(_FAILED)]
    return _SKIPPED[position % len(_SKIPPED)] if position % 50 == 27 else ""


def _photo(position: int) -> dict[str, Any]:
    path = f"box {position // 500:03d}/folder {position // 50 % 10}/scan {position:06d}.jpg"
    size = {"bytes": 90_000 + position, "offset": -1, "width": 1200, "height": 900}
    known = {"mode": "L", "format": "JPEG", "orientation": 1, "label": "", "split": "val"}
    own = {"path": path, "sha256": _digest(path), "position": position, "generation": 0}
    return own | size | known


def _facts(photo: dict[str, Any], rng: np.random.Generator) -> OutputFacts:
    shares = rng.dirichlet([1, 1, 1, 2])
    known = ("sha256", "offset", "bytes", "format", "width", "height")
    return OutputFacts(
        photo=photo["path"],
        output=f"{photo['path']}.color.jpg",
        **{name: photo[name] for name in known},
        num_pages=1,
        bits=8,
        lossless=False,
        label="",
        shares={n: round(float(s), 3) for n, s in zip(CATEGORY_NAMES, shares, strict=True)},
        colourfulness=round(float(rng.uniform(5, 60)), 2),
        uncertainty=round(float(rng.gamma(2, 2)), 2),
        max_dL=round(float(rng.uniform(0.2, 0.5)), 2),
        seconds=round(float(rng.uniform(0.1, 0.4)), 3),
    )


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _picture(rng: np.random.Generator) -> dict[str, bytes]:
    """Four JPEGs of about the size that photographs give at 256 pixels."""
    rough = rng.uniform(0, 255, (24, 32, 3))
    noisy = np.kron(rough, np.ones((8, 8, 1))) + rng.normal(0, 9, (192, 256, 3))
    rgb = noisy.clip(0, 255).astype(np.uint8)
    gray, half = np.ascontiguousarray(rgb[..., 1]), np.ascontiguousarray(rgb[::2, ::2])
    kinds = {"before": gray, "after": rgb, "segments": half, "uncertainty": gray[::2, ::2]}
    return {kind: small_jpeg(pixels) for kind, pixels in kinds.items()}


def build(out: Path) -> list[str]:
    """Run the command twice. Returns its seconds, memory and the report's size, in words."""
    seconds = []
    for _ in range(2):
        started = time.monotonic()
        done = subprocess.run([*_COMMAND, str(out), "--json"], capture_output=True, check=True)
        seconds.append(time.monotonic() - started)
    report = json.loads(done.stdout)
    page = Path(report["report"])
    data = sum(
        (page.parent / name).stat().st_size
        for name in (
            "photos.js",
            "run.js",
            *sorted(f"photos/{p.name}" for p in (page.parent / "photos").glob("*.js")),
        )
    )
    pictures = sum(path.stat().st_size for path in (page.parent / "thumbnails").iterdir())
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024 / 1e6
    counts = ", ".join(f"{count} {name}" for name, count in report["counts"].items())
    return [
        f"rows: {counts}",
        f"build, s: {seconds[0]:.1f}; again: {seconds[1]:.1f} (goal: under 60)",
        f"peak memory, MB: {peak:.0f} (goal: under 1000)",
        f"size on disk, MB: {report['bytes'] / 1e6:.0f}, of which pictures {pictures / 1e6:.0f} "
        f"(hard links to those of the stage), rows of the page {data / 1e6:.1f}",
    ]


def look_at(page: Path) -> list[str]:
    """Open the page, scroll, sort. Returns the figures in words."""
    seen = look(page)
    return [
        f"first paint, s: {seen['first paint s']:.2f} (goal: under 1); all rows there: "
        f"{seen['rows there s']:.2f}",
        f"scrolling: {seen['frames']:.0f} frames, {seen['blanks']:.0f} blanks (goal: 0), "
        f"longest frame {seen['longest frame ms']:.0f} ms",
        f"sort by uncertainty {seen['sort by uncertainty ms']:.0f} ms, by path "
        f"{seen['sort by path ms']:.0f} ms; the page's heap {seen['heap MB']:.0f} MB",
        f"machine: {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}",
    ]


def look(page: Path) -> dict[str, float]:
    """Open the page, scroll, sort. Returns the figures."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path="/usr/bin/chromium", args=_FLAGS)
        window = browser.new_page(viewport={"width": 1400, "height": 900})
        window.goto(page.as_uri())
        window.wait_for_selector("body[data-ready=yes]", timeout=120_000)
        paints = window.evaluate("performance.getEntriesByType('paint').map(p => p.startTime)")
        ready = window.evaluate("performance.now()")
        window.get_by_role("button", name="Table", exact=True).click()
        window.locator("#scroller").scroll_into_view_if_needed()
        seen = _scroll(window)
        sorts = {
            f"sort by {name} ms": window.evaluate(_SORT, name) for name in ("uncertainty", "path")
        }
        heap = window.evaluate("performance.memory.usedJSHeapSize") / 1e6
        browser.close()
    return {
        "first paint s": min(paints) / 1000,
        "rows there s": ready / 1000,
        "frames": seen["frames"],
        "blanks": seen["blanks"],
        "longest frame ms": seen["longest"],
        "heap MB": heap,
        **sorts,
    }


def _scroll(window: Page) -> dict[str, float]:
    """By the wheel, 100 turns down, then jumps all over; every frame is looked at."""
    box = window.locator("#scroller").bounding_box()
    assert box is not None
    window.mouse.move(box["x"] + 200, box["y"] + 300)
    window.evaluate(_WATCH)
    for _ in range(100):
        window.mouse.wheel(0, 900)
        window.wait_for_timeout(16)
    window.evaluate(
        """async () => {
          const box = document.getElementById('scroller');
          for (let i = 1; i <= 60; i += 1) {
            box.scrollTop = (i * 7919 % 61) / 61 * box.scrollHeight;
            await new Promise(requestAnimationFrame);
          }
        }"""
    )
    seen: dict[str, float] = window.evaluate("() => { self.seen.go = false; return self.seen; }")
    return seen


if __name__ == "__main__":
    main()
