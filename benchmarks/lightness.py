"""Lightness kept by `chromaflow colorize`: historical scans and random photos at 8 and 16 bit.

    python benchmarks/lightness.py [FOLDER OF SCANS] [--photos 500]
    python benchmarks/lightness.py --photos 4   # the smallest

Colours the scans (where a folder is given) and as many random photos as asked for: noise, ramps,
blots and near-black ones of random sizes, PNG and TIFF at 8 and 16 bit, every tenth a JPEG. Then
`chromaflow verify OUT --originals IN` compares both trees. The random photos are compared again
here, their luminance computed by scikit-image in float64 from files that OpenCV and tifffile read.
Prints the largest change of gray over all pixels of lossless outputs last, in code values.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import tifffile
from numpy.typing import NDArray
from PIL import Image
from skimage.color import rgb2xyz

_SIDES = (33, 400)
Pixels = NDArray[Any]
_COMMAND = (sys.executable, "-c", "from flows.cli.app import main; main()")


def main() -> None:
    """Make, colour, compare, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("scans", nargs="?", type=Path)
    parser.add_argument("--photos", type=int, default=500)
    arguments = parser.parse_args()
    work = Path(tempfile.mkdtemp(prefix="chromaflow-lightness-"))
    try:
        worst = []
        if arguments.scans:
            worst.append(colour_and_verify(arguments.scans, work / "scans", (0, 6)))
        make_photos(work / "in", arguments.photos)
        worst.append(colour_and_verify(work / "in", work / "out", (0,)))
        worst.append(compare_independently(work / "in", work / "out"))
    finally:
        shutil.rmtree(work)
    print(f"largest change of gray, code values: {max(worst)}")


def make_photos(folder: Path, count: int) -> None:
    """Write random gray photos: PNG and TIFF at 8 and 16 bit, every tenth a JPEG."""
    folder.mkdir(parents=True)
    for i in range(count):
        rng = np.random.default_rng([5, i])
        height, width = rng.integers(*_SIDES, 2)
        share = _picture(rng, int(height), int(width))
        bits = 8 if i % 10 == 0 or i % 2 else 16
        pixels = np.rint(share * (2**bits - 1)).astype(np.uint8 if bits == 8 else np.uint16)
        if i % 10 == 0:
            Image.fromarray(pixels).save(folder / f"{i:04d}.jpg", quality=92)
        elif i % 3:
            Image.fromarray(pixels).save(folder / f"{i:04d}.png")
        else:
            tifffile.imwrite(folder / f"{i:04d}.tif", pixels, photometric="minisblack")


def _picture(rng: np.random.Generator, height: int, width: int) -> Pixels:
    """Float64 (height, width), 0..1: one of four kinds."""
    kind = rng.integers(4)
    if kind == 0:
        return rng.random((height, width))
    if kind == 1:
        return np.linspace(0, 1, height)[:, None] * np.ones(width) * rng.uniform(0.02, 1)
    blots = cv2.resize(rng.random((6, 6)), (width, height), interpolation=cv2.INTER_CUBIC)
    return np.asarray(np.clip(blots * (0.03 if kind == 3 else 1), 0, 1))


def colour_and_verify(source: Path, out: Path, allowed: tuple[int, ...]) -> int:
    """Colour a folder; what verify measured. Returns the largest change in code values."""
    _run(["colorize", source, out], allowed)
    report = json.loads(_run(["verify", out, "--originals", source, "--json"], (0,)))
    print(
        f"{source.name}: {report['num_compared']} outputs compared, lossless within "
        f"{report['max_codes']} code values, mean |ΔL*| {report['mean_L'] or 0:.3f} where lossy"
    )
    return int(report["max_codes"])


def compare_independently(source: Path, out: Path) -> int:
    """The largest change over all pixels of the random photos' lossless outputs, code values."""
    worst, num_pixels = 0, 0
    for path in sorted(source.iterdir()):
        if path.suffix == ".jpg":
            continue
        before, after = _read(path), _read(out / f"{path.name}.color{path.suffix}")
        top = np.iinfo(before.dtype).max
        if after.dtype != before.dtype or after.shape != (*before.shape, 3):
            raise SystemExit(f"{path.name}: {before.shape} {before.dtype} became {after.dtype}")
        luminance = np.clip(rgb2xyz(after.astype(np.float64) / top)[..., 1], 0, 1)
        dark = luminance * 12.92
        encoded = np.where(luminance <= 0.0031308, dark, 1.055 * luminance ** (1 / 2.4) - 0.055)
        change = np.abs(np.rint(encoded * top) - before)
        worst, num_pixels = max(worst, int(change.max())), num_pixels + before.size
    print(f"random photos by scikit-image: {num_pixels} pixels within {worst} code values")
    return worst


def _read(path: Path) -> Pixels:
    if path.suffix == ".tif":
        return np.asarray(tifffile.imread(path))
    pixels = np.asarray(cv2.imread(str(path), cv2.IMREAD_UNCHANGED))
    return pixels if pixels.ndim == 2 else np.ascontiguousarray(pixels[..., 2::-1])


def _run(words: list[Any], allowed: tuple[int, ...]) -> str:
    done = subprocess.run(
        [*_COMMAND, *map(str, words)], capture_output=True, text=True, check=False
    )
    if done.returncode not in allowed:
        raise SystemExit(f"{words[0]} ended with {done.returncode}: {done.stderr[-2000:]}")
    return done.stdout


if __name__ == "__main__":
    main()
