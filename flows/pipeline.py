"""The whole pipeline: ingest → preprocess → (pretrain →) train → evaluate, and → (series →) colorize.

Prefect shows what the docstring of a deployed flow says of its parameters, in Google's layout only.
The flows of single stages run through the same `run_stages`, so a stage does the same work
whichever way it is asked for.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

from storage.records.workspace import Workspace
from tasks.ahead import ahead_of
from tasks.archive.mirrors import held_mirrors
from tasks.archive.ownership import claim
from tasks.colorize import colorize
from tasks.compute.battery import spared
from tasks.compute.cluster import run_clusters
from tasks.config.file import load_workflow
from tasks.config.model import Workflow
from tasks.config.parameters import check_parameters
from tasks.control import flow
from tasks.engine.execute import Run
from tasks.engine.progress import open_terminal
from tasks.engine.publishing import skipped
from tasks.engine.retry import Retry
from tasks.engine.stages import Step
from tasks.evaluate import evaluate
from tasks.graph import (
    ARCHIVE,
    build_steps,
    left_out,
    plan,
    select,
    stage_slots,
    training_slots,
    with_compute,
)
from tasks.ingest import ingest
from tasks.page import open_page
from tasks.prefect_server.known_errors import say_known_errors_in_one_line
from tasks.preprocess import preprocess
from tasks.results import RunResult, StepFailure, finish_run, logged, open_run
from tasks.series import series
from tasks.stage_table import STAGE_NAMES
from tasks.train import pretrain, train

TASKS: dict[str, Any] = {
    "ingest": ingest,
    "preprocess": preprocess,
    "pretrain": pretrain,
    "train": train,
    "evaluate": evaluate,
    "series": series,
    "colorize": colorize,
}


@flow("pipeline")
def pipeline_flow(
    config: str,
    from_stage: str = STAGE_NAMES[0],
    until_stage: str = STAGE_NAMES[-1],
    only: list[str] | None = None,
    force: list[str] | None = None,
    workers: int | None = None,
    cluster: str | None = None,
    compute: dict[str, Any] | None = None,
    retry: list[str] | None = None,
    delete: bool = False,
    add: bool = False,
) -> RunResult:
    """Bring every stage of a chromaflow.toml up to date.

    Args:
        config: Path of the chromaflow.toml.
        from_stage: First stage to run.
        until_stage: Last stage to run.
        only: Categories, or `archive`; without it, all.
        force: Stages to compute again.
        workers: Dask processes, 0 for one a core; without it, the config's number.
        cluster: Address of a running Dask scheduler; without it, the config's cluster. Empty: processes
            of this machine.
        compute: Fields of [compute] to replace, as threads, memory_per_worker, nice; null does not.
        retry: Codes of the quarantined photos to try again; [] for those whose cause may have passed.
        delete: Remove outputs of the archive whose originals are gone or left out.
        add: Keep the archive beside another one in the output folder.
    """
    say_known_errors_in_one_line()
    check_parameters(pipeline_flow.fn, locals())
    workflow = with_compute(
        load_workflow(Path(config)), workers=workers, cluster=cluster, compute=compute
    )
    again = None if retry is None else Retry.of(retry)
    return run_stages(
        workflow,
        from_stage,
        until_stage,
        only or [],
        force or [],
        retry=again,
        delete=delete,
        add=add,
    )


def run_stages(
    workflow: Workflow,
    from_stage: str,
    until_stage: str,
    only: Iterable[str] = (),
    force: Iterable[str] = (),
    *,
    retry: Retry | None = None,
    request: Mapping[str, Any] | None = None,
    around: AbstractContextManager[None] | None = None,
    delete: bool = False,
    add: bool = False,
) -> RunResult:
    """Run the stages between two in order; within a stage all categories side by side.

    A category that fails stops its own later stages only. retry: photos in quarantine to try again.
    request: what was asked for, as JSON, to be kept with the plan. around: entered once the workspace
    is held, left before it is let go. delete: remove outputs without an original. add: the archive is
    meant beside another one in its output folder. Raises RunFailedError at the end if any step failed.
    """
    workspace = Workspace(workflow.workspace)
    workspace.create()
    with (
        open_page() as page,
        workspace.lock(),
        around or nullcontext(),
        open_terminal() as terminal,
        held_mirrors(workflow, terminal) as mirrors,
    ):
        claimed = claim(workflow, add=add)
        compute, on_battery = spared(workflow.compute)
        for notice in (*claimed.notices, on_battery):
            if notice:
                terminal.message(notice)
        workflow = replace(claimed.workflow, compute=compute)
        every_step = build_steps(workflow)
        steps = select(
            every_step, from_stage=from_stage, until_stage=until_stage, only=only, force=force
        )
        decisions = plan(every_step, retry)
        upstream = left_out(decisions, steps)
        training = training_slots(workflow, [decisions[step.name] for step in steps], force)
        before = {name: skipped(decision) for name, decision in upstream.items()}
        for name, ref in before.items():
            mirrors.publish(upstream[name].step, ref)
        digests = {name: ref.digest for name, ref in before.items()}
        if any(step.output_root is not None for step in steps):
            claimed.write()
        record = open_run(workspace, decisions, steps, request, compute.to_dict())
        result = RunResult(run_id=record.run_id)
        anew = force or retry is not None
        ahead = None if anew else ahead_of(workflow, decisions, steps)
        with (
            logged(record, result, page) as events,
            run_clusters(workflow.compute, workspace.dask.resolve()) as clusters,
        ):
            for stage in STAGE_NAMES:
                wanted = [step for step in steps if step.stage == stage]
                ready = [step for step in wanted if not result.blocks(step, events)]
                if ready:
                    slots = training.get(stage) or stage_slots(workflow, stage, len(ready))
                    cluster = clusters.of(slots)
                    run = Run(
                        workflow,
                        terminal,
                        cluster,
                        digests,
                        force,
                        retry,
                        events,
                        mirrors.publish,
                        page,
                        decisions,
                        delete=delete,
                        ahead=ahead,
                    )
                    _run_stage(ready, run, result)
            if ahead is not None and ("colorize", ARCHIVE) in result.refs:
                ahead.drop()
            return finish_run(record, result, workflow, page)


def _run_stage(steps: list[Step], run: Run, result: RunResult) -> None:
    """Submit one stage's tasks and gather their references or failures."""
    futures = {}
    for step in steps:
        upstream = [result.refs[name] for name in step.upstream if name in result.refs]
        futures[step.name] = TASKS[step.stage].submit(step, upstream, run)
    for name, future in futures.items():
        outcome = future.result(raise_on_failure=False)
        if isinstance(outcome, BaseException):
            result.failures.append(StepFailure(name, outcome))
        else:
            result.refs[name] = outcome
