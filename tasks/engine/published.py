"""Published folders of a workspace as records of what was made of what."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from storage.records.item_record import ItemRecord, read_item
from storage.records.ledger import read_json, record_path
from storage.records.names import SUCCESS_NAME
from storage.records.success_record import SuccessRecord
from storage.records.workspace import Workspace
from tasks.engine.stages import StepName
from tasks.engine.verification import read_success, source_at


@dataclass(frozen=True)
class PublishedStep:
    """A published folder, and what stage.json and _SUCCESS.json say of it."""

    workspace: Workspace
    folder: Path
    recorded: dict[str, Any]
    success: SuccessRecord

    @property
    def label(self) -> str:
        """stage/key."""
        return f"{self.recorded['stage']}/{self.recorded['key']}"

    @property
    def name(self) -> StepName:
        """(stage, key)."""
        return self.recorded["stage"], self.recorded["key"]

    @property
    def digest(self) -> str:
        """Of its output."""
        return self.success.digest

    @property
    def upstream(self) -> dict[str, str]:
        """Label → digest of the outputs that it was made from."""
        return dict(self.recorded["parts"]["upstream"])

    @property
    def inputs(self) -> dict[str, str]:
        """Name → hash of what came from outside the workspace."""
        return dict(self.recorded["parts"]["inputs"])

    @property
    def config(self) -> dict[str, Any]:
        """Of its stage."""
        return dict(self.recorded["parts"]["config"])

    @property
    def source(self) -> str:
        """Where an ingest's photos come from."""
        if self.success.source is not None:
            return source_at(self.workspace, self.success)
        return str(self.config["source"])  # of a version that hashed it

    def records(self) -> Iterator[tuple[str, ItemRecord]]:
        """Name and record of every item."""
        for name in sorted(self.success.items):
            record = read_item(record_path(self.folder, name))
            if record is not None:
                yield name, record

    def to_dict(self) -> dict[str, Any]:
        """As JSON."""
        keep = ("fingerprint", "versions", "host", "platform")
        return {
            "step": self.label,
            "folder": str(self.folder),
            "digest": self.digest,
            **{name: self.recorded[name] for name in keep},
            "config": self.config,
            "inputs": self.inputs,
            "upstream": self.upstream,
        }


def read_step(folder: Path) -> PublishedStep | None:
    """A published folder `stages/<stage>/<key>/<fp12>`; None where it is not, or not whole."""
    recorded, success = read_json(folder / "stage.json"), read_success(folder)
    if recorded is None or success is None:
        return None
    return PublishedStep(Workspace(folder.parents[3]), folder, recorded, success)


def published_steps(workspace: Workspace, stage: str, key: str = "*") -> list[PublishedStep]:
    """Every published folder of a stage, or of one key; current ones first."""
    folders = sorted(
        p.parent.resolve() for p in workspace.stages.glob(f"{stage}/{key}/*/{SUCCESS_NAME}")
    )
    found = [step for folder in folders if (step := read_step(folder))]
    return sorted(found, key=lambda step: not _is_current(step))


def current_steps(workspace: Workspace, stage: str) -> list[PublishedStep]:
    """What later stages, and people, use now of a stage: one folder a key."""
    return [step for step in published_steps(workspace, stage) if _is_current(step)]


def _is_current(step: PublishedStep) -> bool:
    return step.workspace.current(*step.name).resolve() == step.folder


def made_from(step: PublishedStep) -> list[dict[str, Any]]:
    """All steps before it, as JSON, each after those it needs; folder None where it is deleted."""
    chain: list[dict[str, Any]] = []
    for label, digest in sorted(step.upstream.items()):
        before = find_step(step.workspace, label, digest)
        if before is None:
            chain.append({"step": label, "digest": digest, "folder": None})
            continue
        known = {(row["step"], row["digest"]) for row in chain}
        earlier = [r for r in made_from(before) if (r["step"], r["digest"]) not in known]
        chain += [*earlier, before.to_dict()]
    return chain


def find_step(workspace: Workspace, label: str, digest: str) -> PublishedStep | None:
    """The published step with this output, the current one if it is one of several."""
    steps = published_steps(workspace, *label.split("/"))
    return next((step for step in steps if step.digest == digest), None)
