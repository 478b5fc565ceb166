"""Palettes from the command: which colouring a photo gets, its variants, one palette a series."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from colorizing import colorize_here
from command import chromaflow
from conftest import draw_photo
from PIL import Image

from storage.records.names import SERIES_NAME
from storage.records.outputs import output_names, variant_name
from storage.records.tables import read_rows

pytestmark = pytest.mark.usefixtures("shared_server")


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    """Two albums, and a photo whose name is that of a variant of another one."""
    root = tmp_path / "in"
    names = ("one/a.png", "one/b.png", "two/c.png", "two/d.png", "e.png", "e.png.v1")
    for seed, name in enumerate(names):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(draw_photo(seed, 120, 90)).convert("L").save(root / name, format="PNG")
    return root


def outputs(out: Path) -> dict[str, dict[str, Any]]:
    """What the records say of each photo's output."""
    stage = (out / ".chromaflow/current/colorize/archive").resolve()
    records = [json.loads(path.read_text()) for path in sorted((stage / "done").glob("*.json"))]
    return {o["photo"]: o for record in records for o in record.get("outputs", ())}


def pixels(path: Path) -> np.ndarray:
    return np.asarray(Image.open(path).convert("RGB"))


def test_variants_lie_beside_their_photo_and_in_records_report_and_sheet(
    archive: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    code, text, err = chromaflow(
        "colorize", archive, out, "--variants", "2", "--palette", "likely", "--json"
    )
    assert code == 0, err
    found = outputs(out)
    assert set(found) == {"one/a.png", "one/b.png", "two/c.png", "two/d.png", "e.png", "e.png.v1"}
    names = [name for o in found.values() for name in (o["output"], *_variants(o))]
    assert len(set(names)) == 18 and all((out / name).is_file() for name in names)
    first = found["one/a.png"]
    assert _variants(first) == ["one/a.png.v1.color.png", "one/a.png.v2.color.png"]
    palettes = {first["palette"], *(variant["palette"] for variant in first["variants"])}
    assert len(palettes) == 3 and "" not in palettes
    own, likeliest, second = (pixels(out / name) for name in (first["output"], *_variants(first)))
    assert (own != likeliest).any() and (likeliest != second).any()
    assert (
        f"palette {first['variants'][1]['palette']}".encode()
        in (out / _variants(first)[1]).read_bytes()
    )

    code, text, err = chromaflow(
        "colorize", archive, out, "--variants", "2", "--palette", "likely", "--json"
    )
    assert {s["step"]: s["computed"] for s in json.loads(text)["steps"]} == {
        "ingest/archive": 0,
        "colorize/archive": 0,
    }, err
    code, text, err = chromaflow("verify", out, "--originals", archive)
    assert code == 0, err
    rows = {row["path"]: row for row in read_rows(out / ".chromaflow/report/photos.parquet")}
    assert json.loads(rows["one/a.png"]["variants"])[1] == [
        "one/a.png.v2.color.png",
        first["variants"][1]["palette"],
    ]

    code, _, err = chromaflow(
        "colorize", archive, out, "--palette", first["variants"][1]["palette"]
    )
    assert code == 0, err
    chosen = pixels(out / "one/a.png.color.png").astype(int)
    assert np.abs(chosen - second).mean() < 1
    others = {name for o in found.values() for name in _variants(o)}
    assert all((out / name).is_file() for name in others)  # nobody asked to delete them
    rows = read_rows(out / ".chromaflow/report/photos.parquet")
    kept = {row["output"]: row["detail"] for row in rows if row["status"] == "kept"}
    assert kept == dict.fromkeys(others, "a variant that this run was not asked for")
    code, text, err = chromaflow("verify", out)
    assert code == 0, err

    code, _, err = chromaflow("colorize", archive, out, "--variants", "1", "--delete")
    assert code == 0, err
    firsts = {_variants(o)[0] for o in outputs(out).values()}
    assert firsts == {name for name in others if (out / name).exists()}


def _variants(output: dict[str, Any]) -> list[str]:
    return [variant["output"] for variant in output.get("variants", ())]


def test_all_pages_of_a_tiff_are_in_its_variants(cluster: str, tmp_path: Path) -> None:
    root, out = tmp_path / "in", tmp_path / "out"
    root.mkdir()
    with tifffile.TiffWriter(root / "album.tif") as file:
        for seed in range(3):
            gray = np.asarray(Image.fromarray(draw_photo(seed, 100, 80)).convert("L"))
            deep = gray.astype(np.uint16) * 257
            file.write(deep if seed < 2 else gray, photometric="minisblack")
    settings = {"variants": 2, "palette": "likely", "pages": "1-2"}
    colorize_here(cluster, root, out, settings=settings)
    own = tifffile.imread(out / "album.tif.color.tif", key=0)
    for name in ("album.tif.v1.color.tif", "album.tif.v2.color.tif"):
        with tifffile.TiffFile(out / name) as file:
            assert len(file.pages) == 3
            assert file.pages[0].asarray().dtype == np.uint16
            assert file.pages[2].asarray().ndim == 2  # not chosen: copied
    assert (tifffile.imread(out / "album.tif.v2.color.tif", key=0) != own).any()


@pytest.mark.slow
def test_photos_of_one_folder_share_a_palette_and_a_new_folder_changes_no_other(
    archive: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    code, _, err = chromaflow("colorize", archive, out, "--series", "folder")
    assert code == 0, err
    found = outputs(out)
    palettes = {name: o["palette"] for name, o in found.items()}
    assert palettes["one/a.png"] == palettes["one/b.png"] != ""
    assert palettes["two/c.png"] == palettes["two/d.png"] != ""
    step = (out / ".chromaflow/current/series/archive").resolve()
    rows = {row["folder"]: row for row in read_rows(step / SERIES_NAME)}
    assert set(rows) == {".", "one", "two"} and rows["one"]["asked"] == 2
    assert rows["one"]["palette"] == palettes["one/a.png"]

    times = {name: (out / o["output"]).stat().st_mtime_ns for name, o in found.items()}
    (archive / "three").mkdir()
    Image.fromarray(draw_photo(9, 120, 90)).convert("L").save(archive / "three/f.png")
    code, text, err = chromaflow("colorize", archive, out, "--series", "folder")
    assert code == 0, err
    again = outputs(out)
    assert set(again) == {*found, "three/f.png"}
    kept = {
        name for name in found if (out / again[name]["output"]).stat().st_mtime_ns == times[name]
    }
    assert kept == set(found)


@pytest.mark.slow
def test_a_colour_photo_says_the_palette_of_all(archive: Path, tmp_path: Path) -> None:
    warm, cold = tmp_path / "warm.png", tmp_path / "cold.png"
    gray = np.asarray(Image.fromarray(draw_photo(0, 120, 90)).convert("L"))[..., None]
    for path, tint in ((warm, (1.0, 0.7, 0.3)), (cold, (0.3, 0.7, 1.0))):
        Image.fromarray((gray * np.array(tint)).astype(np.uint8)).save(path)
    b = {}
    for path in (warm, cold):
        out = tmp_path / path.stem
        code, _, err = chromaflow("colorize", archive, out, "--palette-from", path)
        assert code == 0, err
        found = outputs(out)
        assert len({o["palette"] for o in found.values()}) == 1
        colours = [pixels(out / o["output"]).astype(float) for o in found.values()]
        b[path] = np.mean([c[..., 0].mean() - c[..., 2].mean() for c in colours])
    assert b[warm] > b[cold]  # redder than blue, in the mean of all photos


@pytest.mark.parametrize(
    ("words", "named"),
    [
        (("--palette", "vivid"), "palette: expected mean, likely, a number of 1..48"),
        (("--variants", "13"), "variants: expected a whole number of 0..12"),
        (("--series", "album"), "series: expected one of folder"),
        (("--series", "folder", "--palette", "7"), "series: expected mean or likely as palette"),
        (("--palette", "likely", "--palette-from", "one/a.png"), "palette: expected mean"),
        (("--palette-from", "one/a.png"), "which is gray"),
        (("--palette-from", "nowhere.png"), "found no file"),
    ],
)
def test_what_cannot_be_a_palette_is_refused_before_anything_is_done(
    archive: Path, tmp_path: Path, words: tuple[str, ...], named: str
) -> None:
    out = tmp_path / "out"
    code, _, err = chromaflow("colorize", archive, out, *words, cwd=archive)
    assert code == 2 and named in err and len(err.strip().splitlines()) == 1
    assert not any(out.glob("**/*.png"))


def test_experts_that_follow_no_palette_are_refused_one(archive: Path, tmp_path: Path) -> None:
    from colorization.networks import build_network
    from storage.records.checkpoints import save_checkpoint

    weights = tmp_path / "expert.safetensors"
    state = build_network("resnet18-trunk").state_dict()
    save_checkpoint(
        weights, {k: v.numpy() for k, v in state.items()}, {"network": "resnet18-trunk"}, half=True
    )
    names = ("people", "birds", "animals", "places")
    config = tmp_path / "chromaflow.toml"
    config.write_text("[experts]\n" + "".join(f'{name} = "{weights}"\n' for name in names))
    code, _, err = chromaflow(
        "colorize", archive, tmp_path / "out", "--models", config, "--variants", "2"
    )
    assert code == 2
    assert "Expected an expert of unet-scene with variants" in err and "resnet18-trunk" in err


def test_names_of_variants_meet_no_other_photos_name() -> None:
    names = output_names(["e.png", "e.png.v1", "e.png.v2.color"], variants=2)
    every = [n for s in names.values() for n in (s, variant_name(s, 1), variant_name(s, 2))]
    assert len(set(every)) == 9 and names["e.png"] == "e.png.color"
    assert output_names(["e.png.v1"], variants=0)["e.png.v1"] == "e.png.v1.color"
