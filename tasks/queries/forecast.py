"""What the steps that a run would compute take: photos, bytes, time."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from storage.records.workspace import Workspace
from tasks.compute.slots import Slots, plan_photos
from tasks.config.model import Workflow
from tasks.engine.estimate import Estimate, forecast
from tasks.engine.published import read_step
from tasks.engine.stages import Decision, StepName
from tasks.engine.verification import read_success
from tasks.graph import SHARED, TRAINING
from tasks.queries.costs import Cost
from tasks.queries.speed import trained_photos_a_second

_SCORED_TO_TRAINED = 3.0
"""Photos that are scored in the time in which one is trained on: no backward pass, but two networks."""


def run_forecast(
    workflow: Workflow, decisions: Mapping[StepName, Decision], slots: Mapping[str, Slots]
) -> dict[StepName, Estimate]:
    """Of every step that a run would compute, but the archive's colours: `colour_forecast`.

    slots: of the stages that train, as `training_slots` gives them.
    """
    found = forecast(decisions.values())
    for name, decision in decisions.items():
        stage, key = name
        if decision.action == "skip":
            continue
        if stage in TRAINING:
            found[name] = _training(workflow, decision, found, slots[stage])
        elif stage == "evaluate":
            found[name] = _evaluation(workflow, decision, found)
    return found


def colour_forecast(cost: Cost | None, decision: Decision | None) -> dict[StepName, Estimate]:
    """Of colouring an archive of which nothing is coloured yet."""
    if cost is None or decision is None or decision.action not in ("run", "depends"):
        return {}
    seconds = cost.num_photos * cost.core_seconds / cost.num_cores
    return {decision.step.name: Estimate(cost.num_photos, 0, seconds)}


def _training(
    workflow: Workflow,
    decision: Decision,
    known: Mapping[StepName, Estimate],
    slots: Slots,
) -> Estimate:
    stage, key = decision.step.name
    config = workflow.pretrain if stage == "pretrain" and workflow.pretrain else workflow.train
    recipe = (config if key == SHARED else config.of(key)).build_recipe()
    keys = workflow.datasets if key == SHARED else [key]
    num_photos = sum(_rows(workflow, one, known) for one in keys)
    seen = num_photos * recipe.epochs
    if not seen:
        return Estimate(num_photos, 0, 0)
    rate = _last_rate(decision) or trained_photos_a_second(
        recipe, recipe.crop or workflow.preprocess.size, slots
    )
    return Estimate(num_photos, 0, seen / rate)


def _evaluation(
    workflow: Workflow, decision: Decision, known: Mapping[StepName, Estimate]
) -> Estimate:
    key = decision.step.key
    num_photos = math.ceil(_rows(workflow, key, known) * workflow.ingest.val_share)
    recipe = workflow.train.of(key).build_recipe()
    slots = plan_photos(workflow.compute)
    rate = trained_photos_a_second(recipe, workflow.preprocess.size, slots)
    return Estimate(num_photos, 0, num_photos / (rate * _SCORED_TO_TRAINED))


def _rows(workflow: Workflow, key: str, known: Mapping[StepName, Estimate]) -> int:
    """Photos of a category, each as often as its shards hold it."""
    planned = known.get(("preprocess", key)) or known.get(("ingest", key))
    if planned is not None:
        return planned.num_photos * workflow.preprocess.variants
    success = read_success(Workspace(workflow.workspace).current("preprocess", key))
    return success.counts["done"] * workflow.preprocess.variants if success else 0


def _last_rate(decision: Decision) -> float | None:
    """Photos a second of the step's last training, if it was of the same network, size and batch."""
    step = decision.step
    last = read_step(step.workspace.current(step.stage, step.key).resolve())
    same: tuple[Any, ...] = ("network", "crop", "batch", "precision")
    if last is None or any(last.config.get(name) != step.config.get(name) for name in same):
        return None
    seen = last.success.counts.get("done", 0) * last.success.counts.get("epochs", 0)
    return seen / last.success.seconds if seen and last.success.seconds else None
