"""What a run leaves behind: runs/<run-id>/, Prefect's tables, and the exit code."""

from __future__ import annotations

import os
import platform
import secrets
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from chromaflow.errors import ChromaflowError, code_of, exit_code_of
from storage.errors import codes_in_words, is_policy
from storage.pictures.data_urls import picture_url
from storage.records.ledger import write_json
from storage.records.names import EVENTS_NAME, PLAN_NAME, QUARANTINE_NAME, RESULT_NAME, SHEET_NAME
from storage.records.tables import read_rows
from storage.records.workspace import Workspace
from storage.visible import visible, visible_value
from tasks.archive.workflow import output_name
from tasks.config.model import Workflow
from tasks.control import is_with_prefect
from tasks.engine.events import EVENTS_VERSION, EventLog, named_counts, run_ids
from tasks.engine.stages import Decision, StageRef, Step, StepName, plan_row
from tasks.graph import ARCHIVE, TRAINING
from tasks.page import RunPage, keep_ending
from tasks.queries.orphans import Orphans, kept_now
from tasks.queries.trainings import newest_samples, training_report
from tasks.report.writer import renew_report
from tasks.scores import score_rows, score_warnings

EXIT_OK, EXIT_FAILURES = 0, 6
_STAMP = "%Y%m%dT%H%M%S"
_QUARANTINE_SHOWN = 100


@dataclass(frozen=True)
class StepFailure:
    """One step that failed, and what it raised."""

    step: StepName
    error: BaseException


@dataclass
class RunResult:
    """What a run did."""

    run_id: str
    refs: dict[StepName, StageRef] = field(default_factory=dict)
    failures: list[StepFailure] = field(default_factory=list)
    sheet: str | None = None
    """Path of the contact sheet."""
    report: str | None = None
    """Path of the run report's page, where an archive was worked on."""
    quarantined: list[dict[str, Any]] = field(default_factory=list)
    """Photos that failed."""
    filtered: list[dict[str, Any]] = field(default_factory=list)
    """Photos that a filter of the config dropped; they fail no run."""
    kept: Orphans = field(default_factory=lambda: Orphans(()))
    """Outputs that this run did not make and left where they are."""

    @property
    def scores(self) -> list[dict[str, Any]]:
        """Mean validation scores of each category and method that was evaluated."""
        done = [ref for ref in self.refs.values() if ref.stage == "evaluate"]
        return [row for ref in done for row in score_rows(Path(ref.folder), ref.key)]

    @property
    def computed(self) -> int:
        """Items computed in this run."""
        return sum(ref.computed for ref in self.refs.values())

    @property
    def deleted(self) -> int:
        """Outputs without an original that were removed."""
        return sum(ref.counts.get("deleted", 0) for ref in self.refs.values())

    @property
    def exit_code(self) -> int:
        """0 ok, 6 with failures or quarantined photos; one lone cause keeps its own code."""
        codes = {exit_code_of(failure.error) for failure in self.failures}
        if len(codes) == 1:
            return codes.pop()
        return EXIT_FAILURES if codes or self.quarantined else EXIT_OK

    def blocks(self, step: Step, events: EventLog) -> bool:
        """Whether a step waits for one that failed; it then fails with it, but stops no other."""
        failed = {failure.step for failure in self.failures}
        blocking = [name for name in step.upstream if name in failed]
        if blocking:
            cause = next(f for f in self.failures if f.step == blocking[0])
            self.failures.append(StepFailure(step.name, cause.error))
            waited_for = f"{'/'.join(blocking[0])} failed before it"
            events.write("step_failed", step=step.label, error=waited_for, kind="blocked")
        return bool(blocking)

    def to_dict(self) -> dict[str, Any]:
        """As JSON, for --json and run.json."""
        scores = self.scores
        return {
            "run_id": self.run_id,
            "exit_code": self.exit_code,
            "computed": self.computed,
            "sheet": self.sheet,
            "report": self.report,
            "steps": [
                {
                    "step": "/".join(name),
                    "computed": ref.computed,
                    "counts": ref.counts,
                    "seconds": ref.seconds,
                    "peak_mb": ref.peak_mb,
                    "folder": ref.folder,
                }
                for name, ref in self.refs.items()
            ],
            "failures": [
                {
                    "step": "/".join(failure.step),
                    "error": str(failure.error),
                    "code": code_of(failure.error),
                }
                for failure in self.failures
            ],
            "scores": scores,
            "warnings": score_warnings(scores),
            "quarantined": self.quarantined,
            "filtered": self.filtered,
            "outputs": self.kept.to_dict() | {"deleted": self.deleted},
        }


class RunFailedError(ChromaflowError):
    """At least one step failed; the others are done. Prefect shows the flow run as Failed."""

    code = "RUN_FAILED"
    exit_code = EXIT_FAILURES

    def __init__(self, result: RunResult) -> None:
        labels = ", ".join("/".join(failure.step) for failure in result.failures)
        super().__init__(f"Expected every step to finish, but these failed: {labels}.")
        self.result = result
        self.exit_code = result.exit_code


@dataclass(frozen=True)
class RunRecord:
    """An opened run folder."""

    workspace: Workspace
    run_id: str

    @property
    def folder(self) -> Path:
        """runs/<run-id>/."""
        return self.workspace.runs / self.run_id


def open_run(
    workspace: Workspace,
    decisions: Mapping[StepName, Decision],
    steps: Iterable[Step],
    request: Mapping[str, Any] | None = None,
    compute: Mapping[str, Any] | None = None,
) -> RunRecord:
    """Make the run's folder and keep the plan in it, what was asked for, and [compute]."""
    record = RunRecord(workspace, f"{_next_stamp(workspace)}-{secrets.token_hex(3)}")
    plan = [plan_row(decisions[step.name]) for step in steps]
    write_json(record.folder / PLAN_NAME, {"steps": plan, "request": request, "compute": compute})
    return record


def _next_stamp(workspace: Workspace) -> str:
    """The time, or the second after the newest run's where the clock went back."""
    now = datetime.now(UTC).strftime(_STAMP)
    newest = next(iter(run_ids(workspace)), "").partition("-")[0]
    if newest < now:
        return now
    return (datetime.strptime(newest, _STAMP) + timedelta(seconds=1)).strftime(_STAMP)


@contextmanager
def logged(record: RunRecord, result: RunResult, page: RunPage) -> Iterator[EventLog]:
    """The run's event log, from its first to its last line; what is raised inside ends it too."""
    with EventLog(record.folder / EVENTS_NAME) as events:
        events.write(
            "run_begun",
            version=EVENTS_VERSION,
            run=record.run_id,
            pid=os.getpid(),
            host=platform.node(),
        )
        try:
            yield events
        except BaseException as error:
            state = "failed" if isinstance(error, Exception) else "interrupted"
            code = exit_code_of(error) if state == "failed" else None
            page.report_lost(events)
            events.write(
                "run_ended", state=state, exit_code=code, computed=result.computed, error=str(error)
            )
            raise
        code = result.exit_code
        page.report_lost(events)
        events.write("run_ended", state="done", exit_code=code, computed=result.computed)


def finish_run(
    record: RunRecord, result: RunResult, workflow: Workflow, page: RunPage
) -> RunResult:
    """Gather quarantine and sheet, write run.json, the run report and Prefect's tables.

    Raises RunFailedError when a step failed, so that the flow run is Failed.
    """
    for ref in result.refs.values():
        for row in read_rows(Path(ref.folder) / QUARANTINE_NAME):
            (result.filtered if is_policy(row["code"]) else result.quarantined).append(row)
        sheet = Path(ref.folder) / SHEET_NAME
        if ref.stage == "colorize" and sheet.exists():
            result.sheet = str(sheet)
    if any(ref.stage == "colorize" for ref in result.refs.values()):
        result.kept = kept_now(record.workspace)
    write_json(record.folder / RESULT_NAME, result.to_dict())
    if any(key == ARCHIVE or stage in TRAINING for stage, key in result.refs):
        written = renew_report(record.workspace, output_name(workflow), result.exit_code)
        result.report = str(written)
        write_json(record.folder / RESULT_NAME, result.to_dict())
    _publish_artifacts(result, page)
    if result.failures:
        raise RunFailedError(result)
    keep_ending(result)
    return result


def flow_result(flow: Callable[..., RunResult], parameters: Mapping[str, Any]) -> RunResult:
    """Call a flow: what its run came to, failed steps included.

    Raises ServerMissingError where Prefect's server did not answer before the run began.
    """
    try:
        if not is_with_prefect():
            return flow(**parameters)
        from tasks.prefect_page import served_result

        return served_result(flow, parameters)
    except RunFailedError as error:
        return error.result


def _publish_artifacts(result: RunResult, page: RunPage) -> None:
    """Show the tables of a run that is complete: a server that does not answer costs no more."""
    page.try_again()
    rows = [
        {
            "step": "/".join(name),
            "computed": ref.computed,
            **named_counts(ref.counts),
            "seconds": ref.seconds,
            "peak MB": ref.peak_mb,
        }
        for name, ref in result.refs.items()
    ]
    page.show_table("stages", rows, "Every step of the run")
    if scores := result.scores:
        page.show_table("scores", scores, "Validation scores")
    for ref in result.refs.values():
        if ref.stage in TRAINING:
            epochs, files = training_report(Path(ref.folder))
            page.show_table(f"epochs-{ref.key}", epochs, f"{ref.key}, by epoch")
            text = files + _picture(ref, newest_samples(Path(ref.folder)))
            page.show_text(f"training-{ref.key}", text, f"{ref.key}")
        elif ref.stage == "colorize" and result.sheet:
            text = f"Contact sheet: `{visible(result.sheet)}`" + _picture(ref, Path(result.sheet))
            page.show_text("contact-sheet", text, "Contact sheet")
    if result.quarantined:
        # Prefect's page slows with long tables
        shown = visible_value(result.quarantined[:_QUARANTINE_SHOWN])
        page.show_table("quarantine", shown, "Photos not used, and why")
        if not result.failures:  # which are told of as the run ends
            page.tell_quarantined(len(result.quarantined), _quarantine_words(result))
    if result.report:
        said = "Run report: failures, photos before and after, review"
        page.show_link("report", Path(result.report).as_uri(), visible(result.report), said)


def _quarantine_words(result: RunResult) -> str:
    """Codes with their numbers, and where to look."""
    listed = codes_in_words(row["code"] for row in result.quarantined)
    return f"Photos in quarantine: {listed}." + (
        f" Report: {visible(result.report)}" if result.report else ""
    )


def _picture(ref: StageRef, sheet: Path | None) -> str:
    """A sheet's pixels as Markdown; nothing where an earlier run drew it."""
    if not ref.computed or sheet is None:
        return ""
    return f"\n\n![{ref.stage}/{ref.key}]({picture_url(sheet)})"
