"""The merge on photos with masks: soft, hard, every single expert; seams along the masks.

    python benchmarks/merge.py SHARED [--weights FOLDER] [--photos N]
                               [--temperature T] [--floor F] [--feather S] [--threshold W]
    python benchmarks/merge.py SHARED --photos 1   # the smallest

SHARED: the research data folder; its photos_seg are gray copies of the 180 Pascal VOC photos, which no
expert was trained on. FOLDER: a workspace whose train stage is done; without one the starter experts.
The segmenter learned the masks of two thirds of them; the held-out third is shown as well.

Scores are means over photos of ab RMSE and ΔE00 at network size, through `MergedColorizer`. Jump: mean
distance of ab between neighbouring pixels of different categories of the segmenter (the seams of the
hard merge) whose L differs by less than 2; of the truth at the same places. Sides: how far the mean ab of
both sides of a border between two categories, as far as 8 pixels from it, are apart. likely: soft, with
the one palette that suits the photo best. The lines of issues 6 and 21, line 4, are printed last.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass, field
from itertools import combinations
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from quality import expert_files
from scipy.ndimage import maximum_filter

from chromaflow.library.networks import load_colorizer, load_weights
from colorization.categories import CATEGORY_NAMES
from colorization.colour.lab import Float, rgb_to_lab
from colorization.merging.inference import MergedColorizer
from colorization.merging.options import MergeOptions
from colorization.merging.prediction import Prediction
from colorization.merging.segmentation import build_segmenter
from colorization.merging.sizes import network_size
from colorization.metrics.scores import photo_scores
from colorization.networks.palette_choice import PaletteChoice
from tasks.weights.models import require, segmenter_file

SIDE = 256
_FLAT, _MOST_JUMP = 2.0, 1.5
_BAND, _LEAST_SIDE = 8, 64
"""Pixels from a border, and of a side at least."""
_HELD = 3
"""Every third photo's mask was kept from the segmenter (benchmarks/starter_segmenter.py)."""


@dataclass(slots=True)
class Tally:
    """What one way of merging gives, photo by photo."""

    ab_rmse: list[float] = field(default_factory=list)
    delta_e: list[float] = field(default_factory=list)
    jumps: list[NDArray[np.float64]] = field(default_factory=list)
    sides: list[float] = field(default_factory=list)

    def row(self, places: slice = slice(None)) -> tuple[float, float]:
        """Mean ab RMSE and ΔE00 of some photos."""
        return float(np.mean(self.ab_rmse[places])), float(np.mean(self.delta_e[places]))

    @property
    def jump(self) -> float:
        """Mean over all seams."""
        return float(np.concatenate(self.jumps).mean())


def main() -> None:
    """Colour every photo in every way and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("shared", type=Path)
    parser.add_argument("--weights", type=Path, metavar="FOLDER")
    parser.add_argument("--photos", type=int, metavar="N", help="only the first N")
    defaults = MergeOptions()
    for name in ("temperature", "floor", "feather", "threshold"):
        parser.add_argument(f"--{name}", type=float, default=getattr(defaults, name))
    arguments = parser.parse_args()
    chosen = {n: getattr(arguments, n) for n in ("temperature", "floor", "feather", "threshold")}
    experts = {n: load_colorizer(p)[0] for n, p in expert_files(arguments.weights).items()}
    segmenter = build_segmenter("starter", load_weights(require(segmenter_file("starter")))[0])
    soft = MergedColorizer(experts, segmenter, merge=MergeOptions(**chosen))
    likely = MergedColorizer(
        experts, segmenter, merge=MergeOptions(**chosen), palette=PaletteChoice(likely=True)
    )
    hard = MergedColorizer(experts, segmenter, merge=MergeOptions(mode="hard"))
    tallies = {
        name: Tally() for name in ("truth", "gray", *CATEGORY_NAMES, "hard", "soft", "likely")
    }
    paths = sorted((arguments.shared / "photos_seg" / "images").glob("*.jpg"))[: arguments.photos]
    for path in paths:
        lab = read_lab(path)
        L, truth = lab[0], lab[1:]
        hardened = hard.predict(L)
        ways = {"truth": truth, "gray": np.zeros_like(truth)}
        ways |= {name: everywhere(soft, name, L) for name in CATEGORY_NAMES}
        ways |= {
            "hard": ab_of(hardened),
            "soft": ab_of(soft.predict(L)),
            "likely": ab_of(likely.predict(L)),
        }
        seams = find_seams(hardened, L)
        for name, ab in ways.items():
            add(tallies[name], L, ab, truth, seams)
            tallies[name].sides += sides_apart(hardened, ab)
    report(tallies)


def read_lab(path: Path) -> Float:
    """float32 (3, h, w) at network size."""
    photo = Image.open(path).convert("RGB")
    height, width = network_size(photo.height, photo.width, SIDE)
    return rgb_to_lab(np.asarray(photo.resize((width, height), Image.Resampling.BOX)))


def everywhere(colorizer: MergedColorizer, name: str, L: Float) -> Float:
    """ab of one expert at every pixel."""
    from colorization.merging.inference import single_expert_segmenter

    alone = MergedColorizer(
        {"places": colorizer.experts.by_name[name]}, single_expert_segmenter, merge=colorizer.merge
    )
    return ab_of(alone.predict(L))


def ab_of(prediction: Prediction) -> Float:
    """float32 (2, h, w)."""
    ab: Float = prediction.ab[0].numpy()
    return ab


def find_seams(prediction: Prediction, L: Float) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Where neighbours across, and down, are of different categories while L is flat."""
    owner = prediction.weight[0].argmax(0).numpy()
    across = (np.diff(owner, axis=1) != 0) & (np.abs(np.diff(L, axis=1)) < _FLAT)
    down = (np.diff(owner, axis=0) != 0) & (np.abs(np.diff(L, axis=0)) < _FLAT)
    return across, down


def add(
    tally: Tally,
    L: Float,
    ab: Float,
    truth: Float,
    seams: tuple[NDArray[np.bool_], NDArray[np.bool_]],
) -> None:
    """Count one photo."""
    scores = photo_scores(L[None], ab, truth)
    tally.ab_rmse.append(scores["ab_rmse"])
    tally.delta_e.append(scores["delta_e"])
    across, down = seams
    for axis, mask in ((2, across), (1, down)):
        tally.jumps.append(np.linalg.norm(np.diff(ab, axis=axis)[:, mask], axis=0).astype(float))


def sides_apart(prediction: Prediction, ab: Float) -> list[float]:
    """Of each two categories that meet in a photo: how far mean ab on both sides is apart."""
    owner = prediction.weight[0].argmax(0).numpy()
    near = {k: maximum_filter(owner == k, size=2 * _BAND + 1) for k in np.unique(owner)}
    found = []
    for first, second in combinations(near, 2):
        sides = ((owner == first) & near[second], (owner == second) & near[first])
        if min(side.sum() for side in sides) >= _LEAST_SIDE:
            means = [ab[:, side].mean(axis=1) for side in sides]
            found.append(float(np.linalg.norm(means[0] - means[1])))
    return found


def report(tallies: dict[str, Tally]) -> None:
    """The table, and the lines of the issue."""
    num_photos = len(tallies["soft"].ab_rmse)
    print(f"{num_photos} photos; in brackets the third whose masks the segmenter did not learn")
    print(f"{'':<10}{'ab RMSE':>18}{'ΔE00':>18}{'jump':>8}{'sides':>8}")
    for name, tally in tallies.items():
        (rmse, delta_e), (rmse_held, delta_held) = tally.row(), tally.row(slice(None, None, _HELD))
        both = f"{rmse:>9.2f} ({rmse_held:5.2f}) {delta_e:>9.2f} ({delta_held:5.2f})"
        print(f"{name:<10}{both}{tally.jump:>8.2f}{np.mean(tally.sides):>8.2f}")
    soft = tallies["soft"].row()
    others = {name: tallies[name].row() for name in (*CATEGORY_NAMES, "hard")}
    for name, other in others.items():
        print(
            f"soft under {name}: ab RMSE {soft[0] - other[0]:+.3f}, ΔE00 {soft[1] - other[1]:+.3f}"
        )
    ratio = tallies["soft"].jump / tallies["truth"].jump
    print(f"jump to the truth's: {ratio:.2f}, at most {_MOST_JUMP:g} asked")
    apart = {name: float(np.mean(tallies[name].sides)) for name in ("truth", "soft", "likely")}
    print("sides apart: " + ", ".join(f"{name} {value:.2f}" for name, value in apart.items()))
    beaten = sum(soft[i] < other[i] for other in others.values() for i in (0, 1))
    print(f"soft merge is lower in {beaten} of {2 * len(others)} comparisons")


if __name__ == "__main__":
    main()
