"""One photo that ends its worker, in any stage: it goes to quarantine, everything else is done."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from command import chromaflow, computed
from PIL import Image

from storage.records.names import MANIFEST_NAME
from storage.records.tables import read_rows

pytestmark = pytest.mark.timeout(900)
HOOK = Path(__file__).parents[1] / "deadly_hook"
SEGMENTER = """
import os, signal
from quarter_segmenter import Quarters

class Deadly(Quarters):
    def __call__(self, L):
        if L.mean() > 99:
            os._exit(139)
        if L.mean() < 1:
            os.kill(os.getpid(), signal.SIGKILL)
        return super().__call__(L)
"""


def quarantined(out: str) -> dict[str, str]:
    return {row["path"]: row["code"] for row in json.loads(out)["quarantined"]}


@pytest.mark.slow
@pytest.mark.usefixtures("shared_server")
def test_photos_that_the_networks_die_of(tmp_path: Path, make_photo: Callable[..., Path]) -> None:
    (tmp_path / "deadly_segmenter.py").write_text(SEGMENTER)
    quarters = Path(__file__).parents[1] / "quarter_segmenter.py"
    (tmp_path / "quarter_segmenter.py").write_bytes(quarters.read_bytes())
    for name in ("a", "c"):
        make_photo(tmp_path / "in" / f"{name}.png", gray=True)
    for name, level in (("bright", 255), ("dark", 0)):
        picture = Image.fromarray(np.full((40, 50), level, np.uint8))
        picture.save(tmp_path / "in" / f"{name}.png")
    words = ["colorize", tmp_path / "in", tmp_path / "out", "--json"]
    segmenter = ["--segmenter", "deadly_segmenter:Deadly"]
    code, out, err = chromaflow(*words, *segmenter, ahead=str(tmp_path), patience=800)
    assert code == 6, err
    assert quarantined(out) == {"bright.png": "CRASHED", "dark.png": "OUT_OF_MEMORY"}
    assert {path.name for path in (tmp_path / "out").glob("*.png")} == {
        "a.png.color.png",
        "c.png.color.png",
    }
    code, out, err = chromaflow(*words, *segmenter, ahead=str(tmp_path), patience=800)
    assert json.loads(out)["computed"] == 0, err


@pytest.mark.slow
@pytest.mark.usefixtures("shared_server")
@pytest.mark.parametrize("function", ["_see", "_write", "draw_sheet"])
def test_photos_that_other_work_on_an_archive_dies_of(
    function: str,
    tmp_path: Path,
    make_photo: Callable[..., Path],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in ("a", "deadly", "z"):
        make_photo(tmp_path / "in" / f"{name}.png", gray=True)
    monkeypatch.setenv("CHROMAFLOW_DEADLY", f"{function}:deadly")
    words = ["colorize", tmp_path / "in", tmp_path / "out", "--json"]
    code, out, err = chromaflow(*words, ahead=str(HOOK), patience=800)
    in_sheet = function == "draw_sheet"
    assert code == (0 if in_sheet else 6), err
    assert quarantined(out) == ({} if in_sheet else {"deadly.png": "CRASHED"})
    assert len(list((tmp_path / "out").glob("*.png"))) == (3 if in_sheet else 2)
    assert Path(json.loads(out)["sheet"]).exists()
    assert "Traceback" not in err


@pytest.mark.slow
@pytest.mark.usefixtures("shared_server")
def test_training_photos_that_preprocess_dies_of(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    computed(project, "--until", "ingest")
    manifest = project.parent / "workspace" / "current" / "ingest" / "people" / MANIFEST_NAME
    deadly = read_rows(manifest)[0]["path"]
    monkeypatch.setenv("CHROMAFLOW_DEADLY", f"preprocess_shard:{deadly}")
    words = ["run", "--config", project, "--json", "--until", "preprocess"]
    code, out, err = chromaflow(*words, ahead=str(HOOK))
    assert code == 6, err
    assert quarantined(out) == {deadly: "CRASHED"}


@pytest.mark.slow
@pytest.mark.parametrize("function", ["_measure", "draw_figure"])
def test_photos_that_an_evaluation_dies_of(
    function: str,
    tmp_path: Path,
    make_photo: Callable[..., Path],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for number, name in enumerate(("a", "deadly", "z")):
        make_photo(tmp_path / "in" / "people" / f"{name}.png", seed=number)
    monkeypatch.setenv("CHROMAFLOW_DEADLY", f"{function}:deadly")
    words = ["evaluate", tmp_path / "in", "--output", tmp_path / "scores", "--json"]
    code, out, err = chromaflow(*words, "--system", "mine=starter", ahead=str(HOOK), patience=800)
    assert code == 6, err
    assert {name.rpartition("/")[2] for name in quarantined(out)} == {"deadly.png"}
    assert list((tmp_path / "scores" / "figures").glob("*.png"))
