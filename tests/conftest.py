"""Photos and workspaces made on the spot; nothing here needs the research data."""

from __future__ import annotations

import io
import os
import signal
import struct
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image
from prefect_server import prefect_server

os.environ.setdefault("DO_NOT_TRACK", "1")
os.environ.setdefault(
    "OMP_WAIT_POLICY", "PASSIVE"
)  # two workers' threads spin on each other's cores
os.environ.setdefault("PREFECT_SERVER_ANALYTICS_ENABLED", "false")
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # pytest in the background of a script
    signal.signal(signal.SIGINT, signal.default_int_handler)  # commands under test inherit it

if worker := os.environ.get("PYTEST_XDIST_WORKER", "").removeprefix("gw"):
    # a core for each of pytest's workers: a command starts one Dask worker there unless it asks for more
    cores = sorted(os.sched_getaffinity(0))
    os.sched_setaffinity(0, {cores[int(worker) % len(cores)]})

MakePhoto = Callable[..., Path]


def draw_photo(seed: int, width: int = 96, height: int = 80) -> np.ndarray:
    """A smooth colour picture with an edge, different for each seed. uint8 (H, W, 3)."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[0:height, 0:width] / max(width, height)
    colour = rng.uniform(40, 215, (2, 3))
    side = (x * np.cos(seed) + y * np.sin(seed) > 0.4)[..., None]
    shade = 20 * np.sin(12 * x + seed)[..., None]
    return np.clip(np.where(side, colour[0], colour[1]) + shade, 0, 255).astype(np.uint8)


def with_masks(tiff: bytes) -> bytes:
    """Its pages of NewSubfileType 2 as 4, which tifffile writes for pages of one bit only."""
    edited, file = bytearray(tiff), tifffile.TiffFile(io.BytesIO(tiff))
    for page in file.pages:
        if page.tags.valueof(254) == 2:
            place = page.tags[254].valueoffset
            edited[place : place + 4] = struct.pack(f"{file.byteorder}I", 4)
    return bytes(edited)


@pytest.fixture
def make_photo() -> MakePhoto:
    """Write a photo: make_photo(path, seed=1, gray=False, size=(96, 80))."""

    def make(
        path: Path, seed: int = 1, gray: bool = False, size: tuple[int, int] = (96, 80)
    ) -> Path:
        path.parent.mkdir(parents=True, exist_ok=True)
        image = Image.fromarray(draw_photo(seed, *size))
        (image.convert("L") if gray else image).save(path)
        return path

    return make


@pytest.fixture(scope="session")
def prefect_address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A Prefect server that the tests of a session share: an ephemeral one costs 8 s a command."""
    with prefect_server(tmp_path_factory.mktemp("server")) as address:
        yield address


@pytest.fixture
def shared_server(prefect_address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Commands of this test talk to the shared server."""
    monkeypatch.setenv("PREFECT_API_URL", f"{prefect_address}/api")


@pytest.fixture
def no_server(monkeypatch: pytest.MonkeyPatch) -> None:
    """Commands of this test run without Prefect, as they do for a user who asked for none."""
    monkeypatch.delenv("PREFECT_API_URL", raising=False)


@pytest.fixture
def ephemeral_server(no_server: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Commands of this test start a server each, as a user asked them to."""
    monkeypatch.setenv("PREFECT_SERVER_ALLOW_EPHEMERAL_MODE", "true")


@pytest.fixture(scope="module")
def cluster() -> Iterator[str]:
    """Address of a Dask scheduler and worker in this process, for `colorizing.colorize_here`."""
    from colorizing import local_cluster  # torch and Prefect, which most tests do without

    with local_cluster() as address:
        yield address


@pytest.fixture(scope="session")
def many_photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """2,000 small JPEGs, all different to the eye."""
    folder = tmp_path_factory.mktemp("many")
    for i in range(2000):
        write_textured(folder / f"{i:04d}.jpg", i)
    return folder


def write_textured(path: Path, seed: int) -> None:
    """A small JPEG of coloured noise at several scales, so that no two look alike."""
    rng = np.random.default_rng([9, seed])
    canvas = np.zeros((64, 80, 3))
    for cell in (4, 8, 16):
        cells = rng.normal(0, 20, (64 // cell, 80 // cell, 3))
        canvas += np.kron(cells, np.ones((cell, cell, 1)))
    Image.fromarray(np.clip(canvas + 128, 0, 255).astype(np.uint8)).save(path, quality=90)


@pytest.fixture
def project(tmp_path: Path, make_photo: MakePhoto) -> Path:
    """A small project: two categories of 12 photos, an archive of 3. Returns its chromaflow.toml."""
    for category in ("people", "places"):
        for i in range(12):
            make_photo(
                tmp_path / "photos" / category / f"{i:02d}.png",
                seed=100 * (category == "places") + i,
            )
    for i in range(3):
        make_photo(tmp_path / "gray" / f"scan{i}.png", seed=i, gray=True, size=(90 + i, 70))
    config = tmp_path / "chromaflow.toml"
    config.write_text(
        """
[datasets]
people = "photos/people"
places = "photos/places"
[archive]
path = "gray"
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
learning_rate = 1e-5
epochs = 2
batch = 4
crop = 0
[colorize]
short_side = 64
"""
    )
    return config


LONG_FILES = (
    "test_training.py",
    "test_evaluation.py",
    "test_train_job.py",
    "test_cli.py",
    "test_colorize.py",
    "test_smallest_forms.py",
    "test_deploy.py",
    "test_clusters.py",
    "test_report_page.py",
    "test_preprocess.py",
    "test_guided_colours.py",
    "test_hostile.py",
    "test_what_is_read.py",
    "test_outputs_are_kept.py",
)
"""Begun first: a file goes to one worker whole, and a long one begun last is waited for."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    items.sort(key=lambda item: item.path.name not in LONG_FILES)
