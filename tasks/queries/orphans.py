"""Outputs without an original, for those who ask: plan, status, and what a run says of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from storage.errors import is_policy
from storage.records.workspace import Workspace
from storage.sources.datasets import arrange
from storage.visible import visible
from tasks.archive.ownership import Claim, archive_source, known_outputs
from tasks.engine.kept import GONE, ORPHANS, UNUSABLE, Output, recorded_kept
from tasks.engine.stages import Decision, StepName
from tasks.graph import ARCHIVE

_NAMED = 5


@dataclass(frozen=True, slots=True)
class Orphans:
    """Names of kept outputs."""

    without_original: Sequence[str]
    """That `--delete` removes."""
    unusable: Sequence[str] = ()
    """Whose original is there, but cannot be used now."""

    def lines(self, *, delete: bool = False) -> list[str]:
        """For people. delete: whether they are asked to go."""
        found = []
        if self.without_original:
            fate = "--delete removes them" if delete else "kept; --delete removes them"
            found.append(_line(self.without_original, "without an original now", fate))
        if self.unusable:
            found.append(_line(self.unusable, "whose original cannot be used now", "kept"))
        return found

    def to_dict(self) -> dict[str, list[str]]:
        """As JSON."""
        return {"without_original": list(self.without_original), "unusable": list(self.unusable)}


def kept_now(workspace: Workspace) -> Orphans:
    """What the last run kept."""
    return _of(recorded_kept(workspace))


def planned_orphans(claimed: Claim, decisions: Mapping[StepName, Decision]) -> Orphans:
    """What a run would find without an original: its archive is listed, no photo is read."""
    workflow, number = claimed.workflow, claimed.number
    workspace = Workspace(workflow.workspace)
    archive, decision = workflow.archive, decisions.get(("ingest", ARCHIVE))
    if archive is None or decision is None:
        return Orphans(())
    if decision.action == "skip" and _is_current(decision) and _is_settled(decisions):
        return kept_now(workspace)
    listed = arrange(archive_source(workflow, archive), "plain", archive.include, archive.exclude)
    usable = {entry.file.path for entry in listed.entries}
    failed = {p.path for p in listed.problems if not is_policy(p.code)}
    present = usable | failed
    mine = [output for output in known_outputs(workspace) if output.photo[0] == number]
    orphans, unusable = [], []
    for output in mine:
        paths = [output.photo[1], *map(str, Path(output.photo[1]).parents)]
        if (
            not any(path in present for path in paths)
            or output.why in ORPHANS
            and output.why != GONE
        ):
            orphans.append(output.name)
        elif output.why == UNUSABLE or not any(path in usable for path in paths):
            unusable.append(output.name)
    return Orphans(sorted(orphans), sorted(unusable))


def _is_current(decision: Decision) -> bool:
    step = decision.step
    return step.workspace.current(step.stage, step.key).resolve() == decision.folder.resolve()


def _is_settled(decisions: Mapping[StepName, Decision]) -> bool:
    decision = decisions.get(("colorize", ARCHIVE))
    return decision is not None and decision.action == "skip" and _is_current(decision)


def _of(outputs: Sequence[Output]) -> Orphans:
    return Orphans(
        sorted(output.name for output in outputs if output.why in ORPHANS),
        sorted(output.name for output in outputs if output.why == UNUSABLE),
    )


def _line(names: Sequence[str], what: str, fate: str) -> str:
    more = len(names) - _NAMED
    shown = ", ".join(names[:_NAMED]) + (f", and {more} more" if more > 0 else "")
    outputs = "output" if len(names) == 1 else "outputs"
    return visible(f"{len(names)} {outputs} {what}, {fate}: {shown}")
