"""Parameters of flows and options of commands: 0, false and "" count, and a wrong one is said in a line.

A flow's function is called without Prefect here: it checks what it is given before anything else.
"""

from __future__ import annotations

import json
from pathlib import Path
from types import UnionType
from typing import Any, get_args, get_origin, get_type_hints

import pytest
from command import chromaflow

from colorization.errors import ConfigError
from flows.colorize import colorize_flow
from flows.evaluate import evaluate_flow
from flows.ingest import ingest_flow
from flows.pipeline import pipeline_flow
from flows.preprocess import preprocess_flow
from flows.train import train_flow
from flows.watch_inbox import watch_inbox_flow
from storage.records.workspace import Workspace
from tasks.archive.workflow import archive_workflow, newest_request
from tasks.config.file import build_workflow
from tasks.config.model import ComputeConfig
from tasks.config.request import ColorizeRequest
from tasks.graph import build_steps, select, with_compute
from tasks.prefect_server.deploy import load_flow
from tasks.prefect_server.deployments import Deployment, Schedule, WorkPool
from tasks.report.commands import reproduce_command

FLOWS = (
    pipeline_flow,
    ingest_flow,
    preprocess_flow,
    train_flow,
    evaluate_flow,
    colorize_flow,
    watch_inbox_flow,
)
WRONG: dict[Any, list[Any]] = {
    str: [5, 1.5, True, ["a"], {"a": 1}],
    int: ["x", "3", True, 1.5, 2.0, [1], {"a": 1}],
    float: ["x", True, [0.5], {"a": 1}],
    bool: ["false", 1, 0, 0.5, [True], {"a": 1}],
    list: ["x", 5, True, {"a": 1}],
    dict: ["x", 5, True, ["a"]],
}


def kind_of(annotation: Any) -> Any:
    kinds = get_args(annotation) if isinstance(annotation, UnionType) else (annotation,)
    kind = next(k for k in kinds if k is not type(None))
    return get_origin(kind) or kind


@pytest.mark.parametrize("flow", FLOWS, ids=lambda flow: flow.name)
def test_every_parameter_of_a_flow_refuses_every_wrong_kind(flow: Any) -> None:
    hints = {name: kind for name, kind in get_type_hints(flow.fn).items() if name != "return"}
    needed = {name: "x" for name in ("config", "archive", "output", "inbox") if name in hints}
    for name, annotation in hints.items():
        for value in WRONG[kind_of(annotation)]:
            with pytest.raises(ConfigError) as caught:
                flow.fn(**needed | {name: value})
            lines = str(caught.value).splitlines()
            assert len(lines) == 1 and lines[0].startswith((f"{name}: ", f"{name}.a: ")), lines
            assert "expected " in lines[0] and "got " in lines[0]


def test_all_wrong_settings_of_a_call_are_said_at_once() -> None:
    settings = {"shet": 0, "sheet": "many", "sidecar": "no", "merge": None}
    with pytest.raises(ConfigError) as caught:
        colorize_flow.fn("in", "out", workers="2", settings=settings)  # type: ignore[arg-type]
    lines = str(caught.value).splitlines()
    assert lines[:3] == [
        'settings.sheet: expected a whole number of 0 or more, got the text "many". Write sheet = '
        "12, for example.",
        'settings.sidecar: expected true or false, got the text "no". Write sidecar = false.',
        lines[2],
    ]
    assert lines[2].startswith("settings.shet: expected a key of abstain, accept, ")
    assert lines[3] == ('workers: expected a whole number, got the text "2". Write workers = 2.')
    assert len(lines) == 4


def test_settings_of_zero_false_and_nothing_replace_those_of_the_models(tmp_path: Path) -> None:
    """0, false and "" were dropped, so that a config's own could not be switched off."""
    (tmp_path / "in").mkdir()
    config = tmp_path / "chromaflow.toml"
    config.write_text(
        '[colorize]\nsidecar = true\nsheet = 5\nlabel = "corner"\nabstain = 9.0\n'
        'accept = ["BILEVEL"]\nuncertainty = true\nthumbnails = 128\n'
    )
    settings: dict[str, Any] = {
        "sidecar": False,
        "sheet": 0,
        "label": "",
        "abstain": 0,
        "accept": [],
        "thumbnails": 0,
        "merge": None,
    }
    archive = str(tmp_path / "in")
    asked = ColorizeRequest(archive=archive, models=str(config), settings=settings)
    request = ColorizeRequest.of(json.loads(json.dumps(asked.to_dict())))  # plan.json's, for retry
    assert request == asked and "merge" not in request.settings
    chosen = archive_workflow(request, tmp_path / "out").colorize
    assert (chosen.sidecar, chosen.sheet, chosen.label, chosen.abstain) == (False, 0, "", 0.0)
    assert (chosen.accept, chosen.thumbnails) == ((), 0)
    assert chosen.uncertainty and chosen.merge == "soft"
    command = reproduce_command(request, "out")
    assert "--abstain 0" in command and "--no-sidecar" in command and "--label ''" in command
    for wrong, named in (({"sheet": -1}, "sheet: expected"), ({"shet": 0}, "shet: expected a key")):
        with pytest.raises(ConfigError, match=named):
            ColorizeRequest(archive=archive, settings=wrong)


def test_a_request_of_an_older_version_means_what_it_meant(tmp_path: Path) -> None:
    """It noted false for a flag that was not given, with null for the other options."""
    old = {"archive": "in", "settings": {"sidecar": False, "label": None, "merge": "hard"}}
    new = {"archive": "in", "settings": {"sidecar": False, "merge": "hard"}}
    for request, settings in ((old, {"merge": "hard"}), (new, new["settings"])):
        folder = tmp_path / ".chromaflow" / "runs" / "20260101-000000-a"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "plan.json").write_text(json.dumps({"request": request}))
        assert newest_request(Workspace(tmp_path / ".chromaflow")).settings == settings  # type: ignore[union-attr]


def test_no_workers_and_no_cluster_are_said_too(tmp_path: Path) -> None:
    table = {"compute": {"workers": 3, "scheduler": "tcp://10.0.0.1:8786"}}
    workflow = build_workflow(table, tmp_path)
    assert with_compute(workflow) is workflow
    assert with_compute(workflow, workers=0).compute.workers == 0
    assert with_compute(workflow, cluster="").compute.scheduler == ""
    with pytest.raises(ConfigError, match="workers: expected a whole number of 0 or more, got -1"):
        with_compute(workflow, workers=-1)
    with pytest.raises(ConfigError, match="scheduler: expected tcp://HOST:PORT"):
        with_compute(workflow, cluster="10.0.0.1")


def test_an_address_takes_the_place_of_a_cluster_class_and_what_is_said_of_it(
    tmp_path: Path,
) -> None:
    table = {"workers": 3, "min_workers": 1, "memory_per_worker": 2.0, "nice": 5}
    table |= {"cluster": "distributed.LocalCluster", "cluster_options": {"n_workers": 3}}
    workflow = build_workflow({"compute": table}, tmp_path)
    address = "tcp://10.0.0.1:8786"
    there = with_compute(workflow, cluster=address, compute={"threads": 2}).compute
    assert there == ComputeConfig(workers=3, threads=2, scheduler=address)
    here = with_compute(workflow, workers=0, cluster="").compute
    assert here == ComputeConfig(memory_per_worker=2.0, nice=5)
    for name, value in (("nice", 3), ("memory_per_worker", 2.0)):
        with pytest.raises(ConfigError, match=f"{name}: expected .* with scheduler"):
            with_compute(workflow, cluster=address, compute={name: value})


def test_an_unknown_stage_to_force_is_refused(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    workflow = build_workflow({"archive": {"path": "in"}}, tmp_path)
    steps = build_steps(workflow)
    assert select(steps, force=["colorize"])
    with pytest.raises(ConfigError, match="Expected a stage of ingest.*got 'trian'"):
        select(steps, force=["trian"])


def test_parameters_of_a_deployment_are_checked_before_a_server_is_asked() -> None:
    def deployment(cron: str = "0 2 * * *", **parameters: Any) -> Deployment:
        return Deployment(
            name="mine",
            entrypoint="flows.watch_inbox.watch_inbox_flow",
            parameters=parameters,
            schedules=(Schedule(cron=cron, slug="a"),),
            work_pool=WorkPool(name="pool"),
        )

    assert load_flow(deployment(inbox="in", settings={"sheet": 0})).name == "watch-inbox"
    for wrong, named in (
        (
            deployment(inbx="in"),
            "deployment mine, parameters: inbx: expected a key of compute, experts, inbox, ",
        ),
        (
            deployment(workers="3"),
            "parameters: workers: expected a whole number, .* Write workers: 3",
        ),
        (
            deployment(settings={"sheet": "3"}),
            "parameters: settings.sheet: expected a whole number",
        ),
        (deployment(cron="now"), "deployment mine, schedules: expected cron's five fields"),
    ):
        with pytest.raises(ConfigError, match=named):
            load_flow(wrong)


def test_options_of_zero_are_not_dropped_by_the_command(tmp_path: Path) -> None:
    """Nothing runs: each is refused, or taken for what it is, before Prefect is imported."""
    for words, named in (
        (("evaluate", "in", "--size", "0"), "--size: expected 32..1024, a multiple of 32, got 0."),
        (("evaluate", "--photos", "0"), "Expected IN beside --photos"),
        (("run", "--until", ""), "Expected a stage of ingest"),
        (("run", "--force", "trian"), "got 'trian'"),
    ):
        (tmp_path / "in").mkdir(exist_ok=True)
        (tmp_path / "chromaflow.toml").write_text('[archive]\npath = "in"\n')
        code, _, said = chromaflow(*words, cwd=tmp_path)
        assert code == 2 and named in said and "Traceback" not in said, said


def test_a_wrong_option_is_one_line_and_exit_2(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    code, _, said = chromaflow("colorize", "in", "out", "--abstain=-1", "--label=top", cwd=tmp_path)
    assert code == 2 and len(said.splitlines()) == 2 and "Traceback" not in said
    assert 'label: expected one of corner, border, got the text "top". ' in said
    assert "abstain: expected a number of 0 or more, got -1.0. " in said
    assert not (tmp_path / "out").exists()
