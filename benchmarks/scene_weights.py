"""A scene network with codebook and prior: from a training's state, to weights as the starter's are.

    python benchmarks/scene_weights.py PHOTOS MORE STATE/state.pt OUT [--photos N]

The moving average's weights without the optimizer. N training photos (the sampler's mixture) give their
palettes; k-means of these is the codebook, and the prior learns which entry a gray photo's is. Then the
colours of each head are multiplied, as those of a regression are dull. OUT, a
folder, gets scene.safetensors with all heads, and CATEGORY.safetensors with the file of what they share, as
`[experts]` of a config, benchmarks/inference.py and benchmarks/quality.py take them.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from photo_pool import by_category, random_lab, read_pool, source_weights
from torch import Tensor

from colorization.categories import CATEGORY_NAMES
from colorization.compute import place
from colorization.networks.unet_scene import SceneColorizer
from colorization.training.feeding import to_tensors
from colorization.training.palette_fitting import fit_palettes, look
from storage.records.checkpoints import (
    Checkpoint,
    load_checkpoint,
    save_checkpoint,
    save_checkpoints,
)

NETWORK = "unet-scene"
_SIDE, _BATCH = 224, 16
GAINS, PALETTE_GAINS = [1.0, 1.1, 1.19, 1.0], [1.15, 1.28, 1.17, 1.38]
"""By category, on all colours and further on those that follow a palette. Chosen on 60 validation photos a
category for about 62 % of the truth's colourfulness and 75 % with the likely palette."""


def load_scene(path: Path) -> tuple[SceneColorizer, dict[str, Any]]:
    """All heads and what is known of them, from a state.pt or from what `main` wrote, in eval mode."""
    if path.suffix == ".pt":
        state = torch.load(path, weights_only=True)
        return _scene(state["average"]), {"photos_seen": state["course"][1], "seed": state["seed"]}
    checkpoint = load_checkpoint(path)
    tensors = {key: torch.from_numpy(value) for key, value in checkpoint.tensors.items()}
    return _scene(tensors), checkpoint.metadata


def _scene(state: Mapping[str, Tensor]) -> SceneColorizer:
    network = SceneColorizer(num_heads=len(CATEGORY_NAMES))
    network.load_state_dict(state)
    return place(network.eval())


def training_photos(
    photos: Path, more: Path, count: int, seed: int = 1
) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
    """L_norm, ab and heads of `count` training photos, as many of each category, weighed as in training."""
    rng = np.random.default_rng(seed)
    of = by_category(read_pool(photos, more), "train")
    for head, name in enumerate(CATEGORY_NAMES):
        weights = source_weights(of[name])
        chosen = rng.choice(len(of[name]), count // len(CATEGORY_NAMES), p=weights)
        for start in range(0, len(chosen), _BATCH):
            rows = chosen[start : start + _BATCH]
            stored = np.stack([random_lab(of[name][i].path, _SIDE, rng) for i in rows])
            yield *to_tensors(torch.from_numpy(stored)), torch.full((len(rows),), head)


def save_scene(network: SceneColorizer, folder: Path, metadata: Mapping[str, Any]) -> None:
    """Write all heads in one file, and each as a network of its own; what these share lies in one file."""
    folder.mkdir(parents=True, exist_ok=True)
    state = {key: value.numpy() for key, value in network.state_dict().items()}
    save_checkpoint(folder / "scene.safetensors", state, metadata, half=True)
    checkpoints = {}
    for number, category in enumerate(CATEGORY_NAMES):
        own = network.one_head(number).state_dict()
        arrays = {key: value.numpy() for key, value in own.items()}
        checkpoints[f"{category}.safetensors"] = Checkpoint(
            arrays, {**metadata, "category": category}
        )
    save_checkpoints(folder, checkpoints, shared="shared.safetensors", half=True)


def main() -> None:
    """Fit and write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("photos_folder", type=Path, metavar="PHOTOS")
    parser.add_argument("more", type=Path)
    parser.add_argument("state", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--photos", type=int, default=8000)
    for name, default in (("--gains", GAINS), ("--palette-gains", PALETTE_GAINS)):
        parser.add_argument(name, type=float, nargs=len(CATEGORY_NAMES), default=default)
    parser.add_argument("--threads", type=int, default=2)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    network, known = load_scene(arguments.state)
    pool = arguments.photos_folder, arguments.more
    scores = fit_palettes(network, look(network, training_photos(*pool, arguments.photos)))
    network.liven(torch.tensor(arguments.gains), torch.tensor(arguments.palette_gains))
    metadata = {"kind": "colorizer", "network": NETWORK, **known, "prior": str(scores)}
    metadata |= {"gains": arguments.gains, "palette_gains": arguments.palette_gains}
    save_scene(network, arguments.out, metadata)
    print(json.dumps(metadata))
    size = sum(path.stat().st_size for path in arguments.out.glob("*.safetensors"))
    size -= (arguments.out / "scene.safetensors").stat().st_size
    print(f"{size / 1e6:.1f} MB")


if __name__ == "__main__":
    main()
