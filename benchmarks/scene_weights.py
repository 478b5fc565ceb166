"""A scene network with its posterior, codebook and prior: from a training's state, to a weights file.

    python benchmarks/scene_weights.py PHOTOS MORE STATE/state.pt OUT.safetensors [--photos N] [--experts FOLDER]

The moving average's weights without the optimizer. N training photos (the sampler's mixture) give their
palettes; k-means of these is the codebook, and the prior learns which entry a gray photo's is; N of 0
leaves both out. FOLDER gets CATEGORY.safetensors and the file of what they share, as `[experts]` of a
config, benchmarks/inference.py and benchmarks/quality.py take them.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from photo_pool import by_category, random_lab, read_pool, source_weights
from torch import Tensor

from colorization.categories import CATEGORY_NAMES
from colorization.compute import place
from colorization.networks.palettes import (
    CODEBOOK_SIZE,
    PalettePosterior,
    PalettePrior,
    cluster_palettes,
    nearest_entry,
    pooled_features,
)
from colorization.networks.unet_scene import SceneColorizer
from colorization.training.feeding import to_tensors
from storage.records.checkpoints import (
    Checkpoint,
    load_checkpoint,
    save_checkpoint,
    save_checkpoints,
)

NETWORK = "unet-scene"
_SIDE, _BATCH, _HELD_OUT = 224, 16, 0.1
_PRIOR_EPOCHS, _PRIOR_BATCH, _PRIOR_RATE = 40, 64, 1e-3


@dataclass(slots=True)
class Scene:
    """All that colours a photo by a palette."""

    network: SceneColorizer
    posterior: PalettePosterior
    codebook: Tensor | None = None
    """float32 (Q, P)."""
    prior: PalettePrior | None = None
    photos: int = 0
    """Seen in training."""


def load_scene(path: Path) -> Scene:
    """From a state.pt or from what `main` wrote, in eval mode."""
    if path.suffix == ".pt":
        state = torch.load(path, weights_only=True)
        return _scene(state["average"], {"photos": state["course"][1]})
    checkpoint = load_checkpoint(path)
    tensors = {key: torch.from_numpy(value) for key, value in checkpoint.tensors.items()}
    return _scene(tensors, checkpoint.metadata)


def _scene(state: Mapping[str, Tensor], metadata: Mapping[str, Any]) -> Scene:
    scene = Scene(SceneColorizer(num_heads=len(CATEGORY_NAMES)), PalettePosterior())
    scene.network.load_state_dict(_part(state, "network."))
    scene.posterior.load_state_dict(_part(state, "posterior."))
    if "codebook" in state:
        scene.codebook = state["codebook"]
        scene.prior = PalettePrior(len(CATEGORY_NAMES), len(scene.codebook))
        scene.prior.load_state_dict(_part(state, "prior."))
        scene.prior.eval()
    scene.network.eval()
    scene.posterior.eval()
    scene.photos = metadata.get("photos", 0)
    return scene


def _part(state: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {k.removeprefix(prefix): v for k, v in state.items() if k.startswith(prefix)}


def save_scene(scene: Scene, path: Path, metadata: Mapping[str, Any]) -> None:
    """Write it in 16 bits."""
    parts = {"network": scene.network, "posterior": scene.posterior, "prior": scene.prior}
    state = {
        f"{name}.{key}": value.numpy()
        for name, part in parts.items()
        if part is not None
        for key, value in part.state_dict().items()
    }
    if scene.codebook is not None:
        state["codebook"] = scene.codebook.numpy()
    save_checkpoint(path, state, {"photos": scene.photos, **metadata}, half=True)


def save_experts(scene: Scene, folder: Path) -> None:
    """Write each head as a network of its own; what they share lies in one file."""
    folder.mkdir(parents=True, exist_ok=True)
    checkpoints = {}
    for number, category in enumerate(CATEGORY_NAMES):
        state = scene.network.one_head(number).state_dict()
        arrays = {key: value.numpy() for key, value in state.items()}
        metadata = {"network": NETWORK, "category": category, "photos": scene.photos}
        checkpoints[f"{category}.safetensors"] = Checkpoint(arrays, metadata)
    save_checkpoints(folder, checkpoints, shared="shared.safetensors", half=True)


@dataclass(frozen=True, slots=True)
class Looked:
    """What the encoder and the posterior say of training photos."""

    pooled: Tensor
    """float32 (N, 768)."""
    palettes: Tensor
    """float32 (N, P)."""
    heads: Tensor
    """int64 (N,)."""


@torch.inference_mode()
def look(scene: Scene, photos: Path, more: Path, count: int, seed: int = 1) -> Looked:
    """Training photos, as many of each category, weighed as in training."""
    network, posterior = place(scene.network), place(scene.posterior)
    rng = np.random.default_rng(seed)
    of = by_category(read_pool(photos, more), "train")
    pooled, palettes, heads = [], [], []
    for head, name in enumerate(CATEGORY_NAMES):
        weights = source_weights(of[name])
        chosen = rng.choice(len(of[name]), count // len(CATEGORY_NAMES), p=weights)
        for start in range(0, len(chosen), _BATCH):
            rows = chosen[start : start + _BATCH]
            stored = np.stack([random_lab(of[name][i].path, _SIDE, rng) for i in rows])
            L_norm, ab = to_tensors(torch.from_numpy(stored))
            features = network.encoder(L_norm)
            pooled.append(pooled_features(features))
            palettes.append(posterior(features, ab))
            heads.append(torch.full((len(rows),), head))
    return Looked(torch.cat(pooled).clone(), torch.cat(palettes).clone(), torch.cat(heads).clone())


def fit(scene: Scene, looked: Looked, seed: int = 0) -> str:
    """Give a scene its codebook and prior. Returns what the prior reaches on photos held out."""
    torch.manual_seed(seed)
    scene.codebook = cluster_palettes(looked.palettes, CODEBOOK_SIZE, seed=seed)
    target = nearest_entry(looked.palettes, scene.codebook)
    order = torch.randperm(len(target))
    held = int(len(order) * _HELD_OUT)
    prior, words, best, kept = PalettePrior(len(CATEGORY_NAMES)), "", float("inf"), {}
    optimizer = torch.optim.AdamW(prior.parameters(), lr=_PRIOR_RATE, weight_decay=0.05)
    for epoch in range(_PRIOR_EPOCHS):
        prior.train()
        shuffled = order[held:][torch.randperm(len(order) - held)]
        for rows in shuffled.split(_PRIOR_BATCH):
            loss = F.cross_entropy(prior(looked.pooled[rows], looked.heads[rows]), target[rows])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        entropy, first, among = judge(prior, looked, target, order[:held])
        if entropy < best:
            best = entropy
            kept = {key: value.clone() for key, value in prior.state_dict().items()}
            words = f"epoch {epoch + 1}: cross-entropy {entropy:.2f}, first {first:.0%}, of 5 {among:.0%}"
    prior.load_state_dict(kept)
    scene.prior = prior.eval()
    return words


@torch.no_grad()
def judge(
    prior: PalettePrior, looked: Looked, target: Tensor, rows: Tensor
) -> tuple[float, float, float]:
    """Cross-entropy, how often the first entry is right, and one of the first five."""
    prior.eval()
    logits = prior(looked.pooled[rows], looked.heads[rows])
    right = logits.topk(5, dim=1).indices == target[rows][:, None]
    entropy = float(F.cross_entropy(logits, target[rows]))
    return entropy, float(right[:, 0].float().mean()), float(right.any(dim=1).float().mean())


def main() -> None:
    """Fit and write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("photos_folder", type=Path, metavar="PHOTOS")
    parser.add_argument("more", type=Path)
    parser.add_argument("state", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--photos", type=int, default=8000)
    parser.add_argument("--experts", type=Path, metavar="FOLDER")
    parser.add_argument("--threads", type=int, default=2)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    scene = load_scene(arguments.state)
    if arguments.photos:
        looked = look(scene, arguments.photos_folder, arguments.more, arguments.photos)
        print(f"{scene.photos} photos seen; prior: {fit(scene, looked)}")
    save_scene(scene, arguments.out, {"network": NETWORK, "categories": CATEGORY_NAMES})
    if arguments.experts:
        save_experts(scene, arguments.experts)
    print(f"{arguments.out}: {arguments.out.stat().st_size / 1e6:.1f} MB")


if __name__ == "__main__":
    main()
