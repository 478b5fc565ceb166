"""Five categories from photos to coloured archive, scores and report, by the command."""

from __future__ import annotations

import csv
import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from colorizing import colorize_here
from command import chromaflow, computed
from conftest import MakePhoto
from PIL import Image

from colorization.categories import PAPER, VOC_CLASSES
from storage.records.checkpoints import load_checkpoint
from tasks.evaluation.inputs import find_photos
from tasks.weights.models import starter_file

FIVE = """
[categories.people]
classes = ["person"]
[categories.birds]
classes = ["bird"]
[categories.cats]
classes = ["cat"]
[categories.horses]
classes = ["horse"]
[categories.places]
rest = true
"""
NAMES = ("people", "birds", "cats", "horses", "places")
OTHERS = """
[archive]
path = "gray"
[ingest]
twin_distance = -1
[preprocess]
size = 64
[train]
recipe = "starter"
init = "starter"
min_photos = 2
[train.overrides]
learning_rate = 1e-5
epochs = 1
batch = 4
crop = 0
[train.categories.cats]
epochs = 0
[colorize]
short_side = 64
"""


def write_config(folder: Path, names: tuple[str, ...] = NAMES) -> Path:
    datasets = "\n".join(f'{name} = "photos/{name}"' for name in names)
    config = folder / "chromaflow.toml"
    config.write_text(f"{FIVE}[datasets]\n{datasets}\n{OTHERS}")
    return config


@pytest.mark.slow
@pytest.mark.usefixtures("no_server")
def test_five_categories_are_trained_merged_and_evaluated(
    tmp_path: Path, make_photo: MakePhoto
) -> None:
    for number, name in enumerate(NAMES):
        for i in range(10):
            split = "val" if i % 3 == 0 else "train"
            path = tmp_path / "photos" / name / split / "all" / f"{i}.png"
            make_photo(path, seed=100 * number + i)
    for i in range(2):
        make_photo(tmp_path / "gray" / f"{i}.png", seed=i, gray=True, size=(90 + i, 70))
    config = write_config(tmp_path)
    steps = computed(config)
    stages = ("ingest", "preprocess", "train", "evaluate")
    assert {f"{stage}/{name}" for stage in stages for name in NAMES} <= set(steps)

    current = tmp_path / "workspace/current"
    parent = load_checkpoint(starter_file("animals").path)
    cats = load_checkpoint(current / "train/cats/weights.safetensors")
    assert (cats.metadata["category"], cats.metadata["parent"]) == ("cats", "animals")
    card = (current / "train/horses/card.md").read_text()
    assert "# Colorizer for horses" in card and "| starts as the category | animals |" in card
    assert all(np.array_equal(cats.tensors[key], value) for key, value in parent.tensors.items())

    report = tmp_path / "workspace/report"
    run = json.loads((report / "run.json").read_text())
    assert run["counts"]["coloured"] == 2
    assert run["categories"] == list(NAMES) and set(run["colours"]) == set(NAMES)
    assert len(set(run["colours"].values())) == 5
    experts = run["models"]["experts"]
    assert set(experts) == set(NAMES)
    assert [experts[name]["provenance"]["category"] for name in NAMES] == [*NAMES]
    rows = pd.read_parquet(report / "photos.parquet")
    shares = [name for name in rows if name.startswith("share_")]
    assert shares == [f"share_{name}" for name in NAMES]
    assert rows[shares].sum(axis=1).to_numpy() == pytest.approx(1, abs=0.01)

    code, out, err = chromaflow("models", "show", "horses", "--config", config, "--json")
    assert code == 0 and json.loads(out)["provenance"]["category"] == "horses", err
    scores = evaluated("all:val", config, tmp_path / "scores")
    assert {row["category"] for row in scores} == {"all", *NAMES}
    assert {row["system"] for row in scores} >= {"mine", "alone", "starter"}
    cats_alone = [row for row in scores if row["category"] == "cats" and "delta_e" in row]
    own = {row["system"]: row["delta_e"] for row in cats_alone}
    assert len(own) == 6
    assert own["alone"] == own["starter"], (
        "cats learnt nothing: both are the animals of the starter"
    )
    assert (tmp_path / "scores/figures").is_dir()

    (found,) = find_photos(str(tmp_path / "photos"), config, 0, None, NAMES)
    assert {photo["category"] for photo in found.photos} == {*NAMES}
    text = config.read_text().replace('classes = ["horse"]', 'classes = ["horse", "cow"]')
    config.write_text(text)
    code, out, err = chromaflow("plan", "--config", config)
    assert code == 0, err
    redone = [line.split()[1] for line in (out + err).splitlines() if "config changed" in line]
    assert redone == ["colorize/archive"], out + err


def evaluated(location: str, config: Path, output: Path) -> list[dict[str, Any]]:
    systems = (f"mine={config}", f"alone={config},own", "starter=starter,own")
    words = [word for system in systems for word in ("--system", system)]
    code, out, err = chromaflow(
        "evaluate", location, "--config", config, "--output", output, "--size", "64", "--json",
        *words,
    )  # fmt: skip
    assert code == 0, err
    rows: list[dict[str, Any]] = json.loads(out)["scores"]
    return rows


def outputs(folder: Path) -> Iterator[tuple[str, bytes]]:
    for path in sorted(folder.rglob("*")):
        if path.suffix in (".png", ".xmp") and path.is_file():
            yield path.relative_to(folder).as_posix().rpartition("/")[2], path.read_bytes()


def test_the_papers_four_are_the_default_to_the_byte(
    cluster: str, tmp_path: Path, make_photo: MakePhoto
) -> None:
    for i in range(2):
        make_photo(tmp_path / "gray" / f"{i}.png", seed=i, gray=True, size=(90 + i, 70))
    settings = {"thumbnails": 64, "uncertainty": True, "sidecar": True, "short_side": 64}
    config = tmp_path / "four.toml"
    tables = [f"[categories.{name}]\nclasses = {json.dumps(c)}" for name, c in PAPER.to_json()[:3]]
    config.write_text("\n".join([*tables, "[categories.places]\nrest = true\n[archive]\npath='x'"]))
    found = []
    for models in (None, str(config)):
        out = tmp_path / ("explicit" if models else "default")
        colorize_here(cluster, tmp_path / "gray", out, models=models, settings=settings)
        found.append(list(outputs(out)))
    assert len(found[0]) >= 6
    assert found[0] == found[1]


VOC_PHOTOS = Path(__file__).parents[4] / "shared/data/photos_seg"


@pytest.mark.slow
@pytest.mark.usefixtures("no_server")
@pytest.mark.skipif(not VOC_PHOTOS.is_dir(), reason="needs ../shared/data/photos_seg")
def test_five_categories_of_voc_photos_and_masks(tmp_path: Path) -> None:
    """Photos filed by the VOC class of their largest mask; what the segmenter says against the masks."""
    counts = dict.fromkeys(NAMES, 0)
    masks = {}
    owner = {"person": "people", "bird": "birds", "cat": "cats", "horse": "horses"}
    with (VOC_PHOTOS / "index.csv").open(newline="") as file:
        ids = [row["id"] for row in csv.DictReader(file)]
    for name in ids:
        mask = np.asarray(Image.open(VOC_PHOTOS / "masks" / f"{name}.png"))
        present = np.bincount(mask[(mask > 0) & (mask < 255)], minlength=21)
        category = owner.get(VOC_CLASSES[int(present.argmax())], "places")
        folder = tmp_path / "photos" / category
        if counts[category] >= 16:
            continue
        counts[category] += 1
        folder.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(VOC_PHOTOS / "images" / f"{name}.jpg", folder / f"{name}.jpg")
        masks[name] = category

    names = tuple(name for name in NAMES if counts[name] >= 5)
    assert {"people", "cats", "horses"} <= set(names), counts
    (tmp_path / "gray").mkdir()
    for path in (tmp_path / "photos").glob("*/*.jpg"):
        Image.open(path).convert("L").save(tmp_path / "gray" / f"{path.stem}.png")
    config = write_config(tmp_path, names)
    config.write_text(
        config.read_text()
        .replace("size = 64", "size = 128")
        .replace("[colorize]\nshort_side = 64\n", "")
    )
    computed(config)
    rows = pd.read_parquet(tmp_path / "workspace/report/photos.parquet").set_index("path")
    for category in ("cats", "horses"):
        filed = [
            rows.loc[f"{name}.png", f"share_{category}"]
            for name in masks
            if masks[name] == category
        ]
        other = [
            rows.loc[f"{name}.png", f"share_{category}"]
            for name in masks
            if masks[name] != category
        ]
        print(category, np.mean(filed), np.mean(other))
        assert np.mean(filed) > 3 * np.mean(other)
    scores = evaluated("all:val", config, tmp_path / "scores")
    assert {row["category"] for row in scores} >= {"all", "cats", "horses", "people"}
