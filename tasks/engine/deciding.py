"""Whether a step is skipped, finished or run: fingerprint, decision with reasons, skip rule.

`plan` and `run` ask the same `decide`, so what `plan` says is what `run` does (decision 024). Prefect's own cache
stays "Cached" after a helper changed or an output was deleted (facts/pipeline.md), so files and
fingerprints decide and Prefect runs every task.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from storage.records import ledger
from storage.records.fingerprint import hash_value
from storage.records.names import SUCCESS_NAME
from storage.records.success_record import SuccessRecord
from tasks.engine.changes import as_json, changes
from tasks.engine.retry import Retry, find_again
from tasks.engine.stages import LISTING, Decision, Step, StepName
from tasks.engine.verification import (
    damage_reasons,
    find_damage,
    read_success,
)


def decide(
    step: Step, digests: Mapping[StepName, str | None], retry: Retry | None = None
) -> Decision:
    """Skip, finish or run a step.

    digests: of its upstream outputs; None for one that must run. retry: photos to try again in a
    step that would be skipped.
    """
    parts = step.parts({name: digest for name, digest in digests.items() if digest})
    waiting = [name for name in step.upstream if digests.get(name) is None]
    if waiting:
        return _decide_waiting(step, parts, waiting)
    fingerprint = hash_value(parts)
    folder = step.workspace.stage_dir(step.stage, step.key, fingerprint)
    success = read_success(folder)
    published, digest = False, success.digest if success is not None else None
    if success is not None:
        reasons = _damage(step, folder, success)
        published = not reasons
        if published and retry is not None and (reasons := find_again(folder, retry)):
            digest = None  # a photo that can be used now changes it
        action = "partial" if reasons else "skip"
        reasons = reasons or ("up to date",)
    elif (folder / "stage.json").exists():
        num_done = len(list((folder / "done").glob("*.json")))
        action, digest = "partial", None
        reasons = (f"interrupted; {num_done} items are done",)
    else:
        current = step.workspace.current(step.stage, step.key)
        is_open = (
            step.news is not None and step.news.is_open and same_but_for(step, current, LISTING)
        )
        action, digest = "look" if is_open else "run", None
        reasons = changes(parts, _parts_of(current), step.news)
    return Decision(
        step=step,
        action=action,
        reasons=reasons,
        fingerprint=fingerprint,
        digest=digest,
        published=published,
    )


def same_but_for(step: Step, folder: Path, name: str) -> bool:
    """Whether a published, whole folder of a step without upstream differs in one input at most."""
    recorded, success = ledger.read_json(folder / "stage.json"), read_success(folder)
    if recorded is None or success is None:
        return False
    if find_damage(folder, success, folder, step.hashes):
        return False
    before, now = recorded["parts"], as_json(step.parts({}))
    return _without(before, name) == _without(now, name)


def _decide_waiting(step: Step, parts: dict[str, Any], waiting: Sequence[StepName]) -> Decision:
    """Of a step that hangs on one that must run first: what is known of it already.

    It will run where nothing that was published is made of what is known by now (its config, say);
    else what the others give decides.
    """
    names = {"/".join(name) for name in waiting}
    folders = [p.parent for p in _publications(step)]
    known = [_known_parts(folder, names) for folder in folders]
    if as_json(parts) in known:
        reasons = tuple(f"depends on {name}" for name in sorted(names))
        return Decision(step=step, action="depends", reasons=reasons)
    current = _known_parts(step.workspace.current(step.stage, step.key), names)
    return Decision(step=step, action="run", reasons=changes(parts, current, step.news))


def _publications(step: Step) -> list[Path]:
    return list((step.workspace.stages / step.stage / step.key).glob(f"*/{SUCCESS_NAME}"))


def _parts_of(folder: Path) -> dict[str, Any] | None:
    """What the fingerprint of a published folder was made of."""
    recorded: dict[str, Any] | None = (ledger.read_json(folder / "stage.json") or {}).get("parts")
    return recorded


def _known_parts(folder: Path, waiting: set[str]) -> dict[str, Any] | None:
    """`_parts_of` without the outputs of these upstream steps."""
    parts = _parts_of(folder)
    if parts is None:
        return None
    upstream = {name: digest for name, digest in parts["upstream"].items() if name not in waiting}
    return parts | {"upstream": upstream}


def _damage(step: Step, folder: Path, success: SuccessRecord) -> tuple[str, ...]:
    """Why a published step is not whole; of one whose output tree lies elsewhere now, in one line."""
    found = find_damage(folder, success, step.output_root or folder, step.hashes)
    if found and step.output_root is not None and success.root != step.places()["root"]:
        place = os.path.normpath(step.workspace.root / success.root)
        return (f"its output was at {place}; {len(found)} items are not in {step.output_root}",)
    return damage_reasons(found)


def _without(parts: Mapping[str, Any], name: str) -> dict[str, Any]:
    return {**parts, "inputs": {k: v for k, v in parts["inputs"].items() if k != name}}
