"""Every setting against every wrong kind of value, made from the models; the guide says what they say.

The golden files hold what the configs of an unchanged chromaflow.toml were before pydantic checked
them (31f16b9): equal settings must go on to give equal fingerprints.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import MISSING, fields, is_dataclass
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, Union, get_args, get_origin, get_type_hints

import pytest

from colorization.errors import ConfigError
from colorization.merging.options import MergeOptions
from colorization.training.recipe_fields import RECIPE_KEYS
from storage.records.fingerprint import hash_value
from tasks.config.file import ConfigTable, build_workflow, load_workflow
from tasks.config.model import DatasetConfig, TrainConfig, Workflow, canonical
from tasks.config.types import TableOf, changed
from tasks.prefect_server.deployments import DeploymentsTable, read_deployments

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
GOLDEN = HERE / "golden"
WRONG: dict[Any, list[Any]] = {
    str: [5, 1.5, True, ["a"], {"a": 1}],
    int: ["x", "3", True, 1.5, 2.0, [1], {"a": 1}],
    float: ["x", "0.5", True, [0.5], {"a": 1}],
    bool: ["false", "true", 1, 0, 0.5, [True], {"a": 1}],
    tuple: ["x", 5, 1.5, True, {"a": 1}, [5]],
    dict: ["x", 5, 1.5, False, ["a"]],
}
Case = tuple[tuple[Any, ...], Any]


def bare(annotation: Any) -> tuple[Any, tuple[Any, ...]]:
    if get_origin(annotation) is Annotated:
        kind, marks = bare(get_args(annotation)[0])
        return kind, (*marks, *annotation.__metadata__)
    if get_origin(annotation) in (Union, UnionType):
        return bare(next(a for a in get_args(annotation) if a is not type(None)))
    return annotation, ()


def settings_of(annotation: Any, at: tuple[Any, ...] = ()) -> Iterator[Case]:
    """Path and kind of everything that can be set, tables too."""
    kind, marks = bare(annotation)
    tables = [mark for mark in marks if isinstance(mark, TableOf)]
    if at:
        of_table = is_dataclass(kind) or get_origin(kind) is dict
        yield at, dict if of_table else get_origin(kind) or kind
    if tables:
        for name, inner in tables[0].members.items():
            yield from settings_of(inner, (*at, name))
    elif is_dataclass(kind):
        hints = get_type_hints(kind, include_extras=True)
        for f in fields(kind):
            if f.name != "seed" or not at:
                yield from settings_of(hints[f.name], (*at, f.name))
    elif get_origin(kind) is dict and get_args(kind)[1] is not Any:
        key = "horse" if at[-1] == "classes" else "birds"
        yield from settings_of(get_args(kind)[1], (*at, key))
    elif get_origin(kind) is tuple and is_dataclass(get_args(kind)[0]):
        yield from settings_of(get_args(kind)[0], (*at, 0))


def nested(at: tuple[Any, ...], value: Any) -> Any:
    for part in reversed(at):
        value = [value] if isinstance(part, int) else {part: value}
    return value


def cases(root: Any) -> list[Case]:
    return [(at, value) for at, kind in settings_of(root) for value in WRONG.get(kind, [])]


def test_every_key_refuses_every_wrong_kind_with_its_path_in_one_line(tmp_path: Path) -> None:
    checked = cases(ConfigTable)
    assert len({at for at, _ in checked}) > 130
    for at, value in checked:
        if at == ("datasets", "birds") and isinstance(value, str):
            continue  # a path alone
        with pytest.raises(ConfigError) as caught:
            build_workflow(nested(at, value), tmp_path, "chromaflow.toml: ")
        *tables, key = at
        path = f"[{'.'.join(tables)}] {key}" if tables else key
        table = f"[{'.'.join(at)}]"
        lines = str(caught.value).splitlines()
        about = [line for line in lines if line.startswith(f"chromaflow.toml: {path}: expected ")]
        about += [line for line in lines if line.startswith(f"chromaflow.toml: {table}: expected ")]
        assert len(about) == 1, (at, value, lines)
        assert re.search(r"got .+\. \w.*\.$", about[0]), about[0]
        assert not re.search(r"pydantic|<class|0x[0-9a-f]{6}|Config\(", about[0])


def test_every_key_of_prefect_yaml_refuses_every_wrong_kind(tmp_path: Path) -> None:
    path = tmp_path / "prefect.yaml"
    for at, value in cases(DeploymentsTable):
        if at[-1] == "concurrency_limit" and value == 5 and value is not True:
            continue  # a limit alone
        table: Any = nested(at, value)
        table = {"deployments": [{"name": "mine"}]} | table
        path.write_text(json.dumps(table))
        with pytest.raises(ConfigError) as caught:
            read_deployments(path, tmp_path)
        named = "".join(f"[{part}]" if part == 0 else f".{part}" for part in at).removeprefix(".")
        if value == [5] and at[-1] in ("deployments", "schedules", "pull"):
            named += "[0]"  # the entry is wrong
        about = [
            line for line in str(caught.value).splitlines() if line.startswith(f"{path}: {named}: ")
        ]
        assert len(about) == 1 and "expected " in about[0], (at, value, str(caught.value))


@pytest.mark.parametrize(
    ("table", "lines"),
    [
        (
            {"archive": {"path": "x", "include": "*.tif"}},
            '[archive] include: expected a list of patterns, got the text "*.tif". '
            'Write include = ["*.tif"].',
        ),
        (
            {"colorize": {"sidecar": "false", "merg": "soft"}},
            '[colorize] sidecar: expected true or false, got the text "false". Write sidecar = '
            "false.\n[colorize] merg: expected a key of abstain, accept, accept_photos, certificates, chunk, classes, "
            "feather, floor, format, hints, keep_times, key, label, merge, pages, palette, palette_from, range, salvage, "
            "saturation, "
            "segmenter, segmenter_weights, series, sheet, "
            "short_side, sidecar, signature, temperature, threshold, thumbnails, time_authority, "
            "toning, uncertainty, variants; got merg. Write merge.",
        ),
        (
            {"ingest": {"seed": 3}, "compute": {"device": "gpu", "workers": -1}, "sheet": 3},
            "[ingest] seed: expected one seed, at the top level, got another in [ingest]. Write seed "
            "above the sections.\n"
            "[compute] workers: expected a whole number of 0 or more, got -1. Write workers = 0, for "
            "example.\n"
            '[compute] device: expected one of auto, cpu, cuda, got the text "gpu". Write device = '
            '"cpu", for example.\n'
            "sheet: expected a key of archive, categories, colorize, compute, datasets, experts, ingest, "
            "preprocess, pretrain, seed, train, workspace; got sheet. Write it below [colorize].",
        ),
        (
            {"train": {"overrides": {"batch": 0, "epochs": "3", "loss": "l3"}}},
            '[train.overrides] epochs: expected a whole number, got the text "3". Write epochs = 3.\n'
            "[train.overrides] batch: expected 1 or more, got 0. Write batch = 64, for example.\n"
            "[train.overrides] loss: expected l2, l1, huber, classification; got 'l3'. Write loss = "
            '"l2", for example.',
        ),
        (
            {"colorize": {"a\x1b[31mb": 1}},
            r"[colorize] a\x1b[31mb: expected a key",
        ),
    ],
)
def test_all_problems_of_a_file_are_said_at_once(table: dict, lines: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        build_workflow(table, tmp_path)
    assert str(caught.value) == lines or str(caught.value).startswith(lines + " of")


def test_the_literal_examples_end_in_lines_and_exit_2(tmp_path: Path) -> None:
    (tmp_path / "chromaflow.toml").write_text(
        'seed = "abc"\ndatasets = "x"\ntrain = 5\n[archive]\npath = "a"\ninclude = "*.tif"\n'
        'exclude = "*.tmp"\n[colorize]\nsidecar = "false"\n[compute]\nworkers = 1.5\n'
    )
    code = (
        "import sys; sys.argv = ['chromaflow', 'plan']\n"
        "from flows.cli.app import main\n"
        "try: main()\n"
        "finally: print({'torch', 'prefect', 'dask'} & sys.modules.keys())"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 2 and done.stdout == "set()\n"
    lines = done.stderr.splitlines()
    assert len(lines) == 7 and "Traceback" not in done.stderr
    starts = ("seed", "[datasets]", "[train]", "[archive] include", "[archive] exclude")
    for start in (*starts, "[colorize] sidecar", "[compute] workers"):
        assert any(f"chromaflow.toml: {start}: expected " in line for line in lines), start


def test_configs_are_frozen_and_checked_wherever_they_are_built() -> None:
    config = TrainConfig()
    with pytest.raises(AttributeError):
        config.init = "file"  # type: ignore[misc]
    with pytest.raises(
        ConfigError, match="min_photos: expected a whole number of 2 or more, got 1"
    ):
        changed(config, {"min_photos": 1})
    with pytest.raises(ConfigError, match="limit: expected a whole number of 0 or more, got true"):
        DatasetConfig(path="x", limit=True)
    assert canonical(DatasetConfig(path="x", include=("a",)))["include"] == ["a"]


def configs(workflow: Workflow) -> dict[str, dict[str, Any]]:
    """What enters the fingerprint of each stage."""
    found = {
        "ingest": canonical(workflow.ingest),
        "preprocess": canonical(workflow.preprocess),
        "colorize": workflow.colorize.result_parts(),
    }
    found |= {f"train/{name}": workflow.train.of(name).result_parts() for name in workflow.datasets}
    return found | ({"pretrain": workflow.pretrain.result_parts()} if workflow.pretrain else {})


def test_an_unchanged_file_has_the_config_and_the_fingerprint_it_had() -> None:
    golden = json.loads((GOLDEN / "canonical.json").read_text())
    workflows = {
        "every key": load_workflow(GOLDEN / "chromaflow.toml"),
        "defaults": build_workflow({"datasets": {"people": "x"}}, Path("/")),
    }
    for name, workflow in workflows.items():
        now = configs(workflow)
        assert now.keys() == golden[name].keys()
        for stage, before in golden[name].items():
            kept = {key: now[stage][key] for key in before["config"]}  # a new key is no change
            assert kept == before["config"], (name, stage)
            assert hash_value(kept) == before["sha256"], (name, stage)


def test_equal_settings_have_equal_fingerprints(tmp_path: Path) -> None:
    whole = {"ingest": {"max_megapixels": 500}, "train": {"overrides": {"clip_norm": 0}}}
    shared = {"datasets": {"people": "x"}, "colorize": {"accept": []}}
    said = configs(build_workflow(shared | whole, tmp_path))
    default = configs(build_workflow({"datasets": {"people": "x"}}, tmp_path))
    assert {s: hash_value(c) for s, c in said.items()} == {
        s: hash_value(c) for s, c in default.items()
    }
    assert json.loads(json.dumps(default)) == default  # what a record gives back compares equal


def guide_rows() -> Iterator[tuple[str, list[str], str]]:
    """Section, keys and default of every row of the guide's tables of settings."""
    text = (ROOT / "docs/guide.md").read_text()
    text = text[text.index("\n## chromaflow.toml") : text.index("\n## Looking back")]
    section = ""
    for line in text.splitlines():
        cells = [cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]]
        if len(cells) == 3 and cells[0] not in ("key", "---"):
            yield "", re.findall(r"`([^`]+)`", cells[0]), cells[1]
        if len(cells) == 4 and cells[0] not in ("section", "---"):
            section = re.sub(r"[`\[\]]", "", cells[0]) or section.partition(".")[0]
            yield section, re.findall(r"`([^`]+)`", cells[1]), cells[2]


def defaults_of(cls: Any) -> dict[str, Any]:
    return {
        f.name: f.default if f.default is not MISSING else f.default_factory
        for f in fields(cls)
        if f.name != "seed"
    }


def as_said(default: Any) -> tuple[str, ...]:
    """How the guide may write a default."""
    if default is MISSING:
        return ("required",)
    if default is None:
        return ("none", "`colorized` in the workspace")
    if isinstance(default, tuple):
        return (f"`{json.dumps(list(default))}`",)
    if isinstance(default, float):
        return (f"{default:g}", str(default), f"1/{1 / default:g}" if default else "0")
    text = json.dumps(default)
    return (f"`{text}`", "not stated") if isinstance(default, str) else (text,)


def test_the_guide_names_every_key_with_its_default() -> None:
    said: dict[str, dict[str, str]] = {}
    for section, keys, default in guide_rows():
        said.setdefault(section, {}).update(dict.fromkeys(keys, default))
    hints = get_type_hints(ConfigTable, include_extras=True)
    for section in ("archive", "ingest", "preprocess", "train", "colorize", "compute"):
        cls, _ = bare(hints[section])
        of_model = defaults_of(cls)
        tables = {key for key, default in of_model.items() if default is dict}
        assert said[section].keys() == of_model.keys() - tables, section
        for key, default in said[section].items():
            assert default in as_said(of_model[key]), (section, key, default, of_model[key])
        for table in tables:
            named = {"categories": "categories.CATEGORY"}.get(table, table)
            assert (
                f"{section}.{named}" in said
                or f"`[{section}.{named}]`" in (ROOT / "docs/guide.md").read_text()
            )
    top = set(said[""]) | {section.partition(".")[0] for section in said if section}
    assert {key.strip("[]").partition(".")[0] for key in top} == {
        f.name for f in fields(ConfigTable)
    }


def test_recipe_fields_and_merge_options_are_all_settings() -> None:
    (mark,) = bare(get_type_hints(TrainConfig, include_extras=True)["overrides"])[1]
    assert sorted(mark.members) == list(RECIPE_KEYS)
    hints = get_type_hints(ConfigTable, include_extras=True)
    settings = defaults_of(bare(hints["colorize"])[0])
    for f in fields(MergeOptions):
        assert settings["merge" if f.name == "mode" else f.name] == f.default
