"""Train the starter segmenter: python benchmarks/starter_segmenter.py SHARED WORKSPACE OUT.

SHARED: the research data folder (photos_seg masks; the DeepLab teacher in weights/). WORKSPACE: a
workspace whose preprocess stage is done (examples/starter.toml). OUT: folder for segmenter.safetensors and
its card. The teacher sees colour and labels the training photos; the segmenter learns them from
gray, together with two thirds of the VOC masks; the other third gives the IoU printed last.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
import zarr
from PIL import Image

from colorization.categories import CATEGORY_NAMES, class_to_category
from colorization.lab import decode_lab, lab_to_rgb, rgb_to_L
from colorization.segmentation import (
    IGNORE_INDEX,
    StarterSegmenter,
    StarterSegmenterNetwork,
    intersection_over_union,
    train_segmenter,
)
from storage.checkpoints import load_checkpoint, save_checkpoint
from storage.ledger import write_bytes

SIDE, BATCH, SEED = 256, 16, 0
OWNER = np.array(class_to_category())


def load_teacher(shared: Path) -> Any:
    """The DeepLab module of the research data, with its weights."""
    path = shared / "weights" / "deeplab_mnv2.py"
    spec = importlib.util.spec_from_file_location("deeplab_mnv2", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    teacher = module.DeepLabMNV2()
    state = load_checkpoint(shared / "weights" / "deeplabv3_mnv2_voc_fp16.safetensors").tensors
    teacher.load_state_dict({key: torch.from_numpy(value) for key, value in state.items()})
    return teacher.eval()


@torch.inference_mode()
def teach(teacher: Any, stored: np.ndarray) -> np.ndarray:
    """Category weights that the teacher sees in colour. Returns float16 (N, K, 64, 64)."""
    L, ab = decode_lab(stored)
    rgb = np.stack([lab_to_rgb(x[0], c) for x, c in zip(L, ab, strict=True)])
    x = torch.from_numpy(rgb).permute(0, 3, 1, 2).float() / 127.5 - 1
    x = F.interpolate(x, (321, 321), mode="bilinear", align_corners=True)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        classes = teacher(x).float().softmax(1)
    weight = classes.new_zeros(len(x), len(CATEGORY_NAMES), *classes.shape[-2:])
    weight.index_add_(1, torch.from_numpy(OWNER), classes)
    return F.interpolate(weight, (64, 64), mode="area").numpy().astype(np.float16)


def load_masks(shared: Path) -> tuple[np.ndarray, np.ndarray]:
    """VOC photos as gray L and category index. Returns float32 (N, 256, 256), uint8 (N, 256, 256)."""
    lightness, labels = [], []
    for path in sorted((shared / "photos_seg" / "masks").glob("*.png")):
        photo = Image.open(shared / "photos_seg" / "images" / f"{path.stem}.jpg").convert("RGB")
        mask = np.asarray(Image.open(path))
        owner = np.where(mask == IGNORE_INDEX, IGNORE_INDEX, OWNER[np.minimum(mask, 20)])
        lightness.append(rgb_to_L(np.asarray(photo.resize((SIDE, SIDE), Image.Resampling.BOX))))
        label = Image.fromarray(owner.astype(np.uint8))
        labels.append(np.asarray(label.resize((SIDE, SIDE), Image.Resampling.NEAREST)))
    return np.stack(lightness), np.stack(labels)


def batches(
    stored: list[np.ndarray],
    taught: np.ndarray,
    L_voc: np.ndarray,
    y_voc: np.ndarray,
    num_steps: int,
) -> Any:
    """Batches of a quarter VOC masks and three quarters taught photos, mirrored at random."""
    rng = np.random.default_rng(SEED)
    L_taught = np.concatenate(stored)
    for _ in range(num_steps):
        i, j = (
            rng.integers(0, len(L_taught), BATCH * 3 // 4),
            rng.integers(0, len(L_voc), BATCH // 4),
        )
        L = np.concatenate([L_taught[i].astype(np.float32) * (100 / 255), L_voc[j]])
        target = torch.from_numpy(taught[i].astype(np.float32))
        target = F.interpolate(target, (SIDE, SIDE), mode="bilinear")
        one_hot = np.stack([(y_voc[j] == k) for k in range(len(CATEGORY_NAMES))], 1)
        both = torch.cat([target, torch.from_numpy(one_hot.astype(np.float32))])
        x = torch.from_numpy(L)[:, None]
        if rng.random() < 0.5:
            x, both = x.flip(-1), both.flip(-1)
        top, left = rng.integers(0, SIDE - 192 + 1, 2)
        crop = (..., slice(top, top + 192), slice(left, left + 192))
        yield x[crop].contiguous(), both[crop].contiguous()


def main() -> None:
    """Teach, train, save, print the IoU on the held-out third."""
    parser = argparse.ArgumentParser(description=__doc__)
    for name in ("shared", "workspace", "out"):
        parser.add_argument(name, type=Path)
    parser.add_argument("--photos", type=int, default=512, help="taught photos a category")
    parser.add_argument("--steps", type=int, default=900)
    args = parser.parse_args()
    torch.manual_seed(SEED)
    started = time.monotonic()
    teacher, stored, taught = load_teacher(args.shared), [], []
    for category in CATEGORY_NAMES:
        store = args.workspace / "current" / "preprocess" / category / "lab.zarr"
        photos = zarr.open_group(store, mode="r")["train"][: args.photos]
        stored.append(photos[:, 0])
        taught += [teach(teacher, photos[i : i + 8]) for i in range(0, len(photos), 8)]
        print(
            category,
            len(photos),
            f"{time.monotonic() - started:.0f} s",
            file=sys.stderr,
            flush=True,
        )
    L_voc, y_voc = load_masks(args.shared)
    held = np.arange(len(L_voc)) % 3 == 0
    network = StarterSegmenterNetwork()
    backbone = load_checkpoint(
        args.shared / "weights" / "resnet18_imagenet_derived_fp16.safetensors"
    )
    state = {k: torch.from_numpy(v) for k, v in backbone.tensors.items()}
    reduced = {k: v for k, v in state.items() if not k.startswith("layer3.1")}
    network.encoder.load_backbone(reduced)
    data = batches(stored, np.concatenate(taught), L_voc[~held], y_voc[~held], args.steps)
    for step, loss in enumerate(train_segmenter(network, data, num_steps=args.steps)):
        if step % 50 == 0:
            print(
                step, f"{loss:.3f} {time.monotonic() - started:.0f} s", file=sys.stderr, flush=True
            )
    segmenter = StarterSegmenter(network)
    with torch.inference_mode():
        x = torch.from_numpy(L_voc[held])[:, None]
        predicted = torch.cat([segmenter(part).argmax(1) for part in x.split(8)])
    scores = intersection_over_union(predicted, torch.from_numpy(y_voc[held]).long())
    metrics = {f"iou_{n}": round(s, 3) for n, s in zip(CATEGORY_NAMES, scores, strict=True)}
    metadata = {"kind": "segmenter", "seed": SEED, "steps": args.steps, "metrics": metrics}
    arrays = {key: value.numpy() for key, value in network.state_dict().items()}
    save_checkpoint(args.out / "segmenter.safetensors", arrays, metadata, half=True)
    write_bytes(args.out / "segmenter.md", card(args, metrics).encode())
    print(json.dumps(metrics))


def card(args: argparse.Namespace, metrics: dict[str, float]) -> str:
    """The segmenter's card."""
    return f"""# Starter segmenter

Gray photo → weights of people, birds, animals, places. ResNet-18 up to the first block of layer3.

- Data: {args.photos} photos a category of the project's research photos, labelled by DeepLabv3-MobileNetV2
  (VOC, Apache-2.0) in colour; two thirds of 180 Pascal VOC 2012 photos with their masks.
- Encoder start: ImageNet-derived ResNet-18 trunk; its package states no licence.
- Recipe: AdamW 1e-3 (encoder 3e-4), cosine, batch {BATCH}, 192² crops, {args.steps} steps, seed {SEED}.
- Made by: `python benchmarks/starter_segmenter.py SHARED WORKSPACE OUT`.
- Metrics: IoU on the other third of the VOC photos, as gray: {json.dumps(metrics)}.
- Limits: 256² photos of one main subject; birds are rare in the masks, so their IoU rests on few photos.
"""


if __name__ == "__main__":
    main()
