"""The weights that come with the package, as a colorize job is given them."""

from __future__ import annotations

from colorization.categories import CATEGORY_NAMES
from storage.records.fingerprint import hash_file
from tasks.config.model import ColorizeConfig
from tasks.jobs.stage_items import ModelSpec
from tasks.weights.models import require, segmenter_file, starter_file


def starter_models(short_side: int) -> ModelSpec:
    """Four experts and the segmenter on one thread of the CPU. short_side: of the networks, pixels."""
    paths = {category: require(starter_file(category)) for category in CATEGORY_NAMES}
    return ModelSpec(
        experts=tuple((category, str(path)) for category, path in paths.items()),
        segmenter="starter",
        segmenter_weights=str(require(segmenter_file("starter", ""))),
        hashes=tuple((category, hash_file(path)) for category, path in paths.items()),
        classes=(),
        merge=ColorizeConfig().merge_options,
        uncertainty=False,
        short_side=short_side,
        num_threads=1,
        device="cpu",
    )
