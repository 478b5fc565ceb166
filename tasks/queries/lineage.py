"""`chromaflow lineage`: from an output or weights back to photos and config, and from a photo forward.

All answers come from records on disk: stage.json, _SUCCESS.json, done/ and the tables.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from storage.errors import UsageError
from storage.records.fingerprint import hash_file
from storage.records.ledger import damage, record_path
from storage.records.names import (
    MANIFEST_NAME,
    QUARANTINE_NAME,
    ROWS_NAME,
    STATE_NAME,
)
from storage.records.outputs import files_of
from storage.records.tables import read_rows
from storage.records.workspace import Workspace
from storage.shards.file import PHOTOS_PER_SHARD
from tasks.archive.mirrors import load_fetched
from tasks.archive.workflow import models_config
from tasks.engine.kept import recorded_kept
from tasks.engine.published import (
    PublishedStep,
    current_steps,
    find_step,
    made_from,
    published_steps,
    read_step,
)
from tasks.engine.verification import root_of
from tasks.queries.experts import (
    coloured_by,
    describe_weights,
    known_weights,
    models_of,
    weights_hash,
)

Found = dict[str, Any]


def trace(what: str, workspaces: Sequence[Workspace], experts: Iterable[Path] = ()) -> list[Found]:
    """All that is known of a photo or a weights file; the `kind` of each answer says as what.

    what: an output, a source photo (its path, or what the manifest calls it), or weights.
    workspaces: where to look beside the output tree that `what` lies in. experts: weights files that
    a config names. Raises UsageError saying where was looked.
    """
    path = Path(what)
    places = list(dict.fromkeys([*workspaces, *_trees_of(path)]))
    named = list(experts)
    for config in [toml for place in places if (toml := models_config(place))]:
        workflow = load_fetched(config)
        named += workflow.experts.values()
        places = list(dict.fromkeys([*places, Workspace(workflow.workspace.resolve())]))
    known = known_weights(places, named)
    answers = [_output(step, path.resolve(), known) for step in _all_current(places, "colorize")]
    found = [answer for answer in answers if answer is not None]
    if not found:
        found = [a for place in places for a in _kept_output(place, path.resolve(), known)]
    for step in _all_current(places, "ingest"):
        found += _photos(step, what, places)
    if path.is_file() and (digest := hash_file(path)) in known:
        found.append(
            {
                "kind": "weights",
                **describe_weights(digest, known),
                "coloured": coloured_by([digest], places),
            }
        )
    if not found:
        looked = "; ".join(text for place in places for text in _looked_in(place))
        raise UsageError(
            "Expected an output, a source photo or a weights file that a workspace knows, got "
            f"{what}. Looked in {looked or 'no workspace'}. Name another with --config or --output."
        )
    return found


def _trees_of(path: Path) -> list[Workspace]:
    """Workspaces of the colorize outputs that a path lies in."""
    states = [folder / STATE_NAME for folder in path.resolve().parents]
    return [Workspace(state) for state in states if state.is_dir()]


def _all_current(workspaces: Iterable[Workspace], stage: str) -> list[PublishedStep]:
    return [step for workspace in workspaces for step in current_steps(workspace, stage)]


def _looked_in(workspace: Workspace) -> list[str]:
    outputs = [
        f"outputs of {step.label} in {root_of(workspace, step.folder, step.success)}"
        for step in current_steps(workspace, "colorize")
    ]
    photos = [
        f"photos of {step.label} in {step.source}" for step in current_steps(workspace, "ingest")
    ]
    return [*outputs, *photos, f"weights of {workspace.root}"]


def _output(step: PublishedStep, path: Path, known: dict[str, Path]) -> Found | None:
    """Backwards from an output or what lies beside it: a variant, a sidecar, a map; None if it is none."""
    root = root_of(step.workspace, step.folder, step.success)
    if not path.is_relative_to(root):
        return None
    name = path.relative_to(root).as_posix()
    for item, record in step.records():
        file = next((file for file in record.files if file.path == name), None)
        row = next((r for r in record.outputs if files_of(r.output, [name], r.variant_names)), None)
        if file is None or row is None:
            continue
        label, digest = next(
            pair for pair in step.upstream.items() if pair[0].startswith("ingest/")
        )
        ingested = find_step(step.workspace, label, digest)
        return {
            "kind": "output",
            "output": {**file.to_dict(), "root": str(root), "damage": damage(root, file)},
            "source": {
                "path": row.photo,
                "sha256": row.sha256,
                "location": ingested.source if ingested else None,
                "manifest": _row_of(ingested, row.photo) if ingested else None,
            },
            "chunk": {
                "item": item,
                "record": str(record_path(step.folder, item)),
                "record_sha256": step.success.items[item],
                "num_photos": record.num_photos,
            },
            "stage": step.to_dict(),
            **models_of(step, known),
            "made_from": made_from(step),
        }
    return None


def _kept_output(workspace: Workspace, path: Path, known: dict[str, Path]) -> Iterator[Found]:
    """Backwards from an output that no current step names, as far as what made it is still there."""
    for output in recorded_kept(workspace):
        place = output.place(workspace)
        file = next((f for f in output.files if place / f.path == path), None)
        if file is None:
            continue
        step = read_step((workspace.root / output.step).resolve())
        yield {
            "kind": "output",
            "output": {**file.to_dict(), "root": str(place), "damage": damage(place, file)},
            "kept": output.why,
            "source": {"path": output.facts.photo, "sha256": output.facts.sha256},
            **({"stage": step.to_dict(), **models_of(step, known)} if step else {}),
        }


def _row_of(ingested: PublishedStep, path: str) -> Found | None:
    rows = read_rows(ingested.folder / MANIFEST_NAME)
    return next((row for row in rows if row["path"] == path), None)


def _photos(ingested: PublishedStep, what: str, places: Sequence[Workspace]) -> list[Found]:
    """Forward from a source photo: its place, its shards, what learned from it, what it became."""
    is_it = _matcher(ingested.source, what)
    rows = {row["path"]: row for row in read_rows(ingested.folder / MANIFEST_NAME)}
    refused = read_rows(ingested.folder / QUARANTINE_NAME)
    found = []
    for path in sorted(p for p in {*rows, *(row["path"] for row in refused)} if is_it(p)):
        row = rows.get(path)
        shards = _shard_rows(ingested, row) if row else []
        trained = _trained_on(ingested, {shard["digest"] for shard in shards})
        hashes = [digest for step in trained if (digest := weights_hash(step))]
        found.append(
            {
                "kind": "photo",
                "path": path,
                "location": ingested.source,
                "stage": ingested.to_dict(),
                "manifest": row,
                "quarantine": [r for r in refused if r["path"] == path],
                "shards": shards,
                "trained": [step.to_dict() for step in trained],
                "coloured": coloured_by(hashes, places),
                "outputs": _outputs_of(ingested, path),
            }
        )
    return found


def _matcher(source: str, what: str) -> Callable[[str], bool]:
    """Whether a path of a manifest is the photo that a user means.

    A manifest's path starts from its source: a folder, an archive, a URL, or what a pattern or a
    list has in common.
    """
    full = str(Path(what).resolve())
    spellings = (what, full, str(Path(what).absolute()))
    spelled = {what, *(name.removeprefix(f"{source}/") for name in spellings)}
    is_one_place = Path(source).exists() or "://" in source
    return lambda path: path in spelled or (not is_one_place and full.endswith(f"/{path}"))


def _shard_rows(ingested: PublishedStep, photo: Found) -> list[Found]:
    """The photo's rows (crop box, flips, saturation, seed) in every published set of shards."""
    return [
        {
            "step": step.label,
            "folder": str(step.folder),
            "digest": step.digest,
            "shard": f"{row['split']}-{row['row'] // PHOTOS_PER_SHARD:06d}",
            **row,
        }
        for step in published_steps(ingested.workspace, "preprocess", ingested.name[1])
        for row in read_rows(step.folder / ROWS_NAME)
        if (row["path"], row["sha256"]) == (photo["path"], photo["sha256"])
    ]


def _trained_on(ingested: PublishedStep, shards: set[str]) -> list[PublishedStep]:
    """The steps that learned from shards with these digests, at first hand or by pretraining.

    A photo of the val split chose among epochs; it was not learned from.
    """
    workspace, label = ingested.workspace, f"preprocess/{ingested.name[1]}"
    shared = [
        step
        for step in published_steps(workspace, "pretrain")
        if step.upstream.get(label) in shards
    ]
    pretrained = {step.digest for step in shared}
    own = [
        step
        for step in published_steps(workspace, "train")
        if step.upstream.get(label) in shards or step.upstream.get("pretrain/shared") in pretrained
    ]
    return [*shared, *own]


def _outputs_of(ingested: PublishedStep, path: str) -> list[Found]:
    """What an archive's photo became."""
    return [
        {
            "step": step.label,
            "folder": str(step.folder),
            "root": str(root_of(step.workspace, step.folder, step.success)),
            "item": item,
            **row.to_dict(),
        }
        for step in current_steps(ingested.workspace, "colorize")
        if step.name[1] == ingested.name[1]
        for item, record in step.records()
        for row in record.outputs
        if row.photo == path
    ]
