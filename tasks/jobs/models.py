"""The experts and the segmenter of an archive, kept loaded in the Dask worker's process."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

import torch

from chromaflow.library.networks import load_colorizer, load_weights
from colorization.compute import resolve_device
from colorization.merging.inference import MergedColorizer
from colorization.merging.segmentation import Segmenter, build_segmenter, import_segmenter
from colorization.merging.segmenter_names import is_import_path
from storage.photos.reduced import decode_rgb
from tasks.jobs.stage_items import ModelSpec


@lru_cache(maxsize=1)
def load_merged(spec: ModelSpec) -> MergedColorizer:
    """The experts and segmenter of a spec; a worker loads them once and keeps them."""
    torch.set_num_threads(spec.num_threads)
    colorizer = MergedColorizer(
        {category: load_colorizer(Path(path))[0] for category, path in spec.experts},
        load_segmenter(spec),
        categories=spec.categories,
        merge=spec.merge,
        uncertainty=spec.uncertainty,
        palette=spec.palette,
        variants=spec.variants,
        short_side=spec.short_side,
        device=resolve_device(spec.device),
        runtime=spec.runtime,
    )
    if spec.palette_from:
        reference = Path(spec.palette_from).read_bytes()
        colorizer.palette = colorizer.palette_of(decode_rgb(reference, short_side=spec.short_side))
    return colorizer


def load_segmenter(spec: ModelSpec) -> Segmenter:
    """The segmenter of a spec: from safetensors, torchvision's .pth, or somebody's own."""
    weights = Path(spec.segmenter_weights) if spec.segmenter_weights else None
    if is_import_path(spec.segmenter):
        return import_segmenter(spec.segmenter, weights, spec.categories)
    assert weights is not None
    state, _ = load_weights(weights)
    return build_segmenter(spec.segmenter, state, dict(spec.classes), spec.categories)
