"""[categories]: what is taken, what is refused and how, and what the rest of a config makes of it."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest
from command import chromaflow

from colorization.categories import PAPER
from colorization.errors import ConfigError
from tasks.archive.workflow import archive_workflow
from tasks.config.file import build_workflow, load_workflow
from tasks.config.request import ColorizeRequest
from tasks.weights.models import expert_files

FIVE: dict[str, Any] = {
    "places": {"rest": True},
    "people": {"classes": ["person"]},
    "birds": {"classes": ["bird"]},
    "cats": {"classes": ["cat"]},
    "horses": {"classes": ["horse"]},
}


def test_the_table_replaces_the_four_and_the_rest_goes_last(tmp_path: Path) -> None:
    assert build_workflow({}, tmp_path).categories == PAPER
    table = {"categories": FIVE, "datasets": {"horses": "h"}, "experts": {"cats": "c.safetensors"}}
    workflow = build_workflow(table, tmp_path)
    assert workflow.categories.names == ("people", "birds", "cats", "horses", "places")
    files = expert_files(workflow.datasets, workflow.experts, workflow.categories)
    names = {name: file.name for name, file in files.items()}
    assert names == {
        "people": "starter:people",
        "birds": "starter:birds",
        "cats": "expert:cats",
        "places": "starter:places",
    }


def test_the_papers_four_written_out_are_the_default(tmp_path: Path) -> None:
    four = {name: {"classes": classes} for name, classes in PAPER.to_json() if classes}
    workflow = build_workflow({"categories": four | {"places": {"rest": True}}}, tmp_path)
    assert workflow.categories == PAPER
    assert workflow == build_workflow({}, tmp_path)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (
            {"horses": {"classes": ["hors"]}},
            r"\[categories.horses\] classes: .*horse.*\[\"hors\"\]",
        ),
        ({"horses": {"classes": ["cat"]}}, r"\(cat is cats's\).*Take it out of cats or of horses"),
        ({"horses": {"classes": ["horse", "horse"]}}, "Name it once"),
        ({"horses": {}}, "Name some of background, aeroplane.* or write rest = true"),
        ({"horses": {"rest": True}}, r"one category with rest = true.*\[\"places\", \"horses\"\]"),
        ({"horses": {"rest": True, "classes": ["cow"]}}, "the rest owns what no other"),
        ({"horses": {"class": ["horse"]}}, "classes, rest; got class. Write classes"),
        ({"horses": 3}, "a table of settings"),
        ({"places": {"classes": ["sofa"]}}, r"Write \[categories.places\] and rest = true"),
        ({"archive": {"classes": ["sofa"]}}, "a name other than all, archive, list, segmenter"),
        ({"My cats": {"classes": ["sofa"]}}, "with a letter first"),
        ({"../x": {"classes": ["sofa"]}}, "with a letter first"),
    ],
)
def test_what_is_wrong_in_the_table_is_said(
    tmp_path: Path, change: dict[str, Any], words: str
) -> None:
    with pytest.raises(ConfigError, match=words):
        build_workflow({"categories": FIVE | change}, tmp_path)


@pytest.mark.parametrize(
    ("table", "words"),
    [
        ({"datasets": {"horse": "x"}}, r"\[datasets\] horse: .*horses, places; got horse. Write h"),
        ({"datasets": {"animals": "x"}}, r"\[datasets\] animals: .* write \[categories.animals\]"),
        ({"experts": {"animals": "x"}}, r"\[experts\] animals: expected a category of people, b"),
        ({"train": {"categories": {"animals": {"epochs": 3}}}}, r"\[train.categories\] animals:"),
        (
            {"colorize": {"segmenter": "torchvision:x", "classes": {"cow": "animals"}}},
            r"\[colorize.classes\] cow: expected a category of people, birds, cats",
        ),
    ],
)
def test_other_tables_name_categories_that_there_are(
    tmp_path: Path, table: dict[str, Any], words: str
) -> None:
    with pytest.raises(ConfigError, match=words) as caught:
        build_workflow({"categories": FIVE, "preprocess": {"size": 3}} | table, tmp_path)
    assert "multiple of 32" in str(caught.value), "all wrong settings are said at once"


def test_a_wrong_table_is_exit_2_before_anything_is_done(tmp_path: Path) -> None:
    config = tmp_path / "chromaflow.toml"
    config.write_text('[categories.horses]\nclasses = ["hors"]\n[datasets]\nhorses = "h"\n')
    started = time.monotonic()
    code, out, err = chromaflow("run", "--config", config)
    assert code == 2 and "[categories.horses] classes" in err and "pottedplant" in err
    assert time.monotonic() - started < 5 and not (tmp_path / "workspace").exists()


def test_colorize_takes_the_categories_of_the_config_that_it_is_given(tmp_path: Path) -> None:
    config = tmp_path / "chromaflow.toml"
    config.write_text(
        '[categories.horses]\nclasses = ["horse"]\n[categories.rest]\nrest = true\n[archive]\npath = "."\n'
    )
    (tmp_path / "gray").mkdir()
    request = ColorizeRequest(archive=str(tmp_path / "gray"), models=str(config))
    workflow = archive_workflow(request, tmp_path / "out")
    assert workflow.categories == load_workflow(config).categories
    assert workflow.categories.names == ("horses", "rest")
    wrong = ColorizeRequest(
        archive=request.archive,
        models=request.models,
        settings={
            "segmenter": "torchvision:lraspp_mobilenet_v3_large",
            "classes": {"cow": "animals"},
        },
    )
    with pytest.raises(ConfigError, match="horses, rest; got 'animals'"):
        archive_workflow(wrong, tmp_path / "out")
