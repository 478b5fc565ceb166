"""Sheets to look at: colourings beside each other, old scans, faces.

    python benchmarks/sheets.py SHARED OUT [--photos 24] [--scans 40] [--faces 40]
    python benchmarks/sheets.py SHARED OUT --photos 4 --scans 0 --faces 3   # the smallest

SHARED: the research data folder. Colours with the real command and the starter experts, and writes into
OUT colourings.png (24 photos evenly spaced over photos/, a row each: gray, mean, likely, the second and
third likeliest, truth), scans.png (bw/, each beside its colours) and faces.png (photos/people, colours beside
truth). Of the faces it prints how far the mean ab of their middle is from the truth's, by thirds of the truth's
lightness: dark skin is where networks fail first. Issue 21, line 8.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from colorization.categories import CATEGORY_NAMES
from colorization.colour.lab import rgb_to_lab

_COMMAND = (sys.executable, "-P", "-c", "from flows.cli.app import main; main()")
_CELL = 192
_MIDDLE = 0.4
"""Share of a face's crop, each way, that is taken for skin."""


def main() -> None:
    """Colour and draw."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("shared", type=Path)
    parser.add_argument("out", type=Path)
    for name, count in (("photos", 24), ("scans", 40), ("faces", 40)):
        parser.add_argument(f"--{name}", type=int, default=count)
    asked = parser.parse_args()
    asked.out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="chromaflow-sheets-") as work:
        _colourings(asked.shared / "photos", asked.photos, Path(work) / "photos", asked.out)
        if asked.scans:
            _scans(asked.shared / "bw", asked.scans, Path(work) / "scans", asked.out)
        _faces(asked.shared / "photos" / "people", asked.faces, Path(work) / "faces", asked.out)


def _colourings(photos: Path, count: int, work: Path, folder: Path) -> None:
    each = max(1, count // len(CATEGORY_NAMES))
    chosen = [
        p for name in CATEGORY_NAMES for p in _evenly(sorted((photos / name).glob("*.*g")), each)
    ]
    names = _write_gray(chosen, work / "in")
    _colorize(work / "in", work / "mean", "--palette", "mean")
    _colorize(work / "in", work / "likely", "--palette", "likely", "--variants", "3")
    rows = []
    for path, name in zip(chosen, names, strict=True):
        likely = work / "likely"
        row = [
            work / "in" / name,
            work / "mean" / f"{name}.color.png",
            likely / f"{name}.color.png",
        ]
        rows.append([*row, *(likely / f"{name}.v{k}.color.png" for k in (2, 3)), path])
    _draw(
        [cell for row in rows for cell in row], 6 if count <= 6 else 12, folder / "colourings.png"
    )


def _scans(scans: Path, count: int, work: Path, folder: Path) -> None:
    chosen = _evenly(sorted(path for path in scans.iterdir() if path.is_file()), count)
    (work / "in").mkdir(parents=True)
    for path in chosen:
        shutil.copy(path, work / "in")
    _colorize(work / "in", work / "out")
    cells: list[Path] = []
    for path in chosen:
        coloured = sorted((work / "out").glob(f"{path.name}.color.*"))
        cells += [path, coloured[0] if coloured else path]  # a scan without colours shows as it is
        if not coloured:
            print(f"{path.name}: not coloured")
    _draw(cells, 8, folder / "scans.png")


def _faces(people: Path, count: int, work: Path, folder: Path) -> None:
    chosen = _evenly(sorted(people.glob("*.*g")), count)
    names = _write_gray(chosen, work / "in")
    _colorize(work / "in", work / "out", "--palette", "mean")
    coloured = [work / "out" / f"{name}.color.png" for name in names]
    _draw(
        [p for pair in zip(coloured, chosen, strict=True) for p in pair], 10, folder / "faces.png"
    )
    found = sorted(_skin(*pair) for pair in zip(coloured, chosen, strict=True))
    for name, third in zip(
        ("dark", "middle", "light"), np.array_split(np.array(found), 3), strict=True
    ):
        if len(third):
            told = "  ".join(f"{value:6.1f}" for value in third.mean(axis=0))
            print(f"{name:<7} {len(third):3d} faces: L, ΔE ab, chroma, true chroma {told}")


def _skin(coloured: Path, truth: Path) -> tuple[float, float, float, float]:
    """Of the middle of a photo: L, distance of mean ab from the truth's, chroma, the truth's chroma."""
    means = []
    for path in (coloured, truth):
        lab = rgb_to_lab(np.asarray(Image.open(path).convert("RGB")))
        (top, left), (height, width) = (
            (int(n * (1 - _MIDDLE) / 2) for n in lab.shape[1:]),
            lab.shape[1:],
        )
        means.append(lab[:, top : height - top, left : width - left].mean(axis=(1, 2)))
    ours, true = means
    chroma = [float(np.hypot(*mean[1:])) for mean in means]
    return float(true[0]), float(np.hypot(*(ours - true)[1:])), chroma[0], chroma[1]


def _evenly(paths: Sequence[Path], count: int) -> list[Path]:
    return [paths[(2 * k + 1) * len(paths) // (2 * count)] for k in range(min(count, len(paths)))]


def _write_gray(paths: Sequence[Path], folder: Path) -> list[str]:
    """Gray copies by number. Returns their names."""
    folder.mkdir(parents=True)
    names = [f"{number:03d}.png" for number in range(len(paths))]
    for name, path in zip(names, paths, strict=True):
        Image.open(path).convert("L").save(folder / name)
    return names


def _colorize(source: Path, out: Path, *options: str) -> None:
    done = subprocess.run(
        [*_COMMAND, "colorize", str(source), str(out), *options], capture_output=True
    )
    if done.returncode not in (0, 6):
        sys.exit(done.stderr.decode())


def _draw(cells: Sequence[Path], columns: int, target: Path) -> None:
    rows = -(-len(cells) // columns)
    sheet = Image.new("RGB", (columns * _CELL, rows * _CELL), "white")
    for place, path in enumerate(cells):
        with Image.open(path) as opened:
            photo: Image.Image = opened
            if photo.mode.startswith("I"):  # 16 bit
                photo = photo.convert("I").point(lambda value: value / 257).convert("L")
            small = ImageOps.fit(photo.convert("RGB"), (_CELL - 2, _CELL - 2))
        sheet.paste(small, (place % columns * _CELL, place // columns * _CELL))
    sheet.save(target)


if __name__ == "__main__":
    main()
