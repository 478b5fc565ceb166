"""Colour photos made gray, coloured by every system, measured and drawn."""

from __future__ import annotations

import io
import time
import warnings
from collections.abc import Mapping
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from colorization.augmentation import centre_crop, crop_and_flip
from colorization.categories import CATEGORY_NAMES, REST
from colorization.compute import resolve_precision
from colorization.full_size import full_size_strips
from colorization.inception import inception_features
from colorization.inference import MergedColorizer, Prediction, single_expert_segmenter
from colorization.lab import Float, lab_to_rgb, rgb_to_lab
from colorization.lpips import LPIPS
from colorization.measures import Truth
from colorization.merge_options import MergeOptions
from colorization.networks.contract import Colorizer
from colorization.toning import COLOUR, tone_of
from storage.errors import DamagedError, PhotoError
from storage.fingerprint import hash_bytes
from storage.ledger import record_file, write_bytes
from storage.manifest import Quarantined
from storage.photos import inspect
from storage.reduced import decode_rgb
from storage.sheets import contact_sheet
from storage.sources import is_companion
from tasks.jobs.evaluation_items import (
    BASELINES,
    SEGMENTATION,
    STRONGEST,
    TRUTH,
    DrawItem,
    Figure,
    LookItem,
    MeasureItem,
    SystemSpec,
)
from tasks.jobs.items import (
    ItemResult,
    PhotoItem,
    commit_item,
    printable,
    quarantine_into,
    read_photo,
    read_unchanged,
)
from tasks.jobs.models import load_colorizer, load_segmenter, load_weights
from tasks.jobs.sheet import MASK_COLOURS

_STAGE = "evaluate"
_MAX_MEGAPIXELS = 100.0
_LEAST_SIDE = 32
_ALONE = MergeOptions(feather=0)


def look_at_photos(item: LookItem) -> ItemResult:
    """Read and decode every photo once; rows of sha256 and mean ab of those that are in colour."""
    rows: list[dict[str, Any]] = []
    quarantined: list[Quarantined] = []
    for photo in item.photos:
        with quarantine_into(quarantined, photo["name"], _STAGE):
            if printable(photo["path"]) != photo["path"]:
                raise PhotoError("BAD_NAME", "expected a file name in UTF-8")
            content = read_photo(item, photo)
            try:
                lab = _decode(content, item.config)
            except PhotoError as error:
                if error.code in ("NOT_A_PHOTO", "EMPTY") and is_companion(photo["path"], content):
                    continue
                raise
            if tone_of(lab[:, ::2, ::2]) != COLOUR:
                raise PhotoError("NEAR_GRAY", "expected a photo in colour, which has a truth")
            mean = lab[1:].mean((1, 2), dtype=np.float64).tolist()
            rows.append({"name": photo["name"], "sha256": hash_bytes(content), "mean_ab": mean})
    return commit_item(
        item, files=[], num_photos=len(item.photos), quarantined=quarantined, rows=rows
    )


def measure_photos(item: MeasureItem) -> ItemResult:
    """Measure every system on every photo: one row each."""
    _prepare(item)
    lpips = _load_lpips(item.lpips) if item.lpips else None
    rows: list[dict[str, Any]] = []
    quarantined: list[Quarantined] = []
    pictures: dict[str, list[NDArray[np.uint8]]] = {}
    categories: list[str] = []
    for photo in item.photos:
        with quarantine_into(quarantined, photo["name"], _STAGE):
            truth = _truth(item, photo, lpips)
            common = {key: photo[key] for key in ("sha256", "category")}
            common |= {"photo": photo["name"]} | truth.own_colourfulness()
            for name, coloured in _colour(item, photo, truth).items():
                facts = {"system": name, "mixture": coloured.mixture, "seconds": coloured.seconds}
                rows.append(common | facts | truth.measure(coloured.ab))
                if item.inception:
                    pictures.setdefault(name, []).append(truth.colours(coloured.ab))
            if item.inception:
                pictures.setdefault(TRUTH, []).append(truth.colours(truth.ab))
                categories.append(photo["category"])
    files = [_write_features(item, pictures, categories)] if pictures else []
    return commit_item(
        item,
        files=[record_file(Path(item.folder), path) for path in files],
        num_photos=len(item.photos),
        quarantined=quarantined,
        rows=rows,
        precision=resolve_precision("auto"),
    )


def draw_figures(item: DrawItem) -> ItemResult:
    """Draw every figure as PNG: photos in rows, colourings in columns."""
    _prepare(item)
    cells = {photo["name"]: _cells(item, photo) for photo in item.photos}
    for figure in item.figures:
        rows = [
            (caption, [cells[name][_cell_name(figure, column)] for column in figure.columns])
            for name, caption in figure.captions.items()
        ]
        path = Path(item.output, figure.name)
        write_bytes(path, contact_sheet(figure.columns, rows))
    return commit_item(item, files=[], num_photos=len(item.photos), quarantined=[])


def _cells(item: DrawItem, photo: Mapping[str, Any]) -> dict[Any, NDArray[Any]]:
    """Pictures of a photo by the name of the colouring; what a merged system saw by both names."""
    truth = _truth(replace(item, source=photo["source"]), photo, None)
    cells: dict[Any, NDArray[Any]] = {TRUTH: _shown(truth, truth.ab)}
    for name, coloured in _colour(item, photo, truth).items():
        cells[name] = _shown(truth, coloured.ab)
        if coloured.prediction:
            cells[name, SEGMENTATION] = _segmentation(coloured.prediction)
            cells[name, STRONGEST] = _shown(truth, _at_size(coloured.prediction.single, truth))
    return cells


def _cell_name(figure: Figure, column: str) -> Any:
    return (figure.lead, column) if column in (SEGMENTATION, STRONGEST) else column


class _Coloured:
    """What one system makes of a photo."""

    def __init__(self, ab: Float, prediction: Prediction | None = None, seconds: float = 0) -> None:
        self.ab, self.prediction, self.seconds = ab, prediction, seconds
        """ab: float32 (2, H, W). seconds: of the networks; 0 for baselines."""

    @property
    def mixture(self) -> float:
        """Share of the photo that the strongest expert leaves to the others, 0..1."""
        return 1 - max(self.prediction.shares.values()) if self.prediction else 0.0


def _colour(item: MeasureItem, photo: Mapping[str, Any], truth: Truth) -> dict[str, _Coloured]:
    """By name, the baselines first."""
    constant = np.array(dict(item.constants)[photo["category"]], np.float32)
    means = (np.zeros(2, np.float32), constant, truth.ab.mean(axis=(1, 2)))
    coloured = {
        name: _Coloured(np.broadcast_to(mean[:, None, None], truth.ab.shape))
        for name, mean in zip(BASELINES, means, strict=True)
    }
    for spec in item.systems:
        colorizer = _load_system(spec, photo["category"] if spec.merge == "own" else "")
        started = time.perf_counter()
        prediction = colorizer.predict(truth.L[0])
        seconds = time.perf_counter() - started
        ab = _at_size(prediction.ab, truth)
        coloured[spec.name] = _Coloured(ab, prediction if spec.is_merged else None, seconds)
    return coloured


def _at_size(ab_12hw: torch.Tensor, truth: Truth) -> Float:
    """ab at the photo's size, float32 (2, H, W): it differs for photos longer than 4:1 only."""
    if ab_12hw.shape[-2:] == truth.L.shape[-2:]:
        same: Float = ab_12hw[0].float().numpy()
        return same
    parts = [strip for _, strip in full_size_strips(ab_12hw, truth.L.shape[-2:])]
    return np.concatenate(parts, axis=1)


def _shown(truth: Truth, ab: Float) -> NDArray[Any]:
    """As `colorize` would write it: chroma fitted into sRGB."""
    return lab_to_rgb(truth.L[0], np.ascontiguousarray(ab), fit=True)


def _segmentation(prediction: Prediction) -> NDArray[Any]:
    palette = np.array([MASK_COLOURS[name] for name in CATEGORY_NAMES], np.float32)
    weight: NDArray[np.float32] = prediction.weight[0].permute(1, 2, 0).numpy()
    return (weight @ palette).astype(np.uint8)


def _truth(item: PhotoItem, photo: Mapping[str, Any], lpips: LPIPS | None) -> Truth:
    lab = _decode(read_unchanged(item, photo), item.config)
    return Truth(lab[:1], lab[1:], lpips)


def _decode(content: bytes, config: Mapping[str, Any]) -> Float:
    """Lab at the size of the evaluation, float32 (3, H, W). Raises PhotoError."""
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
        rgb = np.ascontiguousarray(crop_and_flip(rgb, centre_crop(*rgb.shape[:2], config["size"])))
    return rgb_to_lab(rgb)


def _prepare(item: MeasureItem) -> None:
    torch.set_num_threads(max(1, item.num_threads))
    cv2.setNumThreads(1)


@lru_cache(maxsize=64)
def _load_system(spec: SystemSpec, category: str) -> MergedColorizer:
    """category: of the one expert to use, where experts are used one by one; else empty."""
    if spec.models is not None and spec.is_merged:
        return MergedColorizer(
            {name: _load_network(path) for name, path in spec.models.experts},
            load_segmenter(spec.models),
            merge=spec.models.merge,
            short_side=spec.size,
        )
    path = dict(spec.models.experts)[category] if spec.models else spec.weights
    return MergedColorizer(
        {REST: _load_network(path)}, single_expert_segmenter, merge=_ALONE, short_side=spec.size
    )


@lru_cache(maxsize=64)
def _load_network(path: str) -> Colorizer:
    """Once, however many systems use it."""
    return load_colorizer(Path(path))[0]


@lru_cache(maxsize=1)
def _load_lpips(files: tuple[str, str]) -> LPIPS:
    features, heads = (load_weights(Path(path))[0] for path in files)
    return LPIPS(features, heads)


@lru_cache(maxsize=1)
def _load_inception(path: str) -> Any:
    """The TorchScript network, fp32 on the CPU. Raises DamagedError."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch.jit.load is deprecated; the package has no other
        try:
            return torch.jit.load(path, map_location="cpu").eval()
        except RuntimeError as error:
            raise DamagedError(
                f"Expected a TorchScript network in {path}, got: {str(error)[:200]}. Install it again."
            ) from error


def _write_features(
    item: MeasureItem, pictures: Mapping[str, list[NDArray[np.uint8]]], categories: list[str]
) -> Path:
    """Inception features, float32 (systems, n, 2048), in the order of `item.colourings`, and the
    photos' categories, as npz."""
    assert item.inception is not None
    inception = _load_inception(item.inception)
    features = np.stack([inception_features(inception, pictures[n]) for n in item.colourings])
    buffer = io.BytesIO()
    np.savez(buffer, features=features, categories=np.array(categories))
    path = Path(item.folder) / "features" / f"{item.name}.npz"
    write_bytes(path, buffer.getvalue())
    return path
