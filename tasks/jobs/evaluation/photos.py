"""Colour photos made gray, coloured by every system and measured."""

from __future__ import annotations

import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from colorization.colour.toning import COLOUR, tone_of
from colorization.compute import resolve_precision
from colorization.metrics.inception import inception_features
from colorization.metrics.lpips import LPIPS
from storage.errors import PhotoError
from storage.records.fingerprint import hash_bytes
from storage.records.ledger import record_file, write_bytes
from storage.records.manifest import Quarantined
from storage.sources.no_photo import is_no_photo
from tasks.jobs.evaluation.colouring import colour_photo, decode_lab, prepare, read_truth
from tasks.jobs.evaluation.items import TRUTH, LookItem, MeasureItem
from tasks.jobs.evaluation.networks import load_inception, load_lpips
from tasks.jobs.items import ItemResult, commit_item, quarantine_into, read_photo

_STAGE = "evaluate"
Pictures = dict[str, NDArray[np.uint8]]


def look_at_photos(item: LookItem) -> ItemResult:
    """Read and decode every photo once; rows of sha256 and mean ab of those that are in colour."""
    rows: list[dict[str, Any]] = []
    quarantined: list[Quarantined] = []
    for photo in item.photos:
        with quarantine_into(quarantined, photo["name"], _STAGE):
            content = read_photo(item, photo)
            try:
                lab = decode_lab(content, item.config)
            except PhotoError as error:
                if is_no_photo(photo["path"], content, error):
                    continue
                raise
            if not item.chosen and tone_of(lab[:, ::2, ::2]) != COLOUR:
                raise PhotoError("NEAR_GRAY", "expected a photo in colour, which has a truth")
            mean = lab[1:].mean((1, 2), dtype=np.float64).tolist()
            rows.append({"name": photo["name"], "sha256": hash_bytes(content), "mean_ab": mean})
    return commit_item(
        item, files=[], num_photos=len(item.photos), quarantined=quarantined, rows=rows
    )


def measure_photos(item: MeasureItem) -> ItemResult:
    """Measure every system on every photo: one row each."""
    prepare(item)
    lpips = load_lpips(item.lpips) if item.lpips else None
    rows: list[dict[str, Any]] = []
    quarantined: list[Quarantined] = []
    measured: list[Mapping[str, Any]] = []
    pictures: list[Pictures] = []
    for photo in item.photos:
        with quarantine_into(quarantined, photo["name"], _STAGE):
            own_rows, own_pictures = _measure(item, photo, lpips)
            rows += own_rows
            if item.inception:
                pictures.append(own_pictures)
            measured.append(photo)
    files = [_write_features(item, measured, pictures)] if pictures else []
    return commit_item(
        item,
        files=[record_file(Path(item.folder), path) for path in files],
        num_photos=len(item.photos),
        quarantined=quarantined,
        rows=rows,
        precision=resolve_precision("auto"),
    )


def _measure(
    item: MeasureItem, photo: Mapping[str, Any], lpips: LPIPS | None
) -> tuple[list[dict[str, Any]], Pictures]:
    """A photo's rows, and its pictures by colouring."""
    truth = read_truth(item, photo, lpips)
    common = {"photo": photo["name"], "sha256": photo["sha256"], "category": photo["category"]}
    common |= truth.own_colourfulness()
    rows, pictures = [], {TRUTH: truth.colours(truth.ab)}
    for name, coloured in colour_photo(item, photo["category"], truth).items():
        facts = {"system": name, "mixture": coloured.mixture, "seconds": coloured.seconds}
        if coloured.prediction:
            facts["delta_e_single"] = truth.delta_e(coloured.single(truth))
        rows.append(common | facts | truth.measure(coloured.ab))
        pictures[name] = truth.colours(coloured.ab)
    return rows, pictures


def _write_features(
    item: MeasureItem, photos: list[Mapping[str, Any]], pictures: list[Pictures]
) -> Path:
    """Inception features, float32 (systems, n, D), in the order of `item.colourings`, and the
    photos' names and categories, as npz."""
    assert item.inception is not None
    inception = load_inception(item.inception)
    features = np.stack(
        [inception_features(inception, [own[name] for own in pictures]) for name in item.colourings]
    )
    buffer = io.BytesIO()
    np.savez(
        buffer,
        features=features,
        photos=np.array([photo["name"] for photo in photos]),
        categories=np.array([photo["category"] for photo in photos]),
    )
    path = Path(item.folder) / "features" / f"{item.name}.npz"
    write_bytes(path, buffer.getvalue())
    return path
