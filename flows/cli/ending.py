"""The last lines of a run: what was done, what failed, where the photos are, and what comes next."""

from __future__ import annotations

import shlex
import traceback
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from chromaflow.errors import ChromaflowError
from flows.cli.terminal import photos_lines, quarantined_lines, say, say_lines, skipped_lines, warn

if TYPE_CHECKING:
    from tasks.config.model import Workflow
    from tasks.results import RunResult

_MOST_EXCLUDED = 3


def say_result(
    result: RunResult,
    workflow: Workflow,
    parameters: Mapping[str, Any],
    *,
    by_name: bool = False,
) -> None:
    """All of it, on stderr. parameters: of the flow. by_name: whether photos were named one by one, so that
    outputs of others are no news."""
    from tasks.scores import score_lines, score_warnings

    _say_steps(result)
    say_problems(result)
    kept = [] if by_name else result.kept.lines()
    for line in (*skipped_lines(result.filtered), *kept):
        say(line)
    if result.deleted:
        say(f"{result.deleted} outputs without an original deleted")
    scores = result.scores
    for line in score_lines(scores):
        say(line)
    for line in score_warnings(scores or _scores_of_models(parameters.get("models"))):
        warn(f"WARNING {line}")
    say(f"{result.computed} computed in run {result.run_id}")
    for line in _where(result, workflow):
        say(line)
    say(f"Next: {_next(result, workflow, parameters)}")


def say_other_colourings(photo: Path) -> None:
    """What comes next after one photo: the others that are plausible."""
    words = ["chromaflow", "colorize", str(photo), f"{photo.stem}-colourings/", "--variants", "3"]
    say(f"Next: {shlex.join(words)}")


def _say_steps(result: RunResult) -> None:
    from tasks.engine.events import counts_in_words

    for (stage, key), ref in result.refs.items():
        counts = counts_in_words(f"{stage}/{key}", ref.counts)
        state = f"{ref.computed} computed" if ref.computed else "up to date"
        say(f"{stage + '/' + key:<22} {state:<14} {counts}")


def say_problems(result: RunResult) -> None:
    """Steps that failed, and photos."""
    for failure in result.failures:
        if not isinstance(failure.error, ChromaflowError):  # a bug of ours: say where
            say_lines("".join(traceback.format_exception(failure.error)))
        warn(f"FAILED {'/'.join(failure.step)}: {failure.error}")
    for line in quarantined_lines(result.quarantined):
        warn(line)


def _scores_of_models(models: str | None) -> list[dict[str, Any]]:
    """What the experts scored that a chromaflow.toml trains."""
    if models is None:
        return []
    from storage.records.workspace import Workspace
    from tasks.archive.mirrors import load_fetched
    from tasks.scores import workspace_scores

    return workspace_scores(Workspace(load_fetched(Path(models)).workspace))


def _where(result: RunResult, workflow: Workflow) -> Iterator[str]:
    """How many photos there are, and where; each path has a line of its own, to be copied whole."""
    from tasks.report.writer import counts_of

    if result.sheet:
        yield "Contact sheet:"
        yield f"  {result.sheet}"
    if result.report:
        yield "Report:"
        yield f"  {result.report}"
        yield from photos_lines(counts_of(Path(result.report).parent))
    if ("colorize", "archive") in result.refs and workflow.archive is not None:
        yield "Colour photos:"
        yield f"  {workflow.place_of(workflow.archive.photos_root)}"
    experts = [Path(ref.folder) for (stage, _), ref in result.refs.items() if stage == "train"]
    if experts and not result.report:
        yield "Experts:"
        yield from (f"  {folder}" for folder in experts)


def _next(result: RunResult, workflow: Workflow, parameters: Mapping[str, Any]) -> str:
    """The one command that helps most now."""
    from storage.errors import may_pass
    from tasks.archive.workflow import output_name
    from tasks.config.request import ColorizeRequest
    from tasks.report.commands import (
        reproduce_command,
        retry_command,
        review_command,
        status_command,
    )

    output = output_name(workflow)
    config = str(parameters.get("config", "chromaflow.toml"))
    of_config = [] if output or config == "chromaflow.toml" else ["--config", config]
    tail = f" {shlex.join(of_config)}" if of_config else ""
    failed = {row["path"]: row["code"] for row in result.quarantined}
    if result.failures or any(may_pass(code) for code in failed.values()):
        return f"{retry_command(output)}{tail}"
    if 0 < len(failed) <= _MOST_EXCLUDED and output is not None:
        request = ColorizeRequest.of(parameters)
        names = [word for path in failed for word in ("--exclude", _pattern(path))]
        return f"{reproduce_command(request, output)} {shlex.join(names)}"
    if failed:
        return f"chromaflow explain {next(iter(failed.values()))}"
    if ("colorize", "archive") in result.refs:
        is_far = bool(workflow.remotes)
        return f"{review_command(output)}{tail}" if not is_far else status_command(output) + tail
    if workflow.archive is not None:
        return f"chromaflow run{tail}"
    stages = {stage for stage, _ in result.refs}
    if "train" in stages and "evaluate" not in stages:
        return f"chromaflow evaluate{tail}"
    if "evaluate" in stages:
        return f"chromaflow colorize IN OUT --models {shlex.quote(config)}"
    return f"chromaflow run{tail}"


def _pattern(path: str) -> str:
    """A pattern as in .gitignore that fits this path alone."""
    return ("" if "/" in path else "/") + "".join(f"[{c}]" if c in "*?[" else c for c in path)
