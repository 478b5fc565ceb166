"""Colours that a person guides: hints at points, maps of uncertainty, colours withheld."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from colorizing import colorize_here
from command import chromaflow
from conftest import draw_photo
from PIL import Image
from skimage.color import deltaE_ciede2000, rgb2lab

from storage.errors import UsageError

pytestmark = pytest.mark.usefixtures("shared_server")
HEAD = "path,x,y,colour\n"


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    """Two photos and one that is none."""
    root = tmp_path / "in"
    (root / "album").mkdir(parents=True)
    for seed, name in enumerate(("album/a.png", "b.png")):
        Image.fromarray(draw_photo(seed, 120, 90)).convert("L").save(root / name)
    (root / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\nnothing")
    return root


def lab(path: Path) -> Any:
    return rgb2lab(np.asarray(Image.open(path).convert("RGB")))


def test_a_hint_holds_at_its_point_and_recolours_its_photo_only(
    archive: Path, tmp_path: Path
) -> None:
    out, hints = tmp_path / "out", tmp_path / "hints.csv"
    code, _, err = chromaflow("colorize", archive, out)
    assert code == 6, err  # broken.png
    plain = {name: lab(out / f"{name}.color.png") for name in ("album/a.png", "b.png")}
    untouched = (out / "b.png.color.png").stat().st_mtime_ns

    lightness = float(plain["album/a.png"][60, 30, 0])
    colour = "#" + "".join(f"{v:02x}" for v in redder(lightness))
    hints.write_text(HEAD + f"album/a.png,30,60,{colour}\nbroken.png,1,1,red\n")
    code, _, err = chromaflow("colorize", archive, out, "--hints", hints)
    assert code == 6, err
    found = lab(out / "album/a.png.color.png")
    wanted = rgb2lab(np.array([[redder(lightness)]], np.uint8))[0, 0]
    assert deltaE_ciede2000(found[60, 30], wanted) < 5
    assert deltaE_ciede2000(plain["album/a.png"][60, 30], wanted) > 10
    np.testing.assert_array_equal(lab(out / "b.png.color.png"), plain["b.png"])
    assert np.abs(found[..., 0] - plain["album/a.png"][..., 0]).max() < 1
    assert untouched <= (out / "b.png.color.png").stat().st_mtime_ns

    code, text, err = chromaflow("colorize", archive, out, "--hints", hints, "--json")
    steps = {step["step"]: step for step in json.loads(text)["steps"]}
    assert steps["colorize/archive"]["computed"] == 0, err


def redder(lightness: float) -> tuple[int, int, int]:
    """sRGB of about this L and a clear red."""
    from skimage.color import lab2rgb

    rgb = lab2rgb([[[lightness, 35.0, 20.0]]])[0, 0]
    red, green, blue = (round(255 * value) for value in rgb)
    return red, green, blue


@pytest.mark.parametrize(
    ("rows", "named"),
    [
        ("c.png,1,1,red\n", "'c.png', which it does not hold"),
        ("b.png,120,1,red\n", "120 x 90 pixels; got one at x 120, y 1"),
        ("b.png,-1,1,red\n", "got one at x -1"),
    ],
)
def test_hints_that_fit_no_photo_are_refused(
    cluster: str, archive: Path, tmp_path: Path, rows: str, named: str
) -> None:
    hints = tmp_path / "hints.csv"
    hints.write_text(HEAD + rows)
    with pytest.raises(UsageError, match=named) as error:
        colorize_here(cluster, archive, tmp_path / "out", settings={"hints": str(hints)})
    assert error.value.exit_code == 2


@pytest.mark.parametrize(
    ("content", "named"),
    [
        ("path;x;y;colour\n", "path,x,y,colour"),
        (HEAD + "b.png,1,2,reddish\n", "hints.csv:2"),
        (HEAD + "b.png,1,2\n", "hints.csv:2"),
        (HEAD + "b.png,one,2,red\n", "hints.csv:2"),
        (None, "CSV of hints"),
    ],
)
def test_a_file_that_holds_no_hints_is_refused_at_once(
    archive: Path, tmp_path: Path, content: str | None, named: str
) -> None:
    hints = tmp_path / "hints.csv"
    if content is not None:
        hints.write_text(content)
    code, _, err = chromaflow("colorize", archive, tmp_path / "out", "--hints", hints)
    assert code == 2 and named in err


def test_maps_of_uncertainty_lie_beside_the_outputs_and_colours_can_be_withheld(
    cluster: str, archive: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    colorize_here(cluster, archive, out, settings={"uncertainty": True})
    with Image.open(out / "b.png.color.uncertainty.png") as image:
        levels = np.asarray(image)
        assert image.mode == "L" and image.size == (128, 96)  # as the networks saw it
        assert image.info["Description"] == "Uncertainty of the colours, 0.25 Lab units a level"
    assert levels.max() > levels.min()
    assert np.abs(lab(out / "b.png.color.png")[..., 1:]).max() > 3

    colorize_here(cluster, archive, tmp_path / "gray", settings={"abstain": 1e-6})
    assert np.abs(lab(tmp_path / "gray/b.png.color.png")[..., 1:]).max() < 0.5
    assert not (tmp_path / "gray/b.png.color.uncertainty.png").exists()
    code, _, err = chromaflow("colorize", archive, tmp_path / "x", "--abstain", "-1")
    assert code == 2 and "abstain: expected a number of 0 or more, got -1.0" in err
