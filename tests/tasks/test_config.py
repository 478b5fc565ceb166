"""chromaflow.toml: what is refused, and how paths resolve."""

from __future__ import annotations

from pathlib import Path

import pytest

from colorization.errors import ConfigError
from storage.errors import UsageError
from tasks.archive.photo_rows import Chunk, chunks
from tasks.config.file import build_workflow, load_workflow
from tasks.config.template import write_template


def test_the_template_of_init_is_a_valid_config(tmp_path: Path) -> None:
    write_template(tmp_path / "chromaflow.toml")
    workflow = load_workflow(tmp_path / "chromaflow.toml")
    assert workflow.datasets["people"].path == str(tmp_path / "photos/people")
    assert workflow.archive is not None and workflow.archive.output == tmp_path / "colorized"
    with pytest.raises(UsageError, match="Expected no file"):
        write_template(tmp_path / "chromaflow.toml")


@pytest.mark.parametrize(
    ("table", "named"),
    [
        ({"datasets": {"cars": "x"}}, "people, birds, animals, places"),
        ({"datasets": {"birds": 3}}, "path"),
        ({"datasets": {"birds": {"path": "x", "layout": "cub"}}}, "cub200"),
        ({"datasets": {"birds": {"path": "x", "limits": 3}}}, "limit"),
        ({"datasets": {"birds": {"path": "x", "limit": -1}}}, "0 or more"),
        ({"ingest": {"twin_distance": 16}}, "-1..15"),
        ({"preprocess": {"saturation_space": "rgb"}}, "lab, hsv"),
        ({"preprocess": {"short_side": 100}}, "256"),
        ({"preprocess": {"size": 100}}, "multiple of 32"),
        ({"train": {"recipe": "papper"}}, "paper, authors, default, scene, starter"),
        ({"train": {"overrides": {"epoch": 3}}}, "epochs"),
        ({"train": {"categories": {"cars": {"epochs": 3}}}}, "people, birds, animals, places"),
        ({"train": {"categories": {"birds": {"epoch": 3}}}}, "epochs"),
        ({"train": {"categories": {"birds": 3}}}, "a table of settings"),
        ({"train": {"init": "encoder"}}, "encoder_weights"),
        ({"train": {"init": "file"}}, "init_weights"),
        ({"train": {"overrides": {"network": "vgg"}}}, "resnet18, resnet18-trunk, unet18"),
        ({"train": {"overrides": {"perceptual": 1.0}}}, "perceptual_weights"),
        (
            {"train": {"init": "imagenet", "overrides": {"network": "eccv16"}}},
            "resnet18, resnet18-trunk, unet18, unet18-layer3, unet18-stride4, unet-scene, hypercolumn",
        ),
        ({"train": {"min_photos": 1}}, "2 or more"),
        ({"train": {"init": "pretrained"}}, r"\[pretrain\]"),
        ({"pretrain": {"recipe": "scene"}}, "pretrained"),
        (
            {"pretrain": {"init": "starter"}, "train": {"init": "pretrained"}},
            "scratch, encoder, imagenet, file",
        ),
        (
            {"pretrain": {}, "train": {"recipe": "starter", "init": "pretrained"}},
            '"unet-scene and unet18"',
        ),
        (
            {
                "pretrain": {},
                "train": {
                    "init": "pretrained",
                    "categories": {"birds": {"network": "unet18-stride4"}},
                },
            },
            '"unet18 and unet18-stride4"',
        ),
        ({"train": {"overrides": {"epochs": 0}}}, "init of pretrained, starter, file"),
        (
            {"train": {"init": "starter", "categories": {"birds": {"epochs": -1}}}},
            r"\[train.categories.birds\] epochs: expected 0 or more",
        ),
        (
            {
                "pretrain": {"init": "file", "init_weights": "x", "overrides": {"epochs": 0}},
                "train": {"init": "pretrained"},
            },
            r"\[pretrain.overrides\] epochs: expected 1 or more, got 0",
        ),
        (
            {
                "datasets": {"birds": "a", "people": "b", "places": "c"},
                "pretrain": {"recipe": "scene", "overrides": {"batch": 2}},
                "train": {"recipe": "scene", "init": "pretrained"},
            },
            r"\[pretrain.overrides\] batch: expected 3 or more: each step has photos of every",
        ),
        ({"train": {"overrides": {"network": "unet-scene", "loss": "l1"}}}, 'loss = "huber"'),
        ({"train": {"recipe": "scene", "overrides": {"wear": 2.0}}}, r"wear: expected 0\.\.1"),
        ({"compute": {"device": "gpu"}}, "auto, cpu, cuda"),
        ({"compute": {"threads": -1}}, "0 or more"),
        ({"colorize": {"merge": "max"}}, "soft, hard"),
        ({"ingest": {"val_share": 2}}, "0..0.9"),
        ({"archive": {"output": "x"}}, "path"),
        ({"unknown": 1}, "datasets"),
    ],
)
def test_a_wrong_value_names_the_allowed_ones(table: dict, named: str, tmp_path: Path) -> None:
    with pytest.raises((ConfigError, UsageError), match=named):
        build_workflow(table, tmp_path)


def test_one_seed_reaches_preprocess_and_train(tmp_path: Path) -> None:
    workflow = build_workflow({"seed": 7}, tmp_path)
    assert (workflow.preprocess.seed, workflow.train.seed) == (7, 7)


def test_chunks_are_neighbours_and_end_early_where_photos_are_large():
    def row(position: int, side: int) -> dict:
        return {"position": position, "width": side, "height": side}

    def cut(rows: list[dict]) -> list[Chunk]:
        positions, sizes = [r["position"] for r in rows], [r["width"] * r["height"] for r in rows]
        return list(chunks(positions, sizes, 32))

    small = [row(i, 100) for i in range(70)]
    names = [(one.name, one.stop - one.start) for one in cut(small)]
    assert names == [("000000", 32), ("000001", 32), ("000002", 6)]
    large = [row(i, 2000) for i in range(7)] + [row(9, 9000), row(10, 100)]
    parts = [(one.name, [r["position"] for r in large[one.start : one.stop]]) for one in cut(large)]
    assert parts == [
        ("000000", [0, 1, 2]),
        ("000000-1", [3, 4, 5]),
        ("000000-2", [6]),
        ("000000-3", [9]),
        ("000000-4", [10]),
    ]
    with_more = {one.name: one.stop - one.start for one in cut([*small, row(99, 100)])}
    assert with_more == dict(names) | {"000003": 1}


def test_an_encoding_is_one_of_names_in_archives(tmp_path: Path) -> None:
    table = {
        "archive": {"path": "x", "encoding": "cp932"},
        "datasets": {"people": {"path": "y", "encoding": "cp850"}},
    }
    workflow = build_workflow(table, tmp_path)
    assert workflow.archive is not None and workflow.archive.encoding == "cp932"
    assert workflow.datasets["people"].encoding == "cp850"
    for wrong in ("nonsense", "utf-16", "cp037", "hex", "undefined"):
        with pytest.raises(ConfigError, match="encoding: expected an encoding that Python knows"):
            build_workflow({"archive": {"path": "x", "encoding": wrong}}, tmp_path)


def test_links_are_left_alone_where_the_config_says_so(tmp_path: Path) -> None:
    table = {
        "archive": {"path": "x", "follow": False},
        "datasets": {"people": {"path": "y", "follow": False}},
    }
    workflow = build_workflow(table, tmp_path)
    assert workflow.archive is not None and not workflow.archive.follow
    assert not workflow.datasets["people"].follow
