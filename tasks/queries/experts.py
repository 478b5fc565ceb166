"""Which weights coloured an archive, where they lie, and what they learned from."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from colorization.categories import CATEGORY_NAMES, Categories
from storage.records.checkpoints import read_provenance
from storage.records.fingerprint import hash_file
from storage.records.ledger import FileRecord
from storage.records.workspace import Workspace
from tasks.engine.published import (
    PublishedStep,
    current_steps,
    find_step,
    made_from,
    published_steps,
    read_step,
)
from tasks.engine.verification import root_of
from tasks.weights.models import starter_file

_SEGMENTER = "segmenter"


def known_weights(workspaces: Iterable[Workspace], named: Iterable[Path]) -> dict[str, Path]:
    """SHA-256 → file of all weights that are known: trained ones, named ones, the starter's."""
    known: dict[str, Path] = {}
    stages = [(place, stage) for place in workspaces for stage in ("train", "pretrain")]
    for step in [step for of_stage in stages for step in published_steps(*of_stage)]:
        for file in _files(step):
            known.setdefault(file.sha256, step.folder / file.path)
    starters = [starter_file(name).path for name in (*CATEGORY_NAMES, _SEGMENTER)]
    for path in [*named, *starters]:
        if path.is_file():
            known.setdefault(hash_file(path), path)
    return known


def models_of(step: PublishedStep, known: Mapping[str, Path]) -> dict[str, Any]:
    """The experts, by category, and the segmenter of a colorize step. known: of `known_weights`."""
    hashes = _trained_hashes(step)
    categories = Categories.from_json(step.config.get("categories"))
    for name in categories.names:
        digest = step.inputs.get(f"expert:{name}") or step.inputs.get(
            f"starter:{categories.parent(name)}"
        )
        if digest and name not in hashes:
            hashes[name] = digest
    name = step.config["segmenter"]
    segmenter = step.inputs.get("starter:segmenter") or step.inputs.get(name)
    experts = {c: describe_weights(hashes[c], known) for c in categories.names if hashes.get(c)}
    described = describe_weights(segmenter, known) if segmenter else {}
    return {"experts": experts, _SEGMENTER: {"name": name, **described}}


def describe_weights(digest: str, known: Mapping[str, Path]) -> dict[str, Any]:
    """Weights by their SHA-256: file, what its trainer recorded, the step that trained it, its data.

    path is None for weights that are not on this machine, or that no place looked at names.
    """
    path = known.get(digest)
    step = read_step(path.resolve().parent) if path is not None else None
    return {
        "sha256": digest,
        "path": str(path) if path is not None else None,
        "provenance": read_provenance(path) if path is not None else {},
        "trained": step.to_dict() if step is not None else None,
        "made_from": made_from(step) if step is not None else [],
    }


def coloured_by(digests: Iterable[str], workspaces: Iterable[Workspace]) -> list[dict[str, Any]]:
    """The archives in these workspaces that weights with such a SHA-256 coloured, and the outputs."""
    wanted = set(digests)
    found = []
    for workspace in workspaces:
        for step in current_steps(workspace, "colorize"):
            used = {*_trained_hashes(step).values(), *step.inputs.values()}
            if wanted & used:
                outputs = [row.output for _, r in step.records() for row in r.outputs]
                found.append(
                    {
                        "step": step.label,
                        "folder": str(step.folder),
                        "root": str(root_of(workspace, step.folder, step.success)),
                        "weights": sorted(wanted & used),
                        "outputs": outputs,
                    }
                )
    return found


def weights_hash(step: PublishedStep) -> str | None:
    """SHA-256 of the weights that a train or pretrain step published."""
    files = _files(step)
    return files[0].sha256 if files else None


def _files(step: PublishedStep) -> list[FileRecord]:
    return [file for _, record in step.records() for file in record.files]


def _trained_hashes(step: PublishedStep) -> dict[str, str]:
    """Category → SHA-256 of the experts that the step's own workspace trained."""
    hashes = {}
    for label, digest in step.upstream.items():
        trained = find_step(step.workspace, label, digest) if label.startswith("train/") else None
        found = weights_hash(trained) if trained is not None else None
        if trained is not None and found is not None:
            hashes[trained.name[1]] = found
    return hashes
