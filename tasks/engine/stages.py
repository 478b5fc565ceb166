"""Steps: what one is made of, what is decided of it, and what it leaves to those behind it.

`tasks.engine.deciding` decides, `tasks.engine.publishing` prepares its folder and publishes it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from storage.errors import DamagedError
from storage.records.known_hashes import KnownHashes
from storage.records.workspace import Workspace
from tasks.engine.module_hashes import module_hash
from tasks.engine.source_news import SourceNews
from tasks.engine.stage_code import StageCode
from tasks.engine.verification import (
    places,
    read_success,
    source_at,
)

StepName = tuple[str, str]
"""(stage, key), e.g. ("train", "birds")."""
LISTING = "listing"
"""Among a step's inputs: names, sizes and times of its source's files."""


@dataclass(frozen=True, kw_only=True)
class Step:
    """One stage for one key, with everything that decides its output."""

    stage: str
    key: str
    workspace: Workspace
    code: StageCode
    config: dict[str, Any]
    upstream: tuple[StepName, ...] = ()
    inputs: dict[str, str] = field(default_factory=dict)
    """Hashes of what comes from outside the workspace beside `news`: weights files."""
    output_root: Path | None = None
    """Where its files go, when not into its own folder (colorized photos)."""
    place: str = ""
    """Where its source lies; like `output_root` in no fingerprint, as both may be moved."""
    news: SourceNews | None = None
    """Its source and what differs in it, where it has one."""
    hashes: KnownHashes = field(default_factory=KnownHashes, compare=False, repr=False)
    """Shared by all steps of a workspace."""

    @property
    def name(self) -> StepName:
        """(stage, key)."""
        return self.stage, self.key

    @property
    def label(self) -> str:
        """stage/key."""
        return f"{self.stage}/{self.key}"

    def places(self) -> dict[str, Any]:
        """Where its source and its outputs lie, kept in _SUCCESS.json."""
        return places(self.workspace, self.place, self.output_root)

    def parts(self, digests: Mapping[StepName, str]) -> dict[str, Any]:
        """What the fingerprint is made of, kept in stage.json so that `plan` can name a change.

        digests: of its upstream outputs, as far as they are known.
        """
        hashes = {name: module_hash(name, self.hashes) for name in self.code.modules()}
        return {
            "schema": self.code.schema,
            "config": self.config,
            "inputs": self.inputs | ({LISTING: self.news.digest} if self.news else {}),
            "upstream": {
                "/".join(name): digests[name] for name in self.upstream if name in digests
            },
            "modules": hashes,
        }


@dataclass(frozen=True, kw_only=True)
class Decision:
    """What a run would do with a step, and why."""

    step: Step
    action: str
    """skip; partial (some items are left, damaged or tried again); run; look (only reading the source
    tells whether anything changed); or depends (on what a step before it gives)."""
    reasons: tuple[str, ...]
    fingerprint: str | None = None
    """None while an upstream step must be run or looked at first."""
    digest: str | None = None
    """Of the output, when it is known already."""
    published: bool = False
    """Whether its folder is whole as it was published."""

    @property
    def folder(self) -> Path:
        """The step's folder at this fingerprint."""
        if self.fingerprint is None:
            raise ValueError(f"Expected a decision on {self.step.label} with a fingerprint.")
        return self.step.workspace.stage_dir(self.step.stage, self.step.key, self.fingerprint)


@dataclass(frozen=True, kw_only=True)
class StageRef:
    """A small pointer to a published step; what Prefect tasks pass to each other."""

    stage: str
    key: str
    folder: str
    digest: str
    computed: int
    """Items computed in this run; 0 when the step was skipped."""
    counts: dict[str, int]
    """done, quarantined, … as the stage published them."""
    seconds: float
    peak_mb: float


def plan_row(decision: Decision) -> dict[str, Any]:
    """A decision as JSON."""
    return {
        "step": decision.step.label,
        "action": decision.action,
        "reasons": list(decision.reasons),
    }


def source_of(workspace: Workspace, key: str) -> str:
    """The folder, archive or URL that the photos of an ingested key come from."""
    success = read_success(workspace.current("ingest", key))
    if success is None:
        raise unpublished(f"ingest/{key}")
    return source_at(workspace, success)


def digest_of(workspace: Workspace, stage: str, key: str) -> str:
    """The digest of the current output of a stage × key."""
    success = read_success(workspace.current(stage, key))
    if success is None:
        raise unpublished(f"{stage}/{key}")
    return success.digest


def unpublished(step: str) -> DamagedError:
    """The output of a step is asked for, and is not there."""
    return DamagedError(
        f"Expected the output of {step}, got none that is whole. Run that step again."
    )
