"""How colours travel: errors at home and away, by category, beside gray and the shipped experts.

    python benchmarks/travel.py PHOTOS MORE [--candidate FILE] [--photos 150] [--home N] [--out FILE]

PHOTOS: data/photos; home is the product's validation split of it. MORE: what data/more/rebuild.py made;
away are whole sources of a category that no network of ours has learned from (`photo_pool.AWAY`), up to
--photos of each, in an order that hashes decide; of the people only photos of which the starter segmenter
gives them a tenth, as that source's are of fish and horns too. FILE: a state.pt of benchmarks/scenes.py (its
moving average counts) or weights that benchmarks/scene_weights.py wrote.

256² centre crops under the true L, each by its own category's expert alone, means over photos of ab RMSE,
ΔE00 and Hasler and Süsstrunk's colourfulness. With palettes: mean (palette not known), true (the
posterior's, which sees the truth); and with a codebook: likely, best of 3 and of 5 (the least ΔE00).
"""

from __future__ import annotations

import argparse
import hashlib
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from photo_pool import PoolPhoto, by_category, centre_lab, read_pool
from scene_weights import load_scene
from torch import Tensor

from colorization.categories import CATEGORY_NAMES
from colorization.colour.lab import decode_lab
from colorization.compute import autocast, place, resolve_precision
from colorization.merging.segmentation import build_segmenter
from colorization.metrics.scores import colourfulness_of, photo_scores
from colorization.networks.palettes import pooled_features
from colorization.networks.unet_scene import SceneColorizer
from colorization.training.feeding import to_tensors
from tasks.jobs.networks import load_colorizer, load_weights
from tasks.weights.models import require, segmenter_file, starter_file

COLUMNS = ("ab_rmse", "delta_e", "colourfulness")
LEAST_PEOPLE = 0.1
BEST_OF = (3, 5)
Scores = dict[str, dict[str, float]]
"""System → score → value."""
Colouring = Callable[[Tensor, Tensor, int], dict[str, Tensor]]
"""L_norm (1, 1, S, S), true ab and the category's number → ab (1, 2, S, S) by system."""


def main() -> None:
    """Score and print home and away."""
    arguments = parse_arguments()
    torch.set_num_threads(arguments.threads)
    pool = read_pool(arguments.photos_folder, arguments.more)
    people = see_people()
    colourings = build_colourings(arguments.candidate, shipped=not arguments.no_shipped)
    found: dict[str, Any] = {}
    for split, most in (("home", arguments.home), ("away", arguments.photos)):
        for category, photos in by_category(pool, split).items():
            chosen = choose(
                photos, most, people if (split, category) == ("away", "people") else None
            )
            head = CATEGORY_NAMES.index(category)
            scored = [score(photo, head, colourings) for photo in chosen]
            found[f"{split} {category}"] = {"photos": len(chosen), "scores": scored}
            print(f"{split} {category}: {len(chosen)} photos", flush=True)
    if arguments.out:
        arguments.out.write_text(json.dumps(found))
    for split in ("home", "away"):
        print_table(split, found)


def parse_arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("photos_folder", type=Path, metavar="PHOTOS")
    parser.add_argument("more", type=Path)
    parser.add_argument("--candidate", type=Path, metavar="FILE")
    parser.add_argument("--no-shipped", action="store_true", help="gray and candidate only")
    parser.add_argument("--photos", type=int, default=150, help="most of a category, away")
    parser.add_argument("--home", type=int, help="most of a category, at home; else all")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--out", type=Path, help="scores of each photo as JSON")
    return parser.parse_args()


def see_people() -> Callable[[NDArray[np.uint8]], float]:
    """What share of a photo the starter segmenter gives to people. Takes stored Lab."""
    segmenter = build_segmenter("starter", load_weights(require(segmenter_file("starter")))[0])

    @torch.inference_mode()
    def share(stored: NDArray[np.uint8]) -> float:
        L, _ = decode_lab(stored)
        weight = segmenter(torch.from_numpy(L)[None])
        return float(weight[0, CATEGORY_NAMES.index("people")].mean())

    return share


def choose(
    photos: Sequence[PoolPhoto], most: int | None, people: Callable[..., float] | None
) -> list[PoolPhoto]:
    """Up to `most` photos, in the order of the hashes of their names."""

    def key(photo: PoolPhoto) -> str:
        return hashlib.sha256(photo.path.name.encode()).hexdigest()

    chosen: list[PoolPhoto] = []
    for photo in sorted(photos, key=key):
        if most is not None and len(chosen) == most:
            break
        if people is None or people(centre_lab(photo.path)) >= LEAST_PEOPLE:
            chosen.append(photo)
    return chosen


def build_colourings(candidate: Path | None, *, shipped: bool) -> list[Colouring]:
    """Gray, the shipped experts and the candidate."""
    colourings: list[Colouring] = [lambda L, ab, head: {"gray": torch.zeros_like(ab)}, photo_mean]
    if shipped:
        colourings.append(shipped_experts())
    if candidate is not None:
        colourings.append(scene_colours(load_scene(candidate)[0]))
    return colourings


def photo_mean(L_norm: Tensor, ab: Tensor, head: int) -> dict[str, Tensor]:
    """Each photo's own mean ab, which nobody knows of a gray photo."""
    return {"photo mean": ab.mean(dim=(2, 3), keepdim=True).expand_as(ab)}


def shipped_experts() -> Colouring:
    """The starter experts, each alone."""
    experts = [place(load_colorizer(require(starter_file(name)))[0]) for name in CATEGORY_NAMES]

    def colour(L_norm: Tensor, ab: Tensor, head: int) -> dict[str, Tensor]:
        return {"shipped": experts[head](L_norm).float()}

    return colour


def scene_colours(network: SceneColorizer) -> Colouring:
    """The candidate without a palette, with the true one and with those that are likely."""

    def colour(L_norm: Tensor, ab: Tensor, head: int) -> dict[str, Tensor]:
        features = network.encoder(L_norm)
        heads = torch.tensor([head])

        def with_palette(palette: Tensor | None) -> Tensor:
            return network.decode(features, L_norm.shape[-2:], palette, heads).float()

        palettes = network.palettes
        true = with_palette(palettes.posterior(features, ab))
        found = {"mean": with_palette(None), "true palette": true}
        if not palettes.fitted:
            return found
        logits = palettes.prior(pooled_features(features), heads)[0]
        best = logits.argsort(descending=True)[: max(BEST_OF)]
        variants = [with_palette(palettes.codebook[i][None]) for i in best]
        return found | {f"variant {i}": ab for i, ab in enumerate(variants)}

    return colour


@torch.inference_mode()
def score(photo: PoolPhoto, head: int, colourings: Sequence[Colouring]) -> Scores:
    """Scores of one photo by every system."""
    stored = centre_lab(photo.path)
    L, truth = decode_lab(stored)
    L_norm, true_ab = to_tensors(torch.from_numpy(stored)[None])
    found: Scores = {"truth": {"colourfulness": colourfulness_of(L, truth)}}
    with autocast(resolve_precision("auto")):
        for colouring in colourings:
            for name, ab in colouring(L_norm, true_ab, head).items():
                found[name] = photo_scores(L, np.ascontiguousarray(ab[0].numpy()), truth)
    return best_of(found)


def best_of(found: Scores) -> Scores:
    """`likely` and `best of N` in place of the variants."""
    variants = [found.pop(name) for name in list(found) if name.startswith("variant ")]
    if variants:
        found["likely"] = variants[0]
        for count in BEST_OF:
            found[f"best of {count}"] = min(variants[:count], key=lambda s: s["delta_e"])
    return found


def print_table(split: str, found: dict[str, Any]) -> None:
    """ab RMSE / ΔE00 / share of the truth's colourfulness, in Markdown."""
    groups = {c: found[f"{split} {c}"] for c in CATEGORY_NAMES}
    print(f"\n| {split} | " + " | ".join(f"{c} ({g['photos']})" for c, g in groups.items()) + " |")
    print("|---" * (1 + len(groups)) + "|")
    for system in groups[CATEGORY_NAMES[0]]["scores"][0]:
        if system != "truth":
            cells = [cell(group["scores"], system) for group in groups.values()]
            print(f"| {system} | " + " | ".join(cells) + " |")
    true = [mean(g["scores"], "truth", "colourfulness") for g in groups.values()]
    print("| truth's colourfulness | " + " | ".join(f"{value:.1f}" for value in true) + " |")


def cell(scores: Sequence[Scores], system: str) -> str:
    """One system's means over photos."""
    rmse, delta, colourful = (mean(scores, system, column) for column in COLUMNS)
    share = colourful / mean(scores, "truth", "colourfulness")
    return f"{rmse:.2f} / {delta:.2f} / {share:.0%}"


def mean(scores: Sequence[Scores], system: str, column: str) -> float:
    """Over photos."""
    return float(np.mean([of[system][column] for of in scores]))


if __name__ == "__main__":
    main()
