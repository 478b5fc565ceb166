"""A colour photo made gray, and what every system makes of it."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import torch

from colorization.colour.full_size import full_size_strips
from colorization.colour.lab import Float, rgb_to_lab
from colorization.merging.prediction import Prediction
from colorization.metrics.baselines import baseline_colours
from colorization.metrics.lpips import LPIPS
from colorization.metrics.measures import Truth
from colorization.training.augmentation import centre_crop, crop_and_flip
from storage.errors import PhotoError
from storage.photos.photo import inspect
from storage.photos.reduced import decode_rgb
from tasks.jobs.evaluation.items import MeasureItem, SystemSpec
from tasks.jobs.evaluation.networks import load_systems
from tasks.jobs.items import PhotoItem, read_unchanged

_MAX_MEGAPIXELS = 100.0
_LEAST_SIDE = 32


@dataclass(frozen=True, slots=True)
class Coloured:
    """What one system makes of a photo."""

    ab: Float
    """float32 (2, H, W), Lab units."""
    prediction: Prediction | None = None
    """Of a merged system."""
    seconds: float = 0.0
    """Of the networks, as if the system ran alone; 0 for baselines."""

    @property
    def mixture(self) -> float:
        """Share of the photo that the strongest expert leaves to the others, 0..1."""
        return 1 - max(self.prediction.shares.values()) if self.prediction else 0.0

    def single(self, truth: Truth) -> Float:
        """The colours of the strongest expert everywhere, of a merged system."""
        assert self.prediction is not None
        return at_size(self.prediction.single, truth)


def prepare(item: MeasureItem) -> None:
    """Give torch the item's threads and OpenCV one."""
    torch.set_num_threads(max(1, item.num_threads))
    cv2.setNumThreads(1)


def read_truth(item: PhotoItem, photo: Mapping[str, Any], lpips: LPIPS | None = None) -> Truth:
    """A photo's true colours. Raises PhotoError."""
    lab = decode_lab(read_unchanged(item, photo), item.config)
    return Truth(lab[:1], lab[1:], lpips)


def decode_lab(content: bytes, config: Mapping[str, Any]) -> Float:
    """Lab at the size of the evaluation, float32 (3, H, W). config: size, crop. Raises PhotoError."""
    header = inspect(content, max_megapixels=_MAX_MEGAPIXELS)
    if header.num_pages > 1 or header.animated:
        code, what = ("ANIMATED", "frames") if header.animated else ("MULTI_PAGE", "pages")
        raise PhotoError(code, f"expected one picture to compare with, got several {what}")
    if min(header.width, header.height) < _LEAST_SIDE:
        raise PhotoError(
            "TOO_SMALL",
            f"expected a short side of {_LEAST_SIDE} px or more, got {header.width}×{header.height}",
        )
    rgb = decode_rgb(content, short_side=config["size"], header=header)
    if config["crop"] == "centre":
        height, width = rgb.shape[:2]
        rgb = np.ascontiguousarray(crop_and_flip(rgb, centre_crop(height, width, config["size"])))
    return rgb_to_lab(rgb)


def colour_photo(item: MeasureItem, category: str, truth: Truth) -> dict[str, Coloured]:
    """What each colouring but the truth makes of a photo, by name, the baselines first."""
    constant = np.array(dict(item.constants)[category], np.float32)
    coloured = {name: Coloured(ab) for name, ab in baseline_colours(truth.ab, constant).items()}
    for spec in item.systems:
        coloured[spec.name] = _colour(item.systems, spec, category, truth)
    return coloured


def _colour(
    systems: tuple[SystemSpec, ...], spec: SystemSpec, category: str, truth: Truth
) -> Coloured:
    loaded = load_systems(systems)
    colorizer = loaded.colorizer(spec, category)
    saved, started = loaded.saved_seconds, time.perf_counter()
    prediction = colorizer.predict(truth.L[0])
    seconds = time.perf_counter() - started + loaded.saved_seconds - saved
    ab = at_size(prediction.ab, truth)
    return Coloured(ab, prediction if spec.is_merged else None, seconds)


def at_size(ab_12hw: torch.Tensor, truth: Truth) -> Float:
    """ab at the photo's size, float32 (2, H, W): it differs for photos longer than 4:1 only."""
    if ab_12hw.shape[-2:] == truth.L.shape[-2:]:
        same: Float = ab_12hw[0].float().cpu().numpy()
        return same
    parts = [strip for _, strip in full_size_strips(ab_12hw, truth.L.shape[-2:])]
    return np.concatenate(parts, axis=1)
