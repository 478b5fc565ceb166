"""What an archive costs in core-hours, and what a million such photos would: before they are rented."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from storage.records.ledger import read_json
from storage.records.names import EVENTS_NAME, PLAN_NAME
from storage.records.workspace import Workspace
from tasks.compute.slots import plan_photos
from tasks.config.model import ComputeConfig, Workflow
from tasks.engine.estimate import Estimate
from tasks.engine.events import read_events, run_ids
from tasks.engine.stages import StepName
from tasks.engine.verification import read_success
from tasks.graph import ARCHIVE
from tasks.jobs.stage_items import SHEET_ITEM
from tasks.queries.speed import core_seconds_to_colour

_STEPS = tuple(f"{stage}/{ARCHIVE}" for stage in ("ingest", "series", "colorize"))
_MOST_RUNS = 20
"""That are looked through for one that coloured photos."""
_MILLION = 1_000_000


@dataclass(frozen=True, slots=True)
class Cost:
    """Of an archive, from its first photo to its last."""

    num_photos: int
    core_seconds: float
    """Of one photo: what a worker takes for it, times its threads, start of the networks included."""
    num_measured: int
    """Photos it was measured on, in this workspace; 0: on one of 1.4 megapixels, on this machine."""
    num_cores: int
    """That a run would take: workers times threads."""

    def to_dict(self) -> dict[str, Any]:
        """As JSON."""
        return {
            "photos": self.num_photos,
            "core_seconds_a_photo": round(self.core_seconds, 4),
            "core_hours": round(self._core_hours(self.num_photos), 3),
            "core_hours_a_million": round(self._core_hours(_MILLION), 1),
            "measured_photos": self.num_measured,
            "cores": self.num_cores,
        }

    def __str__(self) -> str:
        hours = self._core_hours(self.num_photos)
        basis = (
            f"measured on {self.num_measured:,}"
            if self.num_measured
            else "measured on a photo of 1.4 megapixels"
        )
        return (
            f"archive: {self.num_photos:,} photos, about {hours:,.3g} core-hours in all, "
            f"{hours / self.num_cores:,.2g} h on {self.num_cores} cores; a million such photos: "
            f"{self._core_hours(_MILLION):,.0f} core-hours ({basis})"
        )

    def _core_hours(self, num_photos: int) -> float:
        return num_photos * self.core_seconds / 3600


def archive_cost(workflow: Workflow, estimates: Mapping[StepName, Estimate]) -> Cost | None:
    """Of a workflow's archive; None where it has none, or it is not known how many photos it holds.

    estimates: of the steps that a run would compute, which count photos that are not ingested yet.
    """
    if workflow.archive is None:
        return None
    workspace = Workspace(workflow.workspace)
    listed = estimates.get(("ingest", ARCHIVE))
    success = read_success(workspace.current("ingest", ARCHIVE))
    ingested = success.counts["done"] if success is not None else 0
    num_photos = listed.num_photos if listed is not None else ingested
    if not num_photos:
        return None
    slots = plan_photos(workflow.compute)
    seconds, measured = _measured(workspace)
    return Cost(num_photos, seconds, measured, slots.processes * slots.threads)


def _measured(workspace: Workspace) -> tuple[float, int]:
    """Core-seconds of a photo and on how many it was measured, in the newest run that coloured any."""
    for run in run_ids(workspace)[:_MOST_RUNS]:
        folder = workspace.runs / run
        if not (folder / EVENTS_NAME).exists():
            continue
        seconds, photos = defaultdict[str, float](float), defaultdict[str, int](int)
        for event in read_events(folder):
            if event["event"] != "item_done" or event["item"] == SHEET_ITEM:
                continue
            if event["step"] in _STEPS:
                seconds[event["step"]] += event["seconds"]
                photos[event["step"]] += event["photos"]
        coloured = photos[_STEPS[-1]]
        if coloured:
            of_photo = sum(seconds[step] / count for step, count in photos.items() if count)
            return of_photo * _threads(
                (read_json(folder / PLAN_NAME) or {}).get("compute")
            ), coloured
    return core_seconds_to_colour(), 0


def _threads(compute: Mapping[str, Any] | None) -> int:
    """Of each worker of a run. compute: what it kept of [compute]; None of an older version."""
    named = ("workers", "threads", "cores", "scheduler", "cluster")
    known = {name: value for name, value in (compute or {}).items() if name in named}
    return plan_photos(ComputeConfig(**known)).threads if known else 1
