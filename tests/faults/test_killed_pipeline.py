"""The whole pipeline killed at named points and at random times: it ends as one that nobody killed.

`-m slow` runs all cases. CHROMAFLOW_KILL_CASES=40:60 runs the cases of that range only, in the
order of `CASES`: 40 named points, 100 random times, 10 chains of 5.
"""

from __future__ import annotations

import os
import random
import re
import shutil

import pytest
from killing import KillPoint, Project

pytestmark = pytest.mark.usefixtures("shared_server")
SEED = int(os.environ.get("CHROMAFLOW_FAULT_SEED", "20261125"))
NUM_TIMES, NUM_CHAINS, CHAIN = 100, 10, 5
_KEYS = {
    "ingest": "archive",
    "preprocess": "animals",
    "train": "birds",
    "evaluate": "places",
    "colorize": "archive",
}
_READ = {
    "ingest": r"photos/gray/012\.png$",
    "preprocess": r"photos/animals/030\.jpg$",
    "train": r"stages/preprocess/birds/.*/val/c/",
    "evaluate": r"stages/preprocess/places/.*/val/c/",
    "colorize": r"photos/gray/009\.png$",
}
_FILES = {
    "preprocess": (r"lab\.zarr/train/c/", 1),
    "train": (r"checkpoints/.*\.pt$", 3),
    "evaluate": (r"results\.parquet$", 1),
    "colorize": (r"colour/010\.png\.color\.png$", 1),
}
_POINTS = {
    "ingest": ("recorded", "written"),
    "preprocess": ("written", "unpublished"),
    "train": ("written", "published"),
    "evaluate": ("unrecorded", "current"),
    "colorize": ("written", "unpublished"),
}
"""Where a worker is killed, and then the driver, when kills come one after another."""
_RECORD = {"ingest": 1, "preprocess": 2, "train": 1, "evaluate": 1, "colorize": 3}
"""Which record of the step, in the order that they are written."""


def points_of(stage: str) -> dict[str, KillPoint]:
    """Eight points of one stage, in the order in which a run comes to them."""
    folder = rf"stages/{stage}/{_KEYS[stage]}/[^/]+/"
    record, occurrence = rf"{folder}done/", _RECORD[stage]
    temporary, renamed = "temporary written", "renamed"
    points = {
        "begun": KillPoint(role="driver", when=renamed, path=rf"{folder}stage\.json$"),
        "read": KillPoint(role="worker", when="opening", path=_READ[stage]),
    }
    if stage in _FILES:
        path, nth = _FILES[stage]
        points["written"] = KillPoint(role="worker", when=temporary, path=path, occurrence=nth)
    else:
        path = rf"{folder}seen\.parquet$"
        points["written"] = KillPoint(role="driver", when=renamed, path=path)
    return points | {
        "unrecorded": KillPoint(role="worker", when=temporary, path=record, occurrence=occurrence),
        "recorded": KillPoint(role="worker", when=renamed, path=record, occurrence=occurrence),
        "unpublished": KillPoint(role="driver", when=temporary, path=rf"{folder}_SUCCESS\.json$"),
        "published": KillPoint(role="driver", when=renamed, path=rf"{folder}_SUCCESS\.json$"),
        "current": KillPoint(role="driver", when=renamed, path=rf"current/{stage}/{_KEYS[stage]}$"),
    }


POINTS = {
    f"{stage} {name}": (stage, point) for stage in _KEYS for name, point in points_of(stage).items()
}
CASES = [
    *POINTS,
    *(f"time {i}" for i in range(NUM_TIMES)),
    *(f"chain {i}" for i in range(NUM_CHAINS)),
]


def chosen_cases() -> list[str]:
    """Those of CHROMAFLOW_KILL_CASES, FIRST:END; without it, all."""
    first, _, end = os.environ.get("CHROMAFLOW_KILL_CASES", f"0:{len(CASES)}").partition(":")
    return CASES[int(first) : int(end)]


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory, prefect_address: str) -> Project:
    """Made once; every case works in its folder."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PREFECT_API_URL", f"{prefect_address}/api")
        return Project(tmp_path_factory.mktemp("killed") / "project")


@pytest.mark.timeout(900)
@pytest.mark.parametrize(
    ("stages", "num_random"),
    [
        (("train", "colorize"), 1),
        pytest.param(tuple(_POINTS), 2, marks=pytest.mark.slow),
    ],
    ids=["five", "twelve"],
)
def test_kills_one_after_another(
    project: Project, stages: tuple[str, ...], num_random: int
) -> None:
    """In each stage a worker, then the driver; then the whole group."""
    rng = random.Random(SEED)
    project.empty()
    for stage in stages:
        points = points_of(stage)
        project.kill_at(*(points[name] for name in _POINTS[stage]))
    landed = project.kill_chain(rng, num_random)
    kills = f"{2 * len(stages)} points, {landed} random kills fell before the end"
    print(f"seed {SEED}: {kills}; {project.finish()}")


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_killed_while_the_report_is_written(project: Project) -> None:
    report = project.workspace / "report"
    for when, name in (
        ("temporary written", "index.html"),
        ("temporary written", "run.js"),
        ("renamed", "run.json"),
    ):
        project.before("colorize")
        shutil.rmtree(report)
        path = rf"workspace/report/{re.escape(name)}$"
        project.kill_at(KillPoint(role="driver", when=when, path=path))
        project.finish()
        assert (report / "run.js").exists(), "the page has nothing to show"


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("case", chosen_cases())
def test_killed_in_any_way_the_outputs_are_those_of_a_whole_run(
    project: Project, case: str
) -> None:
    rng = random.Random(f"{SEED} {case}")
    if case in POINTS:
        stage, point = POINTS[case]
        project.before(stage)
        project.kill_at(point)
        if point.role == "worker":  # the run went on with another worker
            project.hold_to_golden()
            print(f"{case}: the run went on")
            return
        print(f"{case}: {project.finish()}")
        return
    project.empty()
    if case.startswith("time"):
        share = rng.random()
        ended = project.kill_after(share)
        when = "after the end" if ended else f"at {share:.3f}"
        print(f"{case}, seed {SEED}: killed {when}; {project.finish()}")
        return
    landed = project.kill_chain(rng, CHAIN, "--workers", 2)
    figures = project.finish(workers=2)
    print(f"{case}, seed {SEED}: {landed} of {CHAIN} kills before the end; {figures}")
