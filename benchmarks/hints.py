"""What five hints a photo are worth: ab RMSE without and with them, through `chromaflow colorize`.

    python benchmarks/hints.py WORKSPACE [--photos 25] [--points 5] [--weights FOLDER] [--seed 0]
    python benchmarks/hints.py WORKSPACE --photos 2 --points 1   # the smallest

WORKSPACE: one whose preprocess stage is done (examples/starter.toml). FOLDER: as in quality.py. Colours
gray copies of validation photos (so many a category) by the merged experts, without and with hints that
give the truth's sRGB colour at random points. The two figures of issue 6, line 7, are printed last: by
how much mean ab RMSE falls, and the largest ΔE00 between a hint and the output at its point.
"""

from __future__ import annotations

import argparse
import csv
import tempfile
from pathlib import Path

import numpy as np
from PIL import Image
from quality import Photos, colorize, expert_files, read_photos, true_pictures, write_gray

from colorization.categories import CATEGORY_NAMES
from colorization.colour.lab import decode_lab, rgb_to_lab
from colorization.metrics.distances import ab_rmse, delta_e_2000
from storage.records.outputs import output_names
from tasks.config.hints import COLUMNS

_LEAST_FALL, _MOST_DELTA_E = 0.15, 5.0
Points = dict[str, list[tuple[int, int, tuple[int, int, int]]]]


def main() -> None:
    """Draw points, colour twice, score."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("workspace", type=Path)
    parser.add_argument("--photos", type=int, default=25, help="of a category")
    parser.add_argument("--points", type=int, default=5, help="of a photo")
    parser.add_argument("--weights", type=Path, metavar="FOLDER")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    experts = expert_files(arguments.weights)
    photos = {n: read_photos(arguments.workspace, n, arguments.photos) for n in CATEGORY_NAMES}
    with tempfile.TemporaryDirectory(prefix="chromaflow-hints-") as folder:
        work = Path(folder)
        for category, of_category in photos.items():
            write_gray(work / "gray" / category, of_category)
        rng = np.random.default_rng(arguments.seed)
        points = draw_points(photos, arguments.points, rng)
        write_hints(work / "hints.csv", points)
        colorize(work / "gray", work / "plain", experts)
        colorize(work / "gray", work / "hinted", experts, "--hints", str(work / "hints.csv"))
        report(work, photos, points)


def draw_points(photos: dict[str, Photos], number: int, rng: np.random.Generator) -> Points:
    """Random points of every photo with the truth's 8-bit sRGB colours."""
    points: Points = {}
    for category, of_category in photos.items():
        pictures = true_pictures(of_category)
        for row, picture in zip(of_category.rows, pictures, strict=True):
            height, width = picture.shape[:2]
            places = zip(
                rng.integers(0, width, number), rng.integers(0, height, number), strict=True
            )
            points[f"{category}/{row:06d}.png"] = [
                (int(x), int(y), tuple(picture[y, x].tolist())) for x, y in places
            ]
    return points


def write_hints(path: Path, points: Points) -> None:
    """The CSV that `--hints` takes."""
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(COLUMNS)
        for name, of_photo in points.items():
            writer.writerows(
                (name, x, y, "#{:02x}{:02x}{:02x}".format(*rgb)) for x, y, rgb in of_photo
            )


def report(work: Path, photos: dict[str, Photos], points: Points) -> None:
    """Scores by category, and the figures of the issue."""
    names = output_names(points)
    errors: dict[str, list[tuple[float, float]]] = {}
    off = []
    for category, of_category in photos.items():
        for row, stored in zip(of_category.rows, of_category.stored, strict=True):
            photo = f"{category}/{row:06d}.png"
            files = [work / way / f"{names[photo]}.png" for way in ("plain", "hinted")]
            if not all(file.is_file() for file in files):
                continue  # skipped as bilevel, say
            _, truth = decode_lab(stored)
            plain, hinted = (rgb_to_lab(read(file)) for file in files)
            pair = ab_rmse(plain[1:], truth), ab_rmse(hinted[1:], truth)
            errors.setdefault(category, []).append(pair)
            for x, y, rgb in points[photo]:
                wanted = rgb_to_lab(np.array([[rgb]], np.uint8))[:, 0, 0]
                off.append(float(delta_e_2000(hinted[:, y, x], wanted)))
    for category, pairs in errors.items():
        before, after = np.mean(pairs, axis=0)
        print(f"{category:<9}{len(pairs):4d} photos: ab RMSE {before:6.2f} → {after:6.2f}")
    before, after = np.mean([pair for pairs in errors.values() for pair in pairs], axis=0)
    fall = 1 - after / before
    print(
        f"ΔE00 to the hint at {len(off)} points: mean {np.mean(off):.2f}, over {_MOST_DELTA_E:g} at "
        f"{np.mean(np.array(off) > _MOST_DELTA_E):.1%}"
    )
    print(f"largest ΔE00 at a hint: {max(off):.2f}, at most {_MOST_DELTA_E:g} asked")
    print(f"mean ab RMSE {before:.2f} → {after:.2f}, falls by {fall:.1%}, {_LEAST_FALL:.0%} asked")


def read(path: Path) -> np.ndarray:
    """uint8 (H, W, 3)."""
    with Image.open(path) as image:
        return np.asarray(image.convert("RGB"))


if __name__ == "__main__":
    main()
