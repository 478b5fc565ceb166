"""The experts and the segmenter that an archive is colorized with."""

from __future__ import annotations

from storage.records.fingerprint import hash_file
from storage.records.names import WEIGHTS_NAME
from storage.records.workspace import Workspace
from tasks.compute.slots import Slots
from tasks.config.model import Workflow
from tasks.jobs.stage_items import ModelSpec
from tasks.weights.models import expert_files, require, segmenter_weights


def archive_models(workspace: Workspace, workflow: Workflow, slots: Slots) -> ModelSpec:
    """Experts trained in the workspace; named or starter ones for the other categories.

    slots: of the workers. Raises ModelMissingError.
    """
    config, datasets = workflow.colorize, workflow.datasets
    names = workflow.categories.names
    files = expert_files(datasets, workflow.experts, workflow.categories)
    paths = {category: require(model) for category, model in files.items()}
    for category in datasets:
        paths[category] = workspace.current("train", category).resolve() / WEIGHTS_NAME
    segmenter, called_with = segmenter_weights(config.segmenter, config.segmenter_weights)
    return ModelSpec(
        categories=workflow.categories,
        experts=tuple((category, str(paths[category])) for category in names),
        segmenter=config.segmenter,
        segmenter_weights=called_with,
        classes=tuple(config.classes.items()),
        hashes=(
            *((category, hash_file(paths[category])) for category in names),
            (f"segmenter {config.segmenter}", hash_file(segmenter)),
        ),
        merge=config.merge_options,
        uncertainty=config.uncertainty,
        palette=config.palette_choice,
        palette_from=config.palette_from,
        variants=config.variants,
        short_side=config.short_side,
        num_threads=slots.threads,
        device=slots.device,
        runtime=workflow.compute.runtime,
    )
