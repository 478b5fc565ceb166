"""What is seen and what is there: blank frames stay gray, photographs lose nothing, true colour is kept.

    python benchmarks/own_colour.py [../shared/data/photos] [--photos 40]
    python benchmarks/own_colour.py --photos 4   # the smallest

Every photo of the folder (drawn ones without it) is asked for its evidence; where any of it would fade,
ΔE00 to the truth is compared with and without. Eight blank frames are coloured. Then so many photos are
made gray, half with a strip of their own colours beside them, half with a stamp, and coloured by
`chromaflow colorize` twice, with --toning neutral and replace: the coloured areas are compared with what
was there, the gray ones with each other. Prints all figures last.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
from numpy.typing import NDArray
from PIL import Image

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

from conftest import draw_photo  # noqa: E402
from skimage.color import deltaE_ciede2000  # noqa: E402
from starter import starter_models  # noqa: E402

from colorization.colour.evidence import evidence  # noqa: E402
from colorization.colour.full_size import colour_strips, reduced_L  # noqa: E402
from colorization.colour.lab import rgb_to_L, rgb_to_lab  # noqa: E402
from colorization.merging.inference import MergedColorizer  # noqa: E402
from colorization.merging.sizes import network_size  # noqa: E402
from storage.photos.photo import decode  # noqa: E402
from storage.photos.reduced import decode_rgb  # noqa: E402
from tasks.jobs.models import load_merged  # noqa: E402

_COMMAND = (sys.executable, "-P", "-c", "from flows.cli.app import main; main()")
_SIDE, _TRUE_CHROMA = 256, 25.0
Pixels = NDArray[np.uint8]


def main() -> None:
    """Measure, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", nargs="?", type=Path, help="photos in colour")
    parser.add_argument("--photos", type=int, default=40, help="made gray and coloured again")
    arguments = parser.parse_args()
    paths = sorted(arguments.folder.rglob("*.jpg")) if arguments.folder else []
    with tempfile.TemporaryDirectory() as work:
        found = [*measure_evidence(paths, arguments.photos), *measure_blank()]
        found += measure_local(paths, arguments.photos, Path(work))
    for line in found:
        print(line)


def measure_evidence(paths: list[Path], count: int) -> Iterator[str]:
    """What photographs would lose."""
    photos = (decode_rgb(path.read_bytes(), short_side=_SIDE) for path in paths)
    drawn = (draw_photo(seed, 384, 256) for seed in range(count))
    least, changes, total = 1.0, [], 0
    for rgb in photos if paths else drawn:
        share = evidence(rgb_to_L(rgb))
        least, total = min(least, float(share.min())), total + 1
        if share.min() < 1:
            changes.append(_difference(rgb))
    mean = sum(changes) / total if total else 0.0
    yield (
        f"evidence of {total} photographs: {len(changes)} would fade anywhere, the least share is "
        f"{least:.2f}, ΔE00 {mean:+.4f} on the mean of all"
    )


def _difference(rgb: Pixels) -> float:
    """ΔE00 to the truth with the fade less that without."""
    gray = np.rint(rgb_to_L(rgb) * 2.55).astype(np.uint8)
    errors = []
    for share in (evidence, lambda L: np.ones((1, 1), np.float32)):
        with patch("colorization.merging.inference.evidence", share):
            found = _colorizer().look(gray)
        coloured: Any = np.concatenate(list(colour_strips(gray, found.ab, np.uint8)))
        shown, truth = (rgb_to_lab(p).transpose(1, 2, 0) for p in (coloured, rgb))
        errors.append(float(deltaE_ciede2000(shown, truth).mean()))
    return errors[0] - errors[1]


def measure_blank() -> Iterator[str]:
    """Mean chroma of frames that show nothing."""
    rng, (height, width) = np.random.default_rng(8), (300, 400)
    y, x = np.mgrid[-1 : 1 : height * 1j, -1 : 1 : width * 1j]
    grain = rng.normal(0, 1, (height, width))
    frames = {
        "gray card": 120 + 0 * x,
        "white paper": 238 - 6 * x + grain,
        "yellowed paper": 214 - 10 * (x * x + y * y) + 2 * grain,
        "fog": 190 + 20 * y + 8 * grain,
        "black with noise": np.abs(6 + 6 * grain),
        "night sky": np.abs(18 + 10 * y + 4 * grain),
        "vignette": 150 - 60 * (x * x + y * y) + 3 * grain,
        "coarse grain": 128 + 25 * grain,
    }
    chroma = {}
    for name, levels in frames.items():
        gray = np.clip(np.rint(levels), 0, 255).astype(np.uint8)
        ab = _colorizer().predict(reduced_L(gray, None, network_size(height, width, _SIDE))).ab
        chroma[name] = float(ab.square().sum(dim=1).sqrt().mean())
    yield f"{len(chroma)} blank frames: mean chroma at most {max(chroma.values()):.2f}"


def measure_local(paths: list[Path], count: int, work: Path) -> Iterator[str]:
    """True colour beside gray, through the command."""
    chosen = paths[:: max(1, len(paths) // count)][:count] if paths else [None] * count
    for number, path in enumerate(chosen):
        drawn = draw_photo(number, 384, 256)
        rgb = decode_rgb(path.read_bytes(), short_side=_SIDE) if path else drawn
        _save(work / "in", number, _with_strip(rgb) if number % 2 else _with_stamp(rgb, number))
    for toning in ("neutral", "replace"):
        words = ("colorize", work / "in", work / toning, "--toning", toning, "--workers", 1)
        ran = subprocess.run(
            [*_COMMAND, *map(str, words)], cwd=ROOT, capture_output=True, text=True
        )
        assert ran.returncode == 0, ran.stderr
    notes = _notes(work / "neutral")
    worst, gray, said = [], [], 0
    for path in sorted((work / "in").iterdir()):
        before = _ab(path)
        kept, replaced = (
            _ab(work / t / f"{path.name}.color{path.suffix}") for t in ("neutral", "replace")
        )
        true = np.hypot(*before) > _TRUE_CHROMA
        worst.append(float(np.hypot(*(kept - before))[true].mean()))
        far = ~_spread(np.hypot(*before) > 2)
        gray.append(float(np.hypot(*(kept - replaced))[far].mean()))
        said += any("real colour" in note for note in notes[path.name])
    yield (
        f"{len(worst)} photos with a strip or a stamp: coloured areas {np.mean(worst):.2f} off in ab, "
        f"{max(worst):.2f} at most; gray areas {max(gray):.2f} from what they were; said of {said}"
    )


def _with_strip(rgb: Pixels) -> Pixels:
    """The photo made gray, and a strip of strong colours beside it."""
    gray = _grayed(rgb)
    colours = np.array([(200, 40, 30), (20, 60, 210), (40, 170, 60), (230, 200, 30)], np.uint8)
    rows = np.arange(len(gray)) * len(colours) // len(gray)
    strip = np.repeat(colours[rows][:, None], gray.shape[1] // 8, axis=1)
    return np.concatenate([gray, strip], axis=1)


def _with_stamp(rgb: Pixels, number: int) -> Pixels:
    """The photo made gray, and a stamp on it: a frame and lines as of ink."""
    page = _grayed(rgb)
    height, width = page.shape[:2]
    top, left, high, wide = height // 2, width // 3, height // 4, width // 3
    ink = ((150, 25, 40), (30, 45, 150), (20, 110, 60))[number % 3]
    for y in range(top, top + high):
        on_line = (y - top) % 12 < 4 or y > top + high - 5
        page[y, left : left + wide] = ink if on_line else page[y, left : left + wide]
    page[top : top + high, left : left + 5] = ink
    return page


def _grayed(rgb: Pixels) -> Pixels:
    return np.repeat(np.asarray(Image.fromarray(rgb).convert("L"))[..., None], 3, axis=2)


def _save(folder: Path, number: int, rgb: Pixels) -> None:
    folder.mkdir(exist_ok=True)
    if number % 4 < 2:
        Image.fromarray(rgb).save(folder / f"{number:03d}.png")
    else:
        Image.fromarray(rgb).save(folder / f"{number:03d}.jpg", quality=95, subsampling=0)


def _spread(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Sixteen pixels further in each direction."""
    wide = mask.copy()
    for axis in (0, 1):
        grown = wide.copy()
        for step in range(1, 17):
            grown |= np.roll(wide, step, axis) | np.roll(wide, -step, axis)
        wide = grown
    return wide


def _notes(out: Path) -> dict[str, list[str]]:
    folder = out / ".chromaflow/current/colorize/archive/done"
    records = (json.loads(path.read_text()) for path in folder.glob("*.json"))
    rows = [row for record in records for row in record.get("outputs", ())]
    return {row["photo"]: row.get("notes", []) for row in rows}


def _ab(path: Path) -> NDArray[np.float32]:
    pixels: Any = decode(path.read_bytes()).pixels
    return rgb_to_lab(pixels)[1:]


def _colorizer() -> MergedColorizer:
    return load_merged(starter_models(_SIDE))


if __name__ == "__main__":
    main()
