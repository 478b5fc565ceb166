"""Make the starter experts from the photos: train all heads together, fit palettes, score, write cards.

    python benchmarks/starter_experts.py PHOTOS MORE OUT [--encoder FILE] [--photos 51248] [--decay 50000]

PHOTOS: data/photos. MORE: what data/more/rebuild.py made. OUT: a folder; OUT/state is gone on from, what goes
into colorization/starter is in OUT/weights. --encoder: where the encoder starts, e.g.
data/weights/resnet18_imagenet_derived_fp16.safetensors. Runs benchmarks/scenes.py twice (a constant rate, then
the fall), scene_weights.py, scene_rest.py,
travel.py and scene_cards.py, in this order; the line of each that is printed
last is printed.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path

_HERE = Path(__file__).parent


def main() -> None:
    """Run the programs in turn; the first that fails ends it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("photos_folder", type=Path, metavar="PHOTOS")
    parser.add_argument("more", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--encoder", type=Path)
    parser.add_argument("--photos", type=int, default=51_248, help="seen at the constant rate")
    parser.add_argument("--decay", type=int, default=50_000, help="seen while it falls")
    arguments = parser.parse_args()
    pool = (arguments.photos_folder, arguments.more)
    state, weights = arguments.out / "state", arguments.out / "weights"
    start = ("--encoder", arguments.encoder) if arguments.encoder else ()
    most = arguments.photos + arguments.decay + 1000
    run("scenes.py", *pool, state, *start, "--photos", arguments.photos)
    run("scenes.py", *pool, state, "--photos", most, "--decay", arguments.decay)
    run("scene_weights.py", *pool, state / "state.pt", weights)
    run("scene_rest.py", *pool, weights)
    run("travel.py", *pool, "--weights", weights, "--out", arguments.out / "scores.json")
    run("scene_cards.py", weights, arguments.out / "scores.json")


def run(program: str, *words: object) -> None:
    """One program; its last line is printed."""
    command = [sys.executable, str(_HERE / program), *map(str, words)]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    print(f"{program}: {done.stdout.strip().splitlines()[-1]}", flush=True)


if __name__ == "__main__":
    main()
