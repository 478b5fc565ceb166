"""What an evaluation says of itself: evaluation.json, and the paragraphs above its tables."""

from __future__ import annotations

import platform
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pandas as pd

from storage.records.fingerprint import hash_file, hash_value
from tasks.evaluation.metric_weights import describe_inception, describe_lpips
from tasks.evaluation.tables import how_to_read
from tasks.jobs.evaluation.items import MeasureItem, SystemSpec

_VERSION = 1
_VERSIONS = ("chromaflow", "numpy", "opencv-python-headless", "pillow", "torch")


def facts_of(
    location: str,
    geometry: dict[str, Any],
    systems: Sequence[SystemSpec],
    results: pd.DataFrame,
    items: Sequence[MeasureItem],
    quarantined: Sequence[dict[str, Any]],
) -> dict[str, Any]:
    """As JSON. results: as results.parquet. items: what was measured."""
    photos = results.drop_duplicates("photo")
    return {
        "version": _VERSION,
        "location": location,
        "geometry": geometry,
        "photos": len(photos),
        "photos_digest": hash_value(sorted(photos["sha256"])),
        "constants": dict(items[0].constants),
        "systems": [
            {
                "name": system.name,
                "what": system.what,
                "merge": system.merge,
                "files": {
                    name: {"path": path, "sha256": hash_file(Path(path))}
                    for name, path in system.files
                },
            }
            for system in systems
        ],
        "quarantined": list(quarantined),
        "versions": {name: version(name) for name in _VERSIONS},
        "host": platform.node(),
    }


def heading_of(facts: dict[str, Any], item: MeasureItem) -> list[str]:
    """Paragraphs on what was measured and how."""
    crop, size = facts["geometry"]["crop"], facts["geometry"]["size"]
    shape = f"centre crop {size} × {size}" if crop == "centre" else f"whole, short side {size}"
    lines = [
        f"{facts['photos']} photos of {facts['location']}, {shape} pixels, made gray by their true L; "
        f"networks in {facts['precision']}. Photos: SHA-256 {facts['photos_digest'][:12]} of theirs.",
        how_to_read(),
    ]
    for system in facts["systems"]:
        files = ", ".join(f"{n} {f['sha256'][:12]}" for n, f in system["files"].items())
        merge = f", {system['merge']}" if system["merge"] else ""
        lines.append(f"{system['name']}: {system['what']}{merge} ({files})")
    if item.lpips:
        lines.append(f"LPIPS: {describe_lpips(item.lpips)}")
    if item.inception:
        lines.append(
            f"FID: {describe_inception(Path(item.inception))}; too high with fewer photos than "
            "features: compare within a table only."
        )
    return lines
