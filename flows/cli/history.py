"""Commands that look at runs: what one would do, how a workspace stands, what its runs did."""

from __future__ import annotations

from dataclasses import replace
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from flows.cli.terminal import (
    DEFAULT_CONFIG,
    Config,
    Json,
    Output,
    Reason,
    answer,
    nested_lines,
    photos_lines,
    print_json,
    quarantined_lines,
    skipped_lines,
)

if TYPE_CHECKING:
    from storage.records.workspace import Workspace
    from tasks.config.model import Workflow
    from tasks.report.changes import Changes

app = typer.Typer()

OfOutput = Annotated[str | None, typer.Option("--output", help="An OUT of `chromaflow colorize`.")]


@app.command()
def plan(
    output: Output = None,
    config: Config = DEFAULT_CONFIG,
    retry: Annotated[
        bool, typer.Option("--retry", help="What `retry` would do, instead of `run`.")
    ] = False,
    reason: Reason = None,
    delete: Annotated[
        bool, typer.Option("--delete", help="Say what `--delete` would remove.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Say what a run would do and why, without doing it; of OUT the same `colorize` once more."""
    _check_config(output, config)
    from tasks.archive.mirrors import load_fetched
    from tasks.archive.ownership import claim
    from tasks.compute.battery import spared
    from tasks.engine.retry import Retry
    from tasks.engine.stages import plan_row
    from tasks.graph import ARCHIVE, build_steps, training_slots
    from tasks.graph import plan as plan_steps
    from tasks.queries.costs import archive_cost
    from tasks.queries.forecast import colour_forecast, run_forecast
    from tasks.queries.orphans import planned_orphans

    claimed = claim(_workflow(output, config) if output else load_fetched(config))
    compute, on_battery = spared(claimed.workflow.compute)
    workflow = replace(claimed.workflow, compute=compute)
    again = Retry.of(reason or ()) if retry or reason else None
    decisions = plan_steps(build_steps(workflow), again)
    slots = training_slots(workflow, decisions.values())
    estimates = run_forecast(workflow, decisions, slots)
    orphans = planned_orphans(claimed, decisions)
    cost = archive_cost(workflow, estimates)
    estimates |= colour_forecast(cost, decisions.get(("colorize", ARCHIVE)))
    if as_json:
        known = {name: estimate.to_dict() for name, estimate in estimates.items()}
        shared = {n: {"slots": slots[n[0]].to_dict()} for n in decisions if n[0] in slots}
        kept = {("colorize", "archive"): {"outputs": orphans.to_dict()}}
        if cost is not None:
            kept["colorize", "archive"]["cost"] = cost.to_dict()
        rows = [
            plan_row(d) | known.get(n, {}) | shared.get(n, {}) | kept.get(n, {})
            for n, d in decisions.items()
        ]
        print_json({"steps": rows})
        return
    for name, decision in decisions.items():
        reasons = "; ".join(decision.reasons)
        estimate = f" ({estimates[name]})" if name in estimates else ""
        answer(f"{decision.action:<8} {decision.step.label:<22} {reasons}{estimate}")
    for line in orphans.lines(delete=delete):
        answer(line)
    for stage, of_stage in slots.items():
        answer(f"{stage}: {of_stage}")
    for line in (str(cost or ""), on_battery):
        if line:
            answer(line)


@app.command()
def status(output: Output = None, config: Config = DEFAULT_CONFIG, as_json: Json = False) -> None:
    """Say how a workspace stands: steps, what `run` would do, the last run, photos that failed."""
    _check_config(output, config)
    from tasks.engine.events import counts_in_words, run_summary
    from tasks.queries.orphans import kept_now
    from tasks.queries.status import planned, quarantine_rows, reviewed, stage_status
    from tasks.report.writer import counts_of
    from tasks.scores import score_lines, score_warnings, workspace_scores

    workspace = _workspace(output, config)
    review = reviewed(workspace, lambda: _workflow(output, config))
    steps, (quarantined, skipped) = stage_status(workspace), quarantine_rows(workspace)
    plan, problem = planned(lambda: _workflow(output, config))
    run_record = run_summary(workspace)
    kept = kept_now(workspace)
    photos = counts_of(workspace.report)
    scores = workspace_scores(workspace)
    if as_json:
        print_json(
            {
                "steps": steps,
                "plan": plan,
                "plan_error": problem or None,
                "quarantined": quarantined,
                "skipped": skipped,
                "outputs": kept.to_dict(),
                "photos": photos,
                "scores": scores,
                "warnings": score_warnings(scores),
                "review": review,
                "last_run": run_record,
            }
        )
        return
    for row in steps:
        counts = counts_in_words(row["step"], row["counts"])
        answer(f"{row['step']:<22} {row['seconds']:>7.1f} s {row['peak_mb']:>6.0f} MB  {counts}")
    for row in plan:
        answer(f"`run`: {row['action']:<8} {row['step']:<22} {'; '.join(row['reasons'])}")
    for line in chain(score_lines(scores), score_warnings(scores)):
        answer(line)
    if problem:
        answer(f"What `run` would do is not known: {problem}")
    found = (
        quarantined_lines(quarantined),
        skipped_lines(skipped),
        kept.lines(),
        photos_lines(photos),
    )
    for line in chain(*found):
        answer(line)
    if review:
        answer("review: " + ", ".join(f"{count} {name}" for name, count in review.items()))
    if run_record:
        code = run_record["exit_code"]
        ending = f", exit {code}" if code is not None else ""
        answer(f"last run {run_record['run_id']}: {run_record['state']}{ending}")


@app.command()
def log(
    run: Annotated[
        str | None, typer.Argument(metavar="[RUN]", help="Its id; else the newest.")
    ] = None,
    output: OfOutput = None,
    config: Config = DEFAULT_CONFIG,
    as_json: Json = False,
) -> None:
    """Print what a run did, event by event."""
    from tasks.engine.events import describe, event_lines, find_run, read_events

    folder = find_run(_workspace(output, config), run)
    if as_json:
        for line in event_lines(folder):
            typer.echo(line)
        return
    for event in read_events(folder):
        answer(describe(event))


@app.command()
def report(
    output: Output = None,
    against: Annotated[
        str | None,
        typer.Option(
            metavar="OUT|RUN", help="Another OUT of the same photos to compare, or an earlier run."
        ),
    ] = None,
    run: Annotated[
        str | None,
        typer.Option(metavar="RUN", help="With --against RUN: this run, not the newest."),
    ] = None,
    folder: Annotated[
        Path | None, typer.Option("--output", help="Folder to write; else in the workspace.")
    ] = None,
    config: Config = DEFAULT_CONFIG,
    as_json: Json = False,
) -> None:
    """Write the run report of an archive: a page that opens without a network, and its tables."""
    from storage.sources.locations import resolve_location
    from tasks.report.writer import write_report

    workspace = _workspace(output, config)
    changes = _changes(workspace, run, against)
    name = resolve_location(output) if output else None
    written = write_report(workspace, output=name, folder=folder, changes=changes)
    if as_json:
        print_json(written.to_dict())
        return
    answer(", ".join(f"{count} {status}" for status, count in written.counts.items()))
    for line in nested_lines(written.changes or {}):
        answer(line)
    answer(f"Report of {written.bytes / 1e6:.1f} MB in")
    answer(f"  {written.page}")


def _changes(workspace: Workspace, run: str | None, against: str | None) -> Changes | None:
    from storage.errors import UsageError
    from tasks.archive.workflow import output_workspace
    from tasks.engine.events import find_run, run_ids

    if against is None:
        if run is not None:
            raise UsageError(
                "Expected --against with --run, got --run alone. Name the run to compare it with; "
                "`chromaflow history` lists them."
            )
        return None
    is_run = against in run_ids(workspace) or run is not None
    if is_run:
        find_run(workspace, against)
    else:
        other = output_workspace(against)
    from tasks.report.changes import compare_archives, compare_runs

    if is_run:
        return compare_runs(workspace, run, against)
    return compare_archives(workspace, other, against)


@app.command()
def history(
    output: Output = None,
    most: Annotated[int, typer.Option("--most", min=1, help="Runs to list.")] = 20,
    config: Config = DEFAULT_CONFIG,
    as_json: Json = False,
) -> None:
    """List the runs of a folder, the newest first: when, how it ended, photos, why each step ran."""
    from tasks.queries.runs import history as read_history
    from tasks.queries.runs import in_words

    runs = read_history(_workspace(output, config), most)
    if as_json:
        print_json({"runs": runs})
        return
    for one in runs:
        for line in in_words(one):
            answer(line)


@app.command()
def lineage(
    what: Annotated[str, typer.Argument(help="An output, a source photo, or weights.")],
    output: OfOutput = None,
    config: Config = DEFAULT_CONFIG,
    as_json: Json = False,
) -> None:
    """Say what a photo or weights came from, and what came of it."""
    from storage.records.workspace import Workspace
    from tasks.archive.mirrors import load_fetched, local_name
    from tasks.archive.workflow import output_workspace
    from tasks.queries.lineage import trace

    workflow = load_fetched(config) if config.exists() or config != DEFAULT_CONFIG else None
    workspaces = [output_workspace(output)] if output else []
    if workflow is not None:
        workspaces.append(Workspace(workflow.workspace.resolve()))
    experts = workflow.experts.values() if workflow is not None else ()
    found = trace(local_name(what, output, workflow), workspaces, experts)
    if as_json:
        print_json({"what": what, "found": found})
        return
    for line in chain.from_iterable(nested_lines(one) for one in found):
        answer(line)


def _check_config(output: str | None, config: Path) -> None:
    """Say what is wrong in a config that is asked of, before numpy and all that reads photos is imported."""
    from tasks.config.file import load_workflow

    if output is None:
        load_workflow(config)


def _workflow(output: str | None, config: Path) -> Workflow:
    from tasks.archive.workflow import archive_workflow, last_request
    from tasks.config.file import load_workflow

    if output is None:
        return load_workflow(config)
    return archive_workflow(last_request(output), output)


def _workspace(output: str | None, config: Path) -> Workspace:
    from storage.records.workspace import Workspace
    from tasks.archive.mirrors import load_fetched
    from tasks.archive.workflow import output_workspace

    return output_workspace(output) if output else Workspace(load_fetched(config).workspace)
