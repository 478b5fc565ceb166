"""From a workflow to its steps: ingest → preprocess → (pretrain →) train → evaluate, and → (series →) colorize."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from colorization.categories import CATEGORY_NAMES
from colorization.errors import ConfigError
from colorization.merging.segmenter_names import is_import_path
from colorization.networks import network_module
from storage.errors import CodecMissingError, PhotoError, UsageError
from storage.metadata.content_credentials import check_signing
from storage.metadata.signing import Signing
from storage.records.checkpoints import check_whole
from storage.records.decisions import DECISIONS, read_decisions
from storage.records.fingerprint import hash_value
from storage.records.known_hashes import KnownHashes
from storage.records.workspace import Workspace
from storage.sources.files import list_files
from storage.sources.locations import check_folder, resolve_location
from storage.sources.nesting import refuse_nesting
from storage.sources.source import open_source
from tasks.archive.palettes import check_palette_photo, check_palettes
from tasks.compute.cluster_class import check_cluster
from tasks.compute.slots import Slots, plan_colorizing, plan_photos, plan_training
from tasks.config.hints import HINTS, read_hints
from tasks.config.model import ArchiveConfig, DatasetConfig, TrainConfig, Workflow, canonical
from tasks.config.types import changed
from tasks.engine.deciding import decide
from tasks.engine.retry import Retry
from tasks.engine.source_news import SourceNews
from tasks.engine.stages import Decision, Step, StepName
from tasks.jobs.stage_items import TRUTH
from tasks.stage_table import STAGE_NAMES, STAGES
from tasks.weights.models import (
    expert_files,
    imagenet_encoder,
    require,
    segmenter_code,
    segmenter_file,
    starter_file,
)

ARCHIVE = "archive"
TRAINING = ("pretrain", "train")
"""Stages that train networks."""
SHARED = "shared"
"""Key of the network that all categories are pretrained in."""


def build_steps(workflow: Workflow) -> list[Step]:
    """All steps of a workflow, each after those it needs.

    Raises UsageError for a missing folder, ModelMissingError for missing weights.
    """
    if not workflow.datasets and workflow.archive is None:
        raise UsageError("Expected [datasets] or [archive] in the config, got neither.")
    check_cluster(workflow.compute)
    hashes = KnownHashes(Workspace(workflow.workspace).hashes)
    steps: list[Step] = []
    for category, dataset in workflow.datasets.items():
        steps += _category_steps(workflow, category, dataset, hashes)
    if workflow.pretrain is not None and workflow.datasets:
        steps.append(_pretrain_step(workflow, workflow.pretrain, hashes))
    if workflow.archive is not None:
        steps += _archive_steps(workflow, workflow.archive, hashes)
    return sorted(steps, key=lambda step: STAGE_NAMES.index(step.stage))


def select(
    steps: Iterable[Step],
    *,
    from_stage: str = STAGE_NAMES[0],
    until_stage: str = STAGE_NAMES[-1],
    only: Iterable[str] = (),
    force: Iterable[str] = (),
) -> list[Step]:
    """The steps between two stages, of some keys only. force: stages to compute again.

    Raises ConfigError naming what is allowed.
    """
    steps = list(steps)
    for stage in (from_stage, until_stage, *force):
        if stage not in STAGE_NAMES:
            raise ConfigError(f"Expected a stage of {', '.join(STAGE_NAMES)}; got {stage!r}.")
    keys = {step.key for step in steps}
    for key in only:
        if key not in keys:
            raise ConfigError(f"Expected a category of {', '.join(sorted(keys))}; got {key!r}.")
    first, last = STAGE_NAMES.index(from_stage), STAGE_NAMES.index(until_stage)
    wanted = set(only) or keys
    return [s for s in steps if first <= STAGE_NAMES.index(s.stage) <= last and s.key in wanted]


def plan(steps: Iterable[Step], retry: Retry | None = None) -> dict[StepName, Decision]:
    """Decide every step in order, knowing what the ones before it would give.

    retry: for what `chromaflow retry` would do; without it, `run`.
    """
    steps = list(steps)
    digests: dict[StepName, str | None] = {}
    decisions: dict[StepName, Decision] = {}
    for step in steps:
        decision = decide(step, digests, retry)
        decisions[step.name], digests[step.name] = decision, decision.digest
    for hashes in {id(step.hashes): step.hashes for step in steps}.values():
        hashes.save()
    return decisions


def left_out(
    decisions: Mapping[StepName, Decision], wanted: Iterable[Step]
) -> dict[StepName, Decision]:
    """Steps that a partial run leaves out but hangs on; they are up to date.

    Raises UsageError naming the stage to run first.
    """
    wanted = list(wanted)
    wanted_names = {step.name for step in wanted}
    needed = {name for step in wanted for name in step.upstream} - wanted_names
    found = {}
    for name in needed:
        if name not in decisions or decisions[name].action != "skip":
            raise UsageError(
                f"Expected {'/'.join(name)} to be done, but it is not up to date. "
                f"Run with --from {name[0]}."
            )
        found[name] = decisions[name]
    return found


def _category_steps(
    workflow: Workflow, category: str, dataset: DatasetConfig, hashes: KnownHashes
) -> list[Step]:
    workspace = Workspace(workflow.workspace)
    ingest = _ingest_step(workflow, category, dataset, hashes, training=True)
    refuse_nesting(dataset.path, *_written(workflow))
    preprocess = Step(
        stage="preprocess",
        code=STAGES["preprocess"],
        key=category,
        workspace=workspace,
        config=canonical(workflow.preprocess),
        upstream=(ingest.name,),
        hashes=hashes,
    )
    shared = (("pretrain", SHARED),) if workflow.pretrain is not None else ()
    config = workflow.train.of(category)
    network = network_module(config.build_recipe().network)
    train = Step(
        stage="train",
        code=STAGES["train"].with_roots(network),
        key=category,
        workspace=workspace,
        config=config.result_parts(),
        upstream=(preprocess.name, *shared),
        inputs=_hashes(training_files(config, category), hashes),
        hashes=hashes,
    )
    own = starter_file(category)
    evaluate = Step(
        stage="evaluate",
        code=STAGES["evaluate"].with_roots(network),
        key=category,
        workspace=workspace,
        config={},
        upstream=(preprocess.name, train.name),
        inputs=_hashes({"starter": own.path} if own.present else {}, hashes),
        hashes=hashes,
    )
    return [ingest, preprocess, train, evaluate]


def _pretrain_step(workflow: Workflow, pretrain: TrainConfig, hashes: KnownHashes) -> Step:
    return Step(
        stage="pretrain",
        code=STAGES["pretrain"].with_roots(network_module(pretrain.build_recipe().network)),
        key=SHARED,
        workspace=Workspace(workflow.workspace),
        config=pretrain.result_parts(),
        upstream=tuple(("preprocess", category) for category in workflow.datasets),
        inputs=_hashes(training_files(pretrain, SHARED), hashes),
        hashes=hashes,
    )


def _archive_steps(workflow: Workflow, archive: ArchiveConfig, hashes: KnownHashes) -> list[Step]:
    archive_source = DatasetConfig(
        path=archive.path,
        layout="plain",
        include=archive.include,
        exclude=archive.exclude,
        follow=archive.follow,
        encoding=archive.encoding,
    )
    ingest = _ingest_step(workflow, ARCHIVE, archive_source, hashes, training=False)
    refuse_nesting(archive.path, archive.output, *_written(workflow), *workflow.remotes)
    trained = [name for name in CATEGORY_NAMES if name in workflow.datasets]
    others = expert_files(workflow.datasets, workflow.experts).values()
    segmenter = segmenter_file(workflow.colorize.segmenter, workflow.colorize.segmenter_weights)
    inputs = _hashes({model.name: require(model) for model in [*others, segmenter]}, hashes)
    if is_import_path(workflow.colorize.segmenter):
        code = segmenter_code(workflow.colorize.segmenter)
        inputs |= _hashes({"segmenter code": code}, hashes)
    weights = set(inputs)
    if workflow.colorize.hints:
        read_hints(Path(workflow.colorize.hints))
        inputs |= _hashes({HINTS: Path(workflow.colorize.hints)}, hashes)
    if workflow.colorize.palette_from:
        photo = Path(workflow.colorize.palette_from)
        check_palette_photo(photo)
        inputs |= _hashes({"palette photo": photo}, hashes)
    check_palettes(workflow)
    if (signing := workflow.colorize.signing) is not None:
        _check_signing(signing)
        inputs |= _hashes({"certificates": signing.certificates}, hashes)
    if effect := read_decisions(archive.output).effect():
        inputs[DECISIONS] = effect
    if archive.truth is not None:
        truth = check_folder(archive.truth, "colour originals")
        names = sorted(file.path for file in list_files(truth, follow=True))
        inputs[TRUTH] = hash_value(_hashes({name: truth / name for name in names}, hashes))
    before = [ingest]
    if workflow.colorize.series:
        before.append(
            Step(
                stage="series",
                code=STAGES["series"],
                key=ARCHIVE,
                workspace=ingest.workspace,
                config=workflow.colorize.series_parts(),
                upstream=(ingest.name, *(("train", name) for name in trained)),
                inputs={name: digest for name, digest in inputs.items() if name in weights},
                hashes=hashes,
            )
        )
    colorize = Step(
        stage="colorize",
        code=STAGES["colorize"],
        key=ARCHIVE,
        workspace=ingest.workspace,
        config=workflow.colorize.result_parts() | {"bag": archive.bag},
        upstream=(*(step.name for step in before), *(("train", name) for name in trained)),
        inputs=inputs,
        output_root=archive.photos_root,
        hashes=hashes,
    )
    return [*before, colorize]


def _written(workflow: Workflow) -> list[Path]:
    """The folders of the workspace that are written to; others in it are its user's."""
    workspace = Workspace(workflow.workspace)
    return [workspace.stages, workspace.runs, workspace.report, workspace.prefect_home]


def _check_signing(signing: Signing) -> None:
    """Raise UsageError or CodecMissingError before the first photo, not at each."""
    try:
        check_signing(signing)
    except PhotoError as error:
        raise CodecMissingError(f"Expected to sign outputs, but {error.detail}.") from error


def _ingest_step(
    workflow: Workflow, key: str, dataset: DatasetConfig, hashes: KnownHashes, *, training: bool
) -> Step:
    """training: whether photos are filtered, sampled and split for training, or all are kept."""
    location, workspace = resolve_location(dataset.path), Workspace(workflow.workspace)
    own = {
        "layout": dataset.layout,
        "limit": dataset.limit,
        "include": list(dataset.include),
        "exclude": list(dataset.exclude),
        "follow": dataset.follow,
        "encoding": dataset.encoding,
    }
    source = open_source(
        location,
        follow=dataset.follow,
        avoid=workflow.written_folders,
        include=dataset.include,
        encoding=dataset.encoding,
    )
    return Step(
        stage="ingest",
        code=STAGES["ingest"],
        key=key,
        workspace=workspace,
        config=canonical(workflow.ingest) | own | {"training": training},
        place=location,
        news=SourceNews(source, location, workspace, key, hashes),
        hashes=hashes,
    )


def training_files(train: TrainConfig, category: str) -> dict[str, Path]:
    """The files from outside that training reads: what it starts from, and VGG's weights.

    Raises UsageError where a named one is missing, ModelMissingError where a known one is, and
    DamagedError where one is cut short.
    """
    files: dict[str, Path] = {}
    if train.init == "starter":
        files["init"] = require(starter_file(category))
    elif train.init == "imagenet":
        files["init"] = require(imagenet_encoder())
    elif train.init in ("encoder", "file"):
        key = "encoder_weights" if train.init == "encoder" else "init_weights"
        files["init"] = _named_file(f"train.{key}", getattr(train, key))
    if train.perceptual_weights:
        files["perceptual"] = _named_file("train.perceptual_weights", train.perceptual_weights)
    for path in files.values():
        check_whole(path)
    return files


def _named_file(key: str, value: str) -> Path:
    path = Path(value)
    if not path.is_file():
        raise UsageError(f"Expected {key} to be a file, got {path}.")
    return path


def _hashes(files: Mapping[str, Path], hashes: KnownHashes) -> dict[str, str]:
    return {name: hashes.hash(path) for name, path in files.items()}


def stage_slots(workflow: Workflow, stage: str, num_steps: int) -> Slots:
    """How the machine is shared among the steps of a stage where nothing is trained."""
    if stage in (*TRAINING, "evaluate"):
        return plan_training(num_steps, replace(workflow.compute, device="cpu"))
    if stage in ("series", "colorize"):
        return plan_colorizing(workflow.compute)
    return plan_photos(workflow.compute)


def training_slots(
    workflow: Workflow, decisions: Iterable[Decision], force: Iterable[str] = ()
) -> dict[str, Slots]:
    """How the networks that a run would train share the machine, for each stage that trains any.

    force: stages that are computed whatever the decisions say. Raises DeviceMissingError.
    """
    decisions, force = list(decisions), set(force)
    counts = {
        stage: sum(
            d.step.stage == stage and (stage in force or d.action != "skip") for d in decisions
        )
        for stage in TRAINING
    }
    return {
        stage: plan_training(count, workflow.compute) for stage, count in counts.items() if count
    }


def with_compute(
    workflow: Workflow,
    *,
    workers: int | None = None,
    cluster: str | None = None,
    compute: Mapping[str, Any] | None = None,
) -> Workflow:
    """The workflow with another [compute]; None replaces nothing.

    workers: Dask workers, 0 for one a core. cluster: address of a running Dask scheduler in place of
    what the config names, "" for processes of this machine. compute: its other fields. Raises
    ConfigError.
    """
    given = {name: value for name, value in (compute or {}).items() if value is not None}
    if workers is not None:
        given["workers"] = workers
    if cluster is not None:
        elsewhere = {"nice": None, "memory_per_worker": 0.0} if cluster else {}
        own = {"scheduler": cluster, "cluster": "", "cluster_options": {}, "min_workers": 0}
        given = own | elsewhere | given
    return replace(workflow, compute=changed(workflow.compute, given)) if given else workflow
