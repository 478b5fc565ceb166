"""Every program of benchmarks/ runs in its smallest form, which its first lines name; no figure is held
to anything."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from unittest.mock import patch

import numpy as np
import pytest
from engine import done_here, run_workflow, write_expert
from PIL import Image

import tasks.engine.execute
from colorization.categories import CATEGORY_NAMES
from storage.records.names import CARD_NAME, WEIGHTS_NAME
from storage.records.workspace import Workspace
from tasks.config.file import load_workflow

ROOT = Path(__file__).parents[2]
WEIGHTS = ROOT.parent / "shared" / "data" / "weights"
PROGRAMS = sorted(path.name for path in (ROOT / "benchmarks").glob("*.py"))
LIBRARIES = {
    *("ddcolor.py", "photo_pool.py", "published_out.py"),
    *("segmenter_photos.py", "segmenter_training.py"),
}
"""Imported by programs, run by none."""
OF_THE_POOL = {
    "scene_rest.py",
    *("scenes.py", "scene_cards.py", "scene_weights.py", "starter_experts.py", "travel.py"),
}
"""They need the pool of photos that ../shared/data/more makes from snapshots, and have no smaller form."""
SLOW = {
    *("overhead.py", "parallel.py", "quality.py", "recipes.py", "start.py"),
    *("archive_speed.py", "inference.py", "merge.py", "million.py", "preprocess.py"),
    *("review.py", "screenshots.py", "shards.py", "sheets.py", "starter_segmenter.py"),
    *("colorize.py", "hints.py", "lightness.py", "own_colour.py", "series.py", "training.py"),
}
"""Several commands or Dask clusters each, or half a minute and more of networks on two busy cores."""
RESEARCH = {"recipes.py", "starter_segmenter.py"}
"""Start from weights of the research data."""


def program(name: str) -> object:
    return pytest.param(name, marks=[pytest.mark.slow] if name in SLOW else [])


def smallest(name: str) -> list[str]:
    """The words behind the program's name in its usage line that ends in `# the smallest`."""
    text = (ROOT / "benchmarks" / name).read_text()
    found = re.findall(rf"^ +python benchmarks/{name}(.*)# the smallest$", text, re.MULTILINE)
    assert len(found) == 1, f"{name} names {len(found)} smallest forms"
    return shlex.split(found[0])


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four categories of 16 photos, preprocessed; in train, networks that learned nothing."""
    folder = tmp_path_factory.mktemp("workspace")
    names = "\n".join(f'{name} = "photos/{name}"' for name in CATEGORY_NAMES)
    for number, category in enumerate(CATEGORY_NAMES):
        draw(folder / "photos" / category, 16, seed=number)
    config = folder / "chromaflow.toml"
    config.write_text(
        f'workspace = "made"\n[datasets]\n{names}\n'
        "[ingest]\nval_share = 0.5\ntwin_distance = -1\nmin_spread = 0\n"
    )
    with patch.object(tasks.engine.execute, "fan_out", done_here):
        outcome = run_workflow(load_workflow(config), until="preprocess")
    assert not outcome.failures, outcome.failures
    made = Workspace(folder / "made")
    for number, category in enumerate(CATEGORY_NAMES):
        trained = made.current("train", category)
        trained.mkdir(parents=True)
        write_expert(trained / WEIGHTS_NAME, seed=number)
        (trained / CARD_NAME).write_text(f"# {category}\n")
    return made.root


@pytest.fixture
def research(tmp_path: Path) -> Path:
    """What SHARED holds, with photos drawn here; the weights where they are."""
    for number, category in enumerate(CATEGORY_NAMES):
        draw(
            tmp_path / "photos" / category, 60, seed=number
        )  # a tenth is held out, by content hash
    list_origins(tmp_path / "photos")
    draw(tmp_path / "photos_seg" / "images", 3, suffix="jpg")
    (tmp_path / "photos_seg" / "masks").mkdir()
    for path in (tmp_path / "photos_seg" / "images").iterdir():
        mask = np.zeros((256, 256), np.uint8)
        mask[64:192, 64:192] = 15
        Image.fromarray(mask).save(tmp_path / "photos_seg" / "masks" / f"{path.stem}.png")
    (tmp_path / "weights").symlink_to(WEIGHTS)
    return tmp_path


@pytest.fixture
def more(tmp_path: Path) -> Path:
    """What MORE holds: one photo a category."""
    for number, category in enumerate(CATEGORY_NAMES):
        draw(tmp_path / "more" / category, 1, seed=100 + number)
    list_origins(tmp_path / "more")
    return tmp_path / "more"


def list_origins(folder: Path) -> None:
    """Its origins.csv: every photo's file and repository."""
    names = sorted(path.relative_to(folder).as_posix() for path in folder.glob("*/*"))
    rows = [f"{name},drawn/here" for name in names]
    (folder / "origins.csv").write_text("\n".join(["file,origin repository", *rows]) + "\n")


def draw(folder: Path, count: int, *, seed: int = 0, suffix: str = "png") -> None:
    """Photos of coloured noise, 256², all different."""
    folder.mkdir(parents=True)
    rng = np.random.default_rng(seed)
    for number in range(count):
        cells = Image.fromarray(rng.integers(30, 225, (9, 9, 3), np.uint8))
        cells.resize((256, 256), Image.Resampling.BILINEAR).save(folder / f"{number}.{suffix}")


@pytest.mark.timeout(900)  # seconds each, but on a machine that tests eight things at a time
@pytest.mark.parametrize("name", [program(n) for n in PROGRAMS if n not in LIBRARIES | OF_THE_POOL])
def test_every_program_runs_in_its_smallest_form(
    name: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    if name in RESEARCH and not WEIGHTS.is_dir():
        pytest.skip(f"needs the weights of {WEIGHTS}")
    if name in ("report.py", "review.py", "screenshots.py"):
        pytest.importorskip("playwright")
        if not Path("/usr/bin/chromium").exists():
            pytest.skip("needs Debian's chromium")
    places: dict[str, Callable[[], Path]] = {
        "WORKSPACE": lambda: request.getfixturevalue("workspace"),
        "SHARED": lambda: request.getfixturevalue("research"),
        "MORE": lambda: request.getfixturevalue("more"),
        "OUT": lambda: tmp_path / "out",
    }
    words = []
    for word in smallest(name):
        start, _, rest = word.partition("/")
        words.append(str(places[start]() / rest) if start in places else word)
    command = [sys.executable, str(ROOT / "benchmarks" / name), *words]
    done = subprocess.run(
        command,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert done.stdout.strip()
