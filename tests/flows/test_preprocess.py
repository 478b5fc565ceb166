"""Ingest and preprocess as a user sees them: generations, published layouts, previews, disk."""

from __future__ import annotations

import io
import json
import os
import shutil
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from command import actions, chromaflow, computed, shard_hashes
from conftest import draw_photo, write_textured
from PIL import Image

from colorization.training.augmentation import Augmentation
from storage.photos.reduced import decode_rgb
from storage.shards.reader import ShardReader
from tasks.jobs.preprocess import stored_photo

CONFIG = '[datasets]\nbirds = "photos"\n[preprocess]\nsize = 64\n'
UNTIL = ("--until", "preprocess")
pytestmark = pytest.mark.usefixtures("shared_server")


def test_new_changed_and_removed_photos_touch_only_their_shards(
    tmp_path: Path, many_photos: Path
) -> None:
    photos, workspace = tmp_path / "photos", tmp_path / "workspace"
    shutil.copytree(many_photos, photos)
    write_textured(tmp_path / "odd.jpg", 7000)
    (tmp_path / "odd.jpg").rename(photos / "odd.txt")  # content decides: a photo, for now
    config = tmp_path / "chromaflow.toml"
    config.write_text(CONFIG)
    steps = computed(config, *UNTIL)
    first = shard_hashes(workspace)
    assert steps["preprocess/birds"]["computed"] == len(first) >= 8

    for i in range(10):
        write_textured(photos / f"0000-new{i}.jpg", 5000 + i)
    steps = computed(config, *UNTIL)
    second = shard_hashes(workspace)
    assert steps["ingest/birds"]["computed"] == 1, "only the ten are read"
    assert {path: second[path] for path in first} == first
    assert steps["preprocess/birds"]["computed"] == len(second) - len(first) <= 2
    assert steps["preprocess/birds"]["counts"]["done"] == 2011

    write_textured(photos / "0700.jpg", 9000)
    steps = computed(config, *UNTIL)
    third = shard_hashes(workspace)
    assert steps["preprocess/birds"]["computed"] == 1
    assert sum(third[path] != second[path] for path in second) == 1

    (photos / "1200.jpg").unlink()
    os.utime(photos / "1300.jpg", ns=(1, 1))
    (photos / "odd.txt").write_text("now a note")
    steps = computed(config, *UNTIL)
    assert steps["ingest/birds"]["counts"]["ignored"] == 1
    assert steps["preprocess/birds"]["computed"] <= 2, "the removed photo's shard and the note's"
    assert steps["preprocess/birds"]["counts"]["done"] == 2009
    assert_every_crop_is_that_of_its_source(workspace, photos)
    assert {action for s, (action, _) in actions(config).items() if "train" not in s} >= {"skip"}
    assert chromaflow("verify", "--config", config)[0] == 0


def assert_every_crop_is_that_of_its_source(workspace: Path, source: Path) -> None:
    """Make each stored photo again from rows.parquet and the files alone."""
    folder = workspace / "current/preprocess/birds"
    table = pd.read_parquet(folder / "rows.parquet")
    space = json.loads((folder / "stage.json").read_text())["parts"]["config"]["saturation_space"]
    for split, rows in table.groupby("split"):
        reader = ShardReader(folder / "lab.zarr", str(split), rows["row"].to_numpy())
        for row in rows.to_dict("records"):
            rgb = decode_rgb((source / row["path"]).read_bytes(), short_side=row["resized"])
            augmentation = Augmentation(**{name: row[name] for name in Augmentation.__slots__})
            made = stored_photo(rgb, augmentation, {"saturation_space": space})
            np.testing.assert_array_equal(reader.photo(row["row"]), made)


def test_a_published_archive_is_read_as_it_was_downloaded(tmp_path: Path) -> None:
    """CUB-200-2011 in its .tgz, with a limit, variants and HSV saturation, twins and a gray photo."""
    names = [f"{c:03d}.Bird_{c}/Bird_{c}_{i:04d}.jpg" for c in (1, 2) for i in range(20)]
    lists = {
        "images.txt": "".join(f"{i} {name}\n" for i, name in enumerate(names, 1)),
        "train_test_split.txt": "".join(f"{i} {int(i % 5 > 0)}\n" for i in range(1, 41)),
        "image_class_labels.txt": "".join(f"{i} {1 + (i > 20)}\n" for i in range(1, 41)),
    }
    files = {f"CUB_200_2011/{name}": text.encode() for name, text in lists.items()}
    for i, name in enumerate(names):
        buffer = io.BytesIO()
        if i == 6:
            Image.fromarray(draw_photo(3)).convert("L").save(buffer, "JPEG")
        elif i == 7:
            write_textured(tmp_path / "twin.jpg", 8)
            with Image.open(tmp_path / "twin.jpg") as image:
                image.transpose(Image.Transpose.FLIP_LEFT_RIGHT).save(buffer, "JPEG", quality=60)
        else:
            write_textured(tmp_path / "one.jpg", i)
            buffer.write((tmp_path / "one.jpg").read_bytes())
        files[f"CUB_200_2011/images/{name}"] = buffer.getvalue()
    with tarfile.open(tmp_path / "CUB_200_2011.tgz", "w:gz") as archive:
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    config = tmp_path / "chromaflow.toml"
    config.write_text(
        '[datasets]\nbirds = { path = "CUB_200_2011.tgz", limit = 30 }\n[preprocess]\nsize = 64\n'
        'variants = 3\nsaturation_space = "hsv"\n'
    )
    steps = computed(config, *UNTIL)
    counts = steps["preprocess/birds"]["counts"]
    manifest = pd.read_parquet(tmp_path / "workspace/current/ingest/birds/manifest.parquet")
    assert len(manifest) == 30 and set(manifest["split"]) == {"train", "val"}
    assert sorted(manifest["label"].value_counts()) == [15, 15]
    num_train = int((manifest["split"] == "train").sum())
    assert counts["train"] == 3 * num_train and counts["val"] == 30 - num_train
    dropped = pd.read_parquet(tmp_path / "workspace/current/ingest/birds/quarantine.parquet")
    assert set(dropped["code"]) == {"NEAR_GRAY", "NEAR_DUPLICATE"}

    sheet = tmp_path / "sheet.png"
    code, out, err = chromaflow(
        "show", "shards", "birds", "--config", config, "--photos", 3, "--output", sheet, "--json"
    )
    assert code == 0, err
    assert {row["code"]: row["num_photos"] for row in json.loads(out)["dropped"]} == {
        "NEAR_GRAY": 1,
        "NEAR_DUPLICATE": 1,
    }
    with Image.open(sheet) as image:
        pixels = np.asarray(image.convert("RGB")).astype(int)
    red = (pixels[..., 0] > 240) & (pixels[..., 1] < 90) & (pixels[..., 2] < 40)
    assert red[:, : 8 + 224].sum() > 300, "crop boxes are drawn on the photos"
    in_a = pixels[40:80, 8 + 3 * 232 + 90 : 8 + 3 * 232 + 134]  # 64 pixels in the middle of a cell
    assert np.ptp(in_a, axis=2).max() == 0 and np.ptp(in_a[..., 0]) > 5, "a is a gray picture"


def test_a_wrong_list_is_exit_2_with_the_file_and_its_lines(
    tmp_path: Path, make_photo: Any
) -> None:
    make_photo(tmp_path / "faces/img_align_celeba/000001.jpg")
    (tmp_path / "faces/list_eval_partition.txt").write_text("000001.jpg train\n")
    config = tmp_path / "chromaflow.toml"
    config.write_text('[datasets]\npeople = "faces"\n')
    code, _, err = chromaflow("ingest", "--config", config)
    assert code == 2
    assert "list_eval_partition.txt" in err and "NNNNNN.jpg 0|1|2" in err


@pytest.mark.slow
def test_what_the_disk_cannot_hold_is_refused_before_it_is_begun(
    tmp_path: Path, many_photos: Path
) -> None:
    config = tmp_path / "chromaflow.toml"
    config.write_text(
        f'[datasets]\nbirds = "{many_photos}"\n[preprocess]\nsize = 16384\nvariants = 256\n'
    )
    code, out, err = chromaflow("plan", "--config", config, "--json")
    planned = {row["step"]: row for row in json.loads(out)["steps"]}["preprocess/birds"]
    assert planned["bytes"] > 1e14 and planned["photos"] == 2000 and planned["seconds"] > 0
    code, _, err = chromaflow("run", "--config", config, *UNTIL)
    assert code == 5
    assert "Expected room for" in err and "MB free" in err
    assert not shard_hashes(tmp_path / "workspace")


def test_show_shards_names_what_is_there(tmp_path: Path, project: Path) -> None:
    code, _, err = chromaflow("show", "shards", "people", "--config", project)
    assert code == 2 and "chromaflow preprocess" in err
