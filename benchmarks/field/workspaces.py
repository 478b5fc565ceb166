"""Cases of what is done already: a project that moves (14), originals that are away (16)."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from case import Clause
from conftest import draw_photo
from PIL import Image
from place import CheckError, Place, coloured, draw, last_line

ROOT = Path(__file__).parents[2]
_PROJECT = """
[datasets]
places = "places"
[archive]
path = "gray"
output = "colour"
[ingest]
val_share = 0.3
twin_distance = -1
[preprocess]
size = 64
[train]
recipe = "starter"
init = "starter"
min_photos = 4
[train.overrides]
epochs = 1
batch = 4
crop = 0
[colorize]
short_side = 64
"""
_NOTHING = re.compile(r"(\[\]|\(\))\s*(->|→)|(->|→)\s*(\[\]|\(\))")
_COMPARED = "tests/faults/test_plan_is_what_run_does.py"


def check_moved(place: Place) -> Iterator[Clause]:
    """14: a project that is copied and touched; plan and run."""
    first, second = place.folder / "first", place.folder / "elsewhere/second"
    _draw_project(first)
    ran = place.run("run", "--config", first / "chromaflow.toml", "--json")
    if ran.code:
        raise CheckError(f"run of the first project: exit {ran.code}, {last_line(ran.err)}")
    second.parent.mkdir()
    subprocess.run(["cp", "-a", first, second], check=True)
    shutil.rmtree(first)
    config, before = second / "chromaflow.toml", coloured(second / "colour")
    yield from _nothing_to_do(place, config, "cp -a")
    for path in [*second.glob("places/*"), *second.glob("gray/*")]:
        os.utime(path)
    yield from _nothing_to_do(place, config, "touch of all photos")
    yield Clause(
        got=f"{len(before)} colour photos left as they are",
        right=len(before) == 2 and coloured(second / "colour") == before,
    )
    yield from _as_planned(place, config)
    yield _compared()


def _draw_project(root: Path) -> None:
    (root / "places").mkdir(parents=True)
    for seed in range(12):
        Image.fromarray(draw_photo(seed, 96, 80)).save(root / f"places/{seed:02d}.png")
    for seed in range(2):
        draw(root / f"gray/{seed}.png", 50 + seed)
    (root / "chromaflow.toml").write_text(_PROJECT)


def _planned(place: Place, config: Path) -> tuple[dict[str, str], str]:
    """What plan says: step → action; and all its reasons."""
    rows = place.asked("plan", "--config", config)["steps"]
    reasons = "\n".join(reason for row in rows for reason in row["reasons"])
    return {row["step"]: row["action"] for row in rows}, reasons


def _ran(place: Place, config: Path) -> tuple[int, set[str]]:
    """Items that run computed, and the steps in which."""
    result: dict[str, Any] = place.run("run", "--config", config, "--json").json()
    return result["computed"], {row["step"] for row in result["steps"] if row["computed"]}


def _nothing_to_do(place: Place, config: Path, change: str) -> Iterator[Clause]:
    actions, reasons = _planned(place, config)
    planned = {step for step, action in actions.items() if action != "skip"}
    num_computed, did = _ran(place, config)
    yield Clause(
        got=f"{change}: plan {len(planned)} of {len(actions)} steps, run {len(did)}",
        right=not planned and not did and not num_computed and not _NOTHING.search(reasons),
    )


def _as_planned(place: Place, config: Path) -> Iterator[Clause]:
    """A setting that colour alone depends on: plan names it, run does that step and no other."""
    config.write_text(config.read_text() + 'toning = "keep"\naccept = []\n')
    actions, reasons = _planned(place, config)
    planned = {step for step, action in actions.items() if action != "skip"}
    _, did = _ran(place, config)
    yield Clause(
        got=f"another toning: plan {', '.join(sorted(planned))}, run {', '.join(sorted(did))}",
        right=planned == did == {"colorize/archive"},
    )
    noise = _NOTHING.search(reasons)
    yield Clause(got="no `accept: [] -> ()`" if not noise else noise[0], right=not noise)


def _compared() -> Clause:
    """The test that compares plan and run after changes of all kinds, in this checkout."""
    words = ["-m", "pytest", _COMPARED, "-k", "after", "-p", "no:cacheprovider"]
    done = subprocess.run(
        [sys.executable, *words], cwd=ROOT, capture_output=True, text=True, check=False
    )
    found = re.search(r"(\d+) passed", done.stdout)
    num_passed = int(found[1]) if found else done.stdout.count(".")
    return Clause(
        got=f"plan is what run does after {num_passed} changes (pytest exit {done.returncode})",
        right=done.returncode == 0 and num_passed >= 30,
    )


def check_unmounted(place: Place) -> Iterator[Clause]:
    """16: half of IN is away, one year alone, the next batch, all back, --delete."""
    photos, away, out = (place.folder / name for name in ("in", "away", "out"))
    for seed in range(4):
        draw(photos / f"193{1 + seed // 2}" / f"{seed}.png", seed)
    _colorize(place)
    first = coloured(out)
    yield Clause(got=f"{len(first)} coloured", right=len(first) == 4)
    (photos / "1932").rename(away)
    yield _says("plan, half away", place.run("plan", "out").words, 2)
    yield from _kept(place, "half away", first, num_orphans=2)
    away.rename(photos / "1932")
    yield from _kept(place, "--include of one year", first, "--include", "1931/**", num_orphans=2)
    photos.rename(away)
    draw(photos / "1933/9.png", 9)
    yield from _kept(place, "the next batch", first, num_orphans=4, num_new=1)
    shutil.rmtree(photos)
    away.rename(photos)
    yield from _kept(place, "back again", first, num_orphans=1, num_new=1)
    ran = place.run("verify", "out")
    yield Clause(got=f"verify exit {ran.code}", right=ran.code == 0)
    shutil.rmtree(photos / "1932")
    ran = place.run("colorize", "in", "out", "--workers", 1, "--delete")
    left = coloured(out)
    told = "3 outputs without an original deleted" in ran.err
    yield Clause(
        got=f"--delete: {len(left)} left, {'3 outputs deleted, said' if told else last_line(ran.err)}",
        right=told and left == {name: first[name] for name in left} and len(left) == 2,
    )


def _colorize(place: Place, *words: object) -> str:
    """What a run says; raises CheckError where it did not end well."""
    ran = place.run("colorize", "in", "out", "--workers", 1, *words)
    if ran.code:
        raise CheckError(f"colorize: exit {ran.code}, {last_line(ran.err)}")
    return ran.words


def _kept(
    place: Place,
    change: str,
    first: dict[str, tuple[int, int]],
    *words: object,
    num_orphans: int,
    num_new: int = 0,
) -> Iterator[Clause]:
    """A run after a change: all of the first photos are there as they were, the rest is said."""
    yield _says(f"run, {change}", _colorize(place, *words), num_orphans)
    now = coloured(place.folder / "out")
    same = sum(now.get(name) == facts for name, facts in first.items())
    yield Clause(
        got=f"{same} of {len(first)} untouched, {len(now) - len(first)} new",
        right=same == len(first) and len(now) == len(first) + num_new,
    )


def _says(what: str, words: str, count: int) -> Clause:
    wanted = f"{count} output{'s' * (count != 1)} without an original now, kept"
    told = wanted in words
    return Clause(got=f"{what}: {wanted if told else 'not a word of them'}", right=told)
