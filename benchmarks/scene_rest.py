"""Teach the head of the rest what lies around people, birds and animals, once a scene network is trained.

    python benchmarks/scene_rest.py PHOTOS MORE SCENE [--seconds 420]

SCENE: the folder that benchmarks/scene_weights.py made; its files are written anew. In joint training the head
of places sees places only, but in a merge it owns all that is no person, bird or animal. Its FiLM and last
convolution alone learn on, half of the photos places, half the others', whose pixels count as far as the
starter segmenter gives them to places; encoder and trunk, which all heads share, stay. Huber with and
without the true palette, AdamW, 1e-3 falling to 0 by a cosine over the time given. The loss of the
first and last hundred steps is printed last.
"""

from __future__ import annotations

import argparse
import math
import time
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from photo_pool import by_category, random_lab, read_pool, source_weights
from scene_weights import load_scene, save_scene
from torch import Tensor

from chromaflow.library.networks import load_weights
from colorization.categories import CATEGORY_NAMES, REST
from colorization.colour.lab import L_MAX, normalize_L
from colorization.compute import autocast, place, resolve_precision
from colorization.merging.segmentation import build_segmenter
from colorization.networks.palettes import code_of
from colorization.training.feeding import to_tensors
from colorization.training.recipe_fields import Objective
from tasks.weights.models import require, segmenter_file

BATCH = {"people": 3, "birds": 2, "animals": 3, "places": 8}
_RATE, _CROP, _STRIDE = 1e-3, 192, 4


def main() -> None:
    """Learn and write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("photos_folder", type=Path, metavar="PHOTOS")
    parser.add_argument("more", type=Path)
    parser.add_argument("scene", type=Path)
    parser.add_argument("--seconds", type=float, default=420)
    parser.add_argument("--threads", type=int, default=2)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    network, known = load_scene(arguments.scene / "scene.safetensors")
    segmenter = build_segmenter("starter", load_weights(require(segmenter_file("starter")))[0])
    assert isinstance(segmenter, torch.nn.Module)
    place(segmenter, "cpu")
    photos = by_category(read_pool(arguments.photos_folder, arguments.more), "train")
    weights = {name: source_weights(of) for name, of in photos.items()}
    rest, objective = CATEGORY_NAMES.index(REST), Objective()
    gain = network.palettes.gain.clone()
    network.palettes.gain.fill_(1)
    network.requires_grad_(False)
    learnt = [p.requires_grad_() for n, p in network.named_parameters() if ".film." in n]
    learnt += [p.requires_grad_() for p in network.head.parameters()]
    optimizer = torch.optim.AdamW(learnt, lr=_RATE, weight_decay=0.0)
    own = torch.tensor([name == REST for name in CATEGORY_NAMES for _ in range(BATCH[name])])
    heads = torch.full((2 * len(own),), rest)
    losses: list[float] = []
    started = time.monotonic()
    while (way := (time.monotonic() - started) / arguments.seconds) < 1:
        rng = np.random.default_rng([3, len(losses)])
        chosen = [
            photos[name][i].path
            for name in CATEGORY_NAMES
            for i in rng.choice(len(photos[name]), BATCH[name], p=weights[name])
        ]
        stored = torch.from_numpy(np.stack([random_lab(path, _CROP, rng) for path in chosen]))
        L = stored[:, :1].float() * (L_MAX / 255)
        _, ab = to_tensors(stored)
        with autocast(resolve_precision("auto")):
            with torch.no_grad():
                features = network.encoder(
                    normalize_L(L).contiguous(memory_format=torch.channels_last)
                )
                palette = network.palettes.posterior(features, ab)
                share = segmenter(L)[:, rest : rest + 1].float()
            share[own] = 1
            noise = objective.palette_noise * torch.randn(palette.shape)
            code = torch.cat([code_of(None, len(ab)), code_of(palette + noise, len(ab))])
            twice = [features[0], *(torch.cat([f, f]) for f in features[1:])]
            mean, known_ab = network.decode_quarter(twice, code, heads).float().chunk(2)
        truth, share = F.avg_pool2d(ab, _STRIDE), F.avg_pool2d(share, _STRIDE)
        beta = objective.huber_beta
        loss = _weighed(mean, truth, share, beta)
        loss = loss + objective.known * _weighed(known_ab, truth, share, beta)
        for group in optimizer.param_groups:
            group["lr"] = _RATE * 0.5 * (1 + math.cos(math.pi * way))
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    network.palettes.gain.copy_(gain)
    known = {key: value for key, value in known.items() if key != "version"}
    seen = len(losses) * len(own)
    save_scene(network, arguments.scene, known | {"rest_photos_seen": seen})
    print(f"{seen} photos: {np.mean(losses[:100]):.3f} to {np.mean(losses[-100:]):.3f}")


def _weighed(ab: Tensor, truth: Tensor, share: Tensor, beta: float) -> Tensor:
    """Huber, averaged over what counts."""
    each = F.huber_loss(ab, truth, reduction="none", delta=beta)
    return (each * share).sum() / (2 * share.sum()).clamp(min=1)


if __name__ == "__main__":
    main()
