"""Systems to compare, by name: `NAME=WHAT[,MERGE]` on the command line."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from colorization.categories import CATEGORY_NAMES, PAPER, Categories
from colorization.metrics.baselines import BASELINES
from storage.errors import UsageError
from storage.records.names import WEIGHTS_NAME
from storage.records.workspace import Workspace
from tasks.archive.mirrors import load_fetched
from tasks.config.model import ColorizeConfig, Workflow
from tasks.jobs.evaluation.items import MERGES, TRUTH, SystemSpec
from tasks.jobs.stage_items import ModelSpec
from tasks.weights.models import ModelFile, expert_files, require, segmenter_weights, starter_file

DEFAULT_SYSTEMS = ("merged=starter",)
_WHAT = "starter, starter:CATEGORY, a weights file or a chromaflow.toml"


def read_systems(texts: Sequence[str], size: int) -> tuple[SystemSpec, ...]:
    """The systems of the command line; without any, the merged starter experts.

    size: at which the networks see a photo, pixels. Raises UsageError for a text that is none or a name
    given twice, ModelMissingError for weights that are not there, DamagedError for a file cut short.
    """
    systems = tuple(read_system(text, size) for text in texts or DEFAULT_SYSTEMS)
    names = [*BASELINES, TRUTH, *(system.name for system in systems)]
    for name in names:
        if names.count(name) > 1:
            raise UsageError(
                f"Expected a name of its own for every system, none of {', '.join(names[:4])}; got "
                f"{name!r} twice. Rename one."
            )
    return systems


def read_system(text: str, size: int) -> SystemSpec:
    """One system, `NAME=WHAT` or `NAME=WHAT,MERGE`. Raises as `read_systems`."""
    name, sign, wanted = text.partition("=")
    what, _, merge = wanted.rpartition(",")
    if merge not in MERGES:
        what, merge = wanted, ""
    if not (sign and name.strip() and what) or not name.isprintable() or ":" in name:
        raise UsageError(
            f"Expected --system NAME=WHAT[,{'|'.join(MERGES)}] with WHAT of {_WHAT}, and no colon in "
            f"NAME; got {text!r}."
        )
    if what == "starter" or what.endswith(".toml"):
        workflow = load_fetched(Path(what)) if what != "starter" else None
        merge = merge or (workflow.colorize.merge if workflow else "soft")
        return SystemSpec(
            name=name.strip(),
            what=what,
            merge=merge,
            size=size,
            models=_models(workflow, merge, size),
        )
    if merge:
        raise UsageError(
            f"Expected `,{merge}` behind starter or a chromaflow.toml, which have several experts; "
            f"got it behind {what}. Leave it out."
        )
    weights = str(_weights(what))
    return SystemSpec(name=name.strip(), what=what, merge="", size=size, weights=weights)


def with_parents(
    systems: Sequence[SystemSpec], others: Sequence[Categories]
) -> tuple[SystemSpec, ...]:
    """The systems, each of which knows whose expert stands for the categories of the other ones.

    others: further categories that photos may have.
    """
    every = [PAPER, *(spec.models.categories for spec in systems if spec.models), *others]
    parents = {name: categories.parent(name) for categories in every for name in categories.names}
    return tuple(replace(spec, parents=tuple(parents.items())) for spec in systems)


def _weights(what: str) -> Path:
    """A single network's weights. Raises UsageError and ModelMissingError."""
    start, _, category = what.partition(":")
    if start != "starter":
        return require(ModelFile("file", Path(what))).resolve()
    if category not in CATEGORY_NAMES:
        raise UsageError(
            f"Expected starter:CATEGORY with a category of {', '.join(CATEGORY_NAMES)}; got {what!r}."
        )
    return require(starter_file(category))


def _models(workflow: Workflow | None, merge: str, size: int) -> ModelSpec:
    """The experts of a config, or the starter's, with the segmenter and merge of its [colorize]."""
    config = workflow.colorize if workflow else ColorizeConfig()
    files = {}
    if workflow is not None:
        for name in workflow.datasets:
            trained = Workspace(workflow.workspace).current("train", name).resolve() / WEIGHTS_NAME
            files[name] = ModelFile(f"expert:{name}", trained)
    categories = workflow.categories if workflow else PAPER
    files |= expert_files(files, workflow.experts if workflow else {}, categories)
    paths = {name: require(files[name]) for name in categories.names}
    _, called_with = segmenter_weights(config.segmenter, config.segmenter_weights)
    options = config.merge_options
    return ModelSpec(
        categories=categories,
        experts=tuple((name, str(path)) for name, path in paths.items()),
        segmenter=config.segmenter,
        segmenter_weights=called_with,
        classes=tuple(config.classes.items()),
        merge=replace(options, mode=merge) if merge != "own" else options,
        uncertainty=False,
        short_side=size,
        num_threads=0,
        device="cpu",
        hashes=(),
    )
