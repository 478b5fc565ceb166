"""Pictures of the run report and of the review page, for people to look at: wide and narrow, light and dark.

    python benchmarks/screenshots.py FOLDER [--workspace WORKSPACE]
    python benchmarks/screenshots.py OUT   # the smallest

Draws an archive with names in many scripts, colours it twice by the real command, and takes twelve
screenshots in Debian's chromium: four of the report, eight of the review page. With --workspace, of
`chromaflow run`, four more of its report, where its trainings are.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from playwright.sync_api import Browser, Page, sync_playwright
from review import _COMMAND, _FLAGS, _server

from storage.records.workspace import Workspace
from tasks.report.writer import write_report

_WIDE, _NARROW = {"width": 1400, "height": 900}, {"width": 400, "height": 860}
_LOOKS = [
    (f"{size}-{scheme}", viewport, scheme)
    for size, viewport in (("wide", _WIDE), ("narrow", _NARROW))
    for scheme in ("light", "dark")
]
_NAMES = (
    *(
        "Café Łódź 1931.jpg",
        "Ленинград 1931.jpg",
        "صورة قديمة 1931 (السوق).jpg",
        "רחוב הרצל 12.jpg",
    ),
    *(
        "上海外灘.jpg",
        "東京駅 カメラ.jpg",
        "서울역 사진.jpg",
        "हिन्दी चित्र.jpg",
        "ภาพถ่ายเก่า.jpg",
        "chelsea.jpg",
    ),
)


def main() -> None:
    """Draw, colour, look."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--workspace", type=Path)
    arguments = parser.parse_args()
    folder = arguments.folder
    out = folder / "out"
    if not out.exists():
        draw(folder / "in")
        for settings in (("--palette", "5"), ("--uncertainty",)):
            words = (*_COMMAND, "colorize", folder / "in", out, *settings)
            done = subprocess.run([*map(str, words)], capture_output=True, text=True)
            if done.returncode != 6:  # two files are no photos
                sys.exit(done.stderr)
    use_bundled_fonts(folder / "share")
    pictures = folder / "pictures"
    pictures.mkdir(exist_ok=True)
    page = write_report(Workspace(out / ".chromaflow"), output=str(out)).page
    with _browser() as browser:
        report(browser, page, pictures / "report")
        if arguments.workspace:
            page = write_report(Workspace(arguments.workspace)).page
            report(browser, page, pictures / "training", "#training, #history")
        review(browser, out, pictures)
    print("\n".join(str(path) for path in sorted(pictures.iterdir())))


def use_bundled_fonts(share: Path) -> None:
    """Have chromium find the fonts of contact sheets, as readers have fonts of their scripts."""
    share.mkdir(exist_ok=True)
    if not (share / "fonts").is_symlink():
        fonts = files("storage.pictures") / "fonts"
        (share / "fonts").symlink_to(Path(str(fonts)), target_is_directory=True)
    os.environ["XDG_DATA_HOME"] = str(share.resolve())


def draw(folder: Path) -> None:
    """Gray photos from scikit-image's wheel and drawn ones; one in colour, one that is none."""
    from skimage import data

    folder.mkdir(parents=True)
    photos = (data.astronaut, data.chelsea, data.coffee, data.rocket)
    for number, name in enumerate(_NAMES):
        image = Image.fromarray(photos[number % 4]())
        image = image.resize((720, round(720 * image.height / image.width)))
        turned = image.transpose(Image.Transpose.FLIP_LEFT_RIGHT) if number >= 4 else image
        turned.convert("L").save(folder / name, quality=92)
    noise = np.random.default_rng(0).integers(0, 255, (60, 80, 3), dtype=np.uint8)
    Image.fromarray(noise).resize((640, 480)).save(folder / "in colour.jpg")
    (folder / "broken.jpg").write_bytes(b"no photo")
    (folder / "empty.tif").write_bytes(b"II*\0")


def report(browser: Browser, page: Path, name: Path, sections: str = "") -> None:
    """The first screen; with sections, these instead."""
    for look, viewport, scheme in _LOOKS:
        with _window(browser, viewport, scheme) as window:
            window.goto(page.as_uri())
            window.wait_for_selector("body[data-ready=yes]")
            if sections:
                everything = f"main > :not({sections})"
                window.evaluate(
                    "which => document.querySelectorAll(which).forEach((one) => (one.hidden = true))",
                    everything,
                )
            window.wait_for_timeout(1500)
            window.screenshot(path=f"{name}-{look}.png", full_page=bool(sections))


def review(browser: Browser, out: Path, pictures: Path) -> None:
    """A photo with its variants, and with a hint chosen."""
    words = (*_COMMAND, "review", str(out), "--no-browser", "--json")
    with _server(words) as (address, _):
        for look, viewport, scheme in _LOOKS:
            with _window(browser, viewport, scheme) as window:
                window.goto(address)
                window.wait_for_selector("#variants .variant", timeout=120_000)
                window.wait_for_timeout(2500)
                window.screenshot(path=pictures / f"review-{look}.png")
                box = window.locator("#world").bounding_box()
                assert box is not None
                across, down = box["x"] + 0.5 * box["width"], box["y"] + 0.4 * box["height"]
                window.mouse.click(across, down)
                window.locator("#usual button").nth(2).click()
                window.wait_for_timeout(2500)
                window.evaluate("scrollTo(0, 0)")
                window.screenshot(path=pictures / f"review-hint-{look}.png")
                window.keyboard.press("u")
                window.wait_for_timeout(1000)


@contextmanager
def _browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path="/usr/bin/chromium", args=_FLAGS)
        yield browser
        browser.close()


@contextmanager
def _window(browser: Browser, viewport: Any, scheme: Any) -> Iterator[Page]:
    context = browser.new_context(viewport=viewport, color_scheme=scheme)
    page = context.new_page()
    page.on("pageerror", lambda error: print(f"page error: {error}", file=sys.stderr))
    yield page
    context.close()


if __name__ == "__main__":
    os.environ.setdefault("PREFECT_LOGGING_LEVEL", "ERROR")
    main()
