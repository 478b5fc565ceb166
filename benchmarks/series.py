"""What one palette a folder gives: the spread of mean colours between crops of one photo.

    python benchmarks/series.py PHOTOS [--folders 20] [--crops 8]
    python benchmarks/series.py SHARED/photos --folders 2 --crops 2   # the smallest

PHOTOS: data/photos, or folders people, birds, animals and places of colour photos. From evenly spaced
photos of each category crops are cut (0.5 to 0.8 of the short side, seed 0), written gray, a folder a
photo, and coloured by the real command: each crop with its own likeliest palette, all of a folder with one
(--series folder), and without a palette. Spread: the root of the mean squared distance of the crops' mean ab
from their folder's, averaged over folders; ΔE00: mean over crops, under the true L. Issue 21, line 7, last.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from colorization.categories import CATEGORY_NAMES
from colorization.colour.lab import Float, lab_to_rgb, rgb_to_lab
from colorization.metrics.scores import photo_scores

_COMMAND = (sys.executable, "-P", "-c", "from flows.cli.app import main; main()")
_OPTIONS = {
    "mean": ("--palette", "mean"),
    "likely": ("--palette", "likely"),
    "series": ("--series", "folder"),
}
_LEAST, _MOST = 0.5, 0.8
_FALLS_BY = 0.5


def main() -> None:
    """Cut, colour, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("photos", type=Path)
    parser.add_argument("--folders", type=int, default=20)
    parser.add_argument("--crops", type=int, default=8)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="chromaflow-series-") as work:
        truth = cut(arguments.photos, Path(work) / "gray", arguments.folders, arguments.crops)
        found = {}
        for name, options in _OPTIONS.items():
            out = Path(work) / name
            words = ["colorize", str(Path(work) / "gray"), str(out), *options]
            subprocess.run([*_COMMAND, *words], check=True, capture_output=True)
            found[name] = measure(out, truth)
    print(f"{len(truth)} folders of {arguments.crops} crops")
    for name, (spread, delta_e) in found.items():
        print(f"{name:<8} spread {spread:6.2f}  ΔE00 {delta_e:6.2f}")
    (alone, delta_alone), (together, delta_together) = found["likely"], found["series"]
    falls = 1 - together / alone if alone else 0.0
    print(
        f"spread falls by {falls:.0%}, {_FALLS_BY:.0%} asked; ΔE00 {delta_together - delta_alone:+.2f}"
    )


def cut(photos: Path, folder: Path, num_folders: int, num_crops: int) -> dict[str, list[Float]]:
    """Write gray crops. Returns their true Lab, float32 (3, S, S), by folder."""
    rng = np.random.default_rng(0)
    files = {name: sorted((photos / name).glob("*.*g")) for name in CATEGORY_NAMES}
    names = [name for name in CATEGORY_NAMES if files[name]]
    truth: dict[str, list[Float]] = {}
    for number in range(num_folders):
        category = names[number % len(names)]
        of_category = files[category]
        place = (number // len(names) * len(names) * len(of_category)) // max(1, num_folders)
        rgb = np.asarray(Image.open(of_category[place % len(of_category)]).convert("RGB"))
        where = folder / f"{number:02d}-{category}"
        where.mkdir(parents=True)
        truth[where.name] = []
        for crop in range(num_crops):
            lab = rgb_to_lab(np.ascontiguousarray(_crop(rgb, rng)))
            gray = lab_to_rgb(lab[0], np.zeros_like(lab[1:]))[..., 0].astype(np.uint8)
            Image.fromarray(gray).save(where / f"{crop}.png")
            truth[where.name].append(lab)
    return truth


def _crop(rgb: NDArray[np.uint8], rng: np.random.Generator) -> NDArray[np.uint8]:
    height, width = rgb.shape[:2]
    side = round(min(height, width) * rng.uniform(_LEAST, _MOST))
    top, left = rng.integers(0, height - side + 1), rng.integers(0, width - side + 1)
    return rgb[top : top + side, left : left + side]


def measure(out: Path, truth: dict[str, list[Float]]) -> tuple[float, float]:
    """Spread of mean ab and mean ΔE00."""
    spreads, deltas = [], []
    for folder, crops in truth.items():
        means = []
        for number, lab in enumerate(crops):
            path = out / folder / f"{number}.png.color.png"
            ab = rgb_to_lab(np.asarray(Image.open(path).convert("RGB")))[1:]
            means.append(ab.mean(axis=(1, 2)))
            deltas.append(photo_scores(lab[:1], ab, lab[1:])["delta_e"])
        apart = np.array(means) - np.mean(means, axis=0)
        spreads.append(float(np.sqrt((apart**2).sum(axis=1).mean())))
    return float(np.mean(spreads)), float(np.mean(deltas))


if __name__ == "__main__":
    main()
