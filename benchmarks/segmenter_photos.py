"""What starter_segmenter.py learns from: photos of the pool as a network that sees colour labels them, and
VOC photos with masks.

The teacher looks at a photo twice: as it is, and mirrored and enlarged. What it says is held against the
category that the photo was filed under, brought to the edges of L and made surer.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from photo_pool import PoolPhoto, read_rgb, resized, source_weights
from PIL import Image

from colorization.categories import CATEGORY_NAMES, PAPER, REST
from colorization.colour.lab import L_MAX, rgb_to_L
from colorization.compute import place
from colorization.merging.merge import guided_filter
from colorization.merging.sizes import network_size
from storage.records.checkpoints import load_checkpoint

SIDE, TAUGHT_SIDE, IGNORE_INDEX = 256, 128, 255
"""Of photos, and of what is taught, pixels; VOC's mark for pixels that no class owns."""
OWNER = PAPER.owners()
TEACHER_FILE = "deeplabv3_mnv2_voc_fp16.safetensors"
LOOKS = ((1.0, False), (1.5, True))
"""By how much the teacher's photo is enlarged, and whether it is mirrored."""
NOT_PEOPLE = ("nikhildutta333/Monkey-Species-Classification",)
"""Sources in which whom the teacher calls a person is none."""
LEAST, MOST_RAISE = 0.05, 4.0
"""A photo's own category has this share of it at least; its log-odds are raised so far at most."""
SURER, GUIDE_RADIUS, GUIDE_EPSILON = 2.0, 4, 1e-3
"""Power of the taught weights; of the guided filter, pixels and squared L of 0..1."""

Voc = list[tuple[torch.Tensor, torch.Tensor]]
"""L float32 (1, H, W), 0..100, short side 256, and category index uint8 (h, w) of any size."""


def teacher_state(shared: Path) -> dict[str, torch.Tensor]:
    """The teacher's weights."""
    tensors = load_checkpoint(shared / "weights" / TEACHER_FILE).tensors
    return {key: torch.from_numpy(value).float() for key, value in tensors.items()}


def load_teacher(shared: Path) -> Any:
    """The DeepLab module of the research data, with its weights."""
    path = shared / "weights" / "deeplab_mnv2.py"
    spec = importlib.util.spec_from_file_location("deeplab_mnv2", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    teacher = module.DeepLabMNV2()
    teacher.load_state_dict(teacher_state(shared))
    return place(teacher.eval(), "cpu")


@torch.inference_mode()
def teach(teacher: Any, rgb: NDArray[np.uint8]) -> torch.Tensor:
    """Category weights that the teacher sees. rgb: uint8 (N, S, S, 3). Returns float32 (N, K, S, S)."""
    x = torch.from_numpy(rgb).permute(0, 3, 1, 2).float() / 127.5 - 1
    seen = torch.zeros(len(x), len(CATEGORY_NAMES), *x.shape[-2:])
    for scale, mirrored in LOOKS:
        side = round(scale * SIDE) + 1
        view = F.interpolate(
            x.flip(-1) if mirrored else x, (side, side), mode="bilinear", align_corners=True
        )
        with torch.autocast("cpu", dtype=torch.bfloat16):
            logits = teacher(view.contiguous(memory_format=torch.channels_last))[..., ::4, ::4]
        classes = logits.float().softmax(1)
        weight = classes.new_zeros(len(x), len(CATEGORY_NAMES), *classes.shape[-2:])
        weight.index_add_(1, torch.tensor(OWNER), classes)
        weight = F.interpolate(weight, x.shape[-2:], mode="bilinear", align_corners=True)
        seen += (weight.flip(-1) if mirrored else weight) / len(LOOKS)
    return seen


def correct(taught: torch.Tensor, category: str, *, people: bool = True) -> torch.Tensor:
    """Teacher's weights (N, K, h, w) held against the category of the photos.

    What it calls by another category is their own; people, unless they are said to be none, and the
    rest stay. Where it sees too little of a photo's own category, the log-odds of that are raised
    everywhere until it has LEAST of the photo. A photo for which that is not enough is all zeros.
    """
    own, rest = CATEGORY_NAMES.index(category), CATEGORY_NAMES.index(REST)
    if own == rest:
        return taught
    kept = {own, rest} | ({CATEGORY_NAMES.index("people")} if people else set())
    corrected = taught.clone()
    for k in set(range(len(CATEGORY_NAMES))) - kept:
        corrected[:, own] += corrected[:, k]
        corrected[:, k] = 0
    for photo in corrected:
        if photo[own].mean() >= LEAST:
            continue
        raises = torch.linspace(0, MOST_RAISE, 9).exp()[:, None, None]
        shares = raises * photo[own] / (1 + (raises - 1) * photo[own])
        enough = (shares.mean(dim=(1, 2)) >= LEAST).nonzero()
        if len(enough):
            photo[own] *= raises[enough[0, 0], 0, 0]
            photo /= photo.sum(dim=0, keepdim=True)
        else:
            photo.zero_()
    return corrected


def sharpen(weight: torch.Tensor, L_N1HW: torch.Tensor) -> torch.Tensor:
    """Weights (N, K, H, W) along the edges of L, 0..100, and surer; zeros stay zeros."""
    known = (weight.sum(dim=1, keepdim=True) > 0).float()
    guided = guided_filter(L_N1HW / L_MAX, weight, GUIDE_RADIUS, GUIDE_EPSILON)
    surer = guided.clamp(min=1e-4) ** SURER
    return known * surer / surer.sum(dim=1, keepdim=True)


def draw(photos: Sequence[PoolPhoto], number: int, rng: np.random.Generator) -> list[PoolPhoto]:
    """So many of one category's photos, no one twice, sources weighed as `source_weights` does."""
    number = min(number, len(photos))
    picked = rng.choice(len(photos), number, replace=False, p=source_weights(photos))
    return [photos[i] for i in picked]


def taught_photos(teacher: Any, photos: Sequence[PoolPhoto], batch: int = 8) -> list[torch.Tensor]:
    """L uint8 (N, S, S), 0..255, of the photos' centres, and taught weights uint8 (N, K, s, s)."""
    lightness, weights = [], []
    for start in range(0, len(photos), batch):
        some = photos[start : start + batch]
        rgb = np.stack([centre(read_rgb(photo.path)) for photo in some])
        L = torch.from_numpy(np.stack([rgb_to_L(x) for x in rgb]))[:, None]
        seen = teach(teacher, rgb)
        told = [
            correct(seen[i : i + 1], photo.category, people=photo.source not in NOT_PEOPLE)
            for i, photo in enumerate(some)
        ]
        sharp = F.interpolate(sharpen(torch.cat(told), L), (TAUGHT_SIDE,) * 2, mode="area")
        lightness.append((L[:, 0] * (255 / L_MAX)).round().byte())
        weights.append((255 * sharp).round().byte())
    return [torch.cat(lightness), torch.cat(weights)]


def centre(rgb: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """uint8 (S, S, 3): the middle of a photo whose short side is S."""
    rgb = resized(rgb, SIDE)
    top, left = ((length - SIDE) // 2 for length in rgb.shape[:2])
    return np.ascontiguousarray(rgb[top : top + SIDE, left : left + SIDE])


def load_voc(shared: Path) -> Voc:
    """VOC photos as gray L at network size, with their masks at their own size."""
    found = []
    for path in sorted((shared / "photos_seg" / "masks").glob("*.png")):
        photo = Image.open(shared / "photos_seg" / "images" / f"{path.stem}.jpg").convert("RGB")
        mask = np.asarray(Image.open(path))
        owner = np.where(mask == IGNORE_INDEX, IGNORE_INDEX, np.array(OWNER)[np.minimum(mask, 20)])
        height, width = network_size(photo.height, photo.width, SIDE)
        L = rgb_to_L(np.asarray(photo.resize((width, height), Image.Resampling.BOX)))
        found.append((torch.from_numpy(L)[None], torch.from_numpy(owner.astype(np.uint8))))
    return found


def cached(
    path: Path | None, teacher: Any, photos: Sequence[PoolPhoto], number: int, seed: int
) -> list[torch.Tensor]:
    """`taught_photos` of so many photos; those that path holds, where there is one already."""
    if path and path.exists():
        with np.load(path) as arrays:
            return [torch.from_numpy(arrays[name]) for name in ("lightness", "weights")]
    found = taught_photos(teacher, draw(photos, number, np.random.default_rng(seed)))
    if path:
        path.parent.mkdir(parents=True, exist_ok=True)
        np.savez(path, lightness=found[0].numpy(), weights=found[1].numpy())
    return found
