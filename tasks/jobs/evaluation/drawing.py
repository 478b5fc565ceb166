"""Figures of an evaluation: photos in rows, colourings in columns, ΔE00 under each."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from colorization.categories import category_colours
from colorization.colour.lab import Float, lab_to_rgb
from colorization.metrics.measures import Truth
from storage.pictures.figures import Panel, figure
from storage.records.ledger import write_bytes
from storage.records.manifest import Quarantined
from tasks.jobs.evaluation.colouring import at_size, colour_photo, prepare, read_truth
from tasks.jobs.evaluation.items import (
    SEGMENTATION,
    STRONGEST,
    TRUTH,
    DrawItem,
    SystemSpec,
    expert_column,
)
from tasks.jobs.evaluation.networks import load_systems
from tasks.jobs.items import ItemResult, commit_item, quarantine_into
from tasks.jobs.sheet import weight_colours


def draw_figure(item: DrawItem) -> ItemResult:
    """Draw a figure as PNG, without photos that cannot be used; none where that is all of them."""
    prepare(item)
    drawn = item.figure
    rows: dict[str, list[Panel]] = {}
    quarantined: list[Quarantined] = []
    for photo in item.photos:
        with quarantine_into(quarantined, photo["name"], "evaluate"):
            rows[photo["name"]] = _row(item, photo)
    named = [
        (heading, [name for name in photos if name in rows]) for heading, photos in drawn.groups
    ]
    groups = [(heading, [rows[name] for name in photos]) for heading, photos in named if photos]
    lead = next((spec.models for spec in item.systems if spec.name == drawn.lead), None)
    shown = lead.categories.names if lead and SEGMENTATION in drawn.columns else ()
    legend = category_colours(shown)
    if groups:
        path = Path(item.output, drawn.name)
        write_bytes(path, figure(drawn.columns, groups, legend=legend, footer=drawn.rule))
    return commit_item(item, files=[], num_photos=len(item.photos), quarantined=quarantined)


def _row(item: DrawItem, photo: Mapping[str, Any]) -> list[Panel]:
    """Pictures of a photo, with ΔE00 under what is a colouring, the least marked."""
    truth = read_truth(replace(item, source=photo["source"]), photo)
    coloured = colour_photo(item, photo["category"], truth)
    ab = {TRUTH: truth.ab} | {name: own.ab for name, own in coloured.items()}
    lead = next((spec for spec in item.systems if spec.name == item.figure.lead), None)
    seen = coloured[lead.name].prediction if lead else None
    if lead and seen:
        ab[STRONGEST] = at_size(seen.single, truth)
    if lead:
        ab |= _experts(item, lead, truth)
    shown = [name for name in item.figure.columns if name in ab and name != TRUTH]
    errors = {name: truth.delta_e(ab[name]) for name in shown}
    panels = []
    for column in item.figure.columns:
        if column == SEGMENTATION:
            if seen is None:
                raise ValueError("Expected a merged system in the lead of a figure of categories.")
            panels.append(Panel(weight_colours(seen.weight[0].cpu().numpy(), seen.shares)))
        elif column == TRUTH:
            panels.append(Panel(_shown(truth, truth.ab), Path(photo["name"]).stem))
        else:
            is_least = errors[column] == min(errors.values())
            panels.append(Panel(_shown(truth, ab[column]), f"{errors[column]:.1f}", is_least))
    return panels


def _experts(item: DrawItem, lead: SystemSpec, truth: Truth) -> dict[str, Float]:
    """The lead's experts one by one, everywhere in the photo, where the figure shows them."""
    wanted = [name for name in lead.networks if expert_column(name) in item.figure.columns]
    loaded = load_systems(item.systems)
    return {
        expert_column(name): at_size(loaded.expert(lead, name).predict(truth.L[0]).ab, truth)
        for name in wanted
    }


def _shown(truth: Truth, ab: Float) -> NDArray[Any]:
    """As `colorize` would write it: chroma fitted into sRGB."""
    return lab_to_rgb(truth.L[0], np.ascontiguousarray(ab), fit=True)
