"""What is asked of palettes, tried before the first photo: a reference in colour, experts that follow."""

from __future__ import annotations

from pathlib import Path

from colorization.networks import PALETTES, networks_that
from colorization.networks.palette_choice import MEAN
from storage.errors import PhotoError, UsageError
from storage.records.checkpoints import read_provenance
from tasks.config.model import Workflow
from tasks.weights.models import expert_files

_SIDE = 256
_LEAST_CHROMA = 3.0
"""Of the mean over a reference, Lab units: a gray photo's after JPEG is less."""


def check_palette_photo(path: Path) -> None:
    """Raise UsageError where a reference is no photo, or none in colour."""
    import numpy as np

    from colorization.colour.lab import rgb_to_lab
    from storage.photos.reduced import decode_rgb

    if not path.is_file():
        raise UsageError(f"Expected palette_from to be a colour photo, found no file {path}.")
    try:
        lab = rgb_to_lab(decode_rgb(path.read_bytes(), short_side=_SIDE))
    except (OSError, PhotoError) as error:
        raise UsageError(
            f"Expected palette_from to be a colour photo, got {path}: {error}."
        ) from error
    chroma = float(np.hypot(lab[1], lab[2]).mean())
    if chroma < _LEAST_CHROMA:
        raise UsageError(
            f"Expected palette_from to be a photo in colour, got {path}, which is gray (mean chroma "
            f"{chroma:.1f}, {_LEAST_CHROMA:g} or more is asked). Name another one."
        )


def check_palettes(workflow: Workflow) -> None:
    """Raise UsageError where palettes are asked of experts of which none follows any."""
    config = workflow.colorize
    asked = {
        "palette": config.palette != MEAN,
        "palette_from": config.palette_from,
        "series": config.series,
        "variants": config.variants,
    }
    names = [name for name, value in asked.items() if value]
    if not names:
        return
    files = expert_files(workflow.datasets, workflow.experts, workflow.categories).values()
    networks = {str(read_provenance(model.path).get("network")) for model in files}
    networks |= {workflow.train.of(name).build_recipe().network for name in workflow.datasets}
    follow = networks_that(PALETTES)
    if not networks & set(follow):
        raise UsageError(
            f"Expected an expert of {', '.join(follow)} with {', '.join(names)}, as others follow no "
            f"palette; got experts of {', '.join(sorted(networks))}. Leave {names[0]} out, or take the "
            "starter's experts."
        )
