"""Milliseconds of merged inference with four experts at 256², beside siggraph17's.

    python benchmarks/inference.py [--threads 2] [--rounds 40] [--weights FOLDER]
    python benchmarks/inference.py --threads 1 --rounds 1   # the smallest

FOLDER: a workspace whose train stage is done; without one the starter experts. Every photo (those that
scikit-image carries, as gray, and noise) makes all four experts run: the segmenter's answer is followed
by weights that are nowhere 0. Timed in turn, block by block: segmenter, merged (segmenter, weights,
four experts, merge), siggraph17 as released (fp32) and in our precision. Medians; the figures of
issue 6, line 6, are printed last.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from quality import expert_files
from skimage import data

from colorization.categories import CATEGORY_NAMES
from colorization.colour.lab import Float, normalize_L, rgb_to_L
from colorization.compute import autocast, place, resolve_precision
from colorization.merging.inference import MergedColorizer
from colorization.merging.options import MergeOptions
from colorization.merging.segmentation import build_segmenter
from colorization.networks import build_network
from tasks.jobs.networks import load_colorizer, load_weights
from tasks.weights.models import require, segmenter_file

SIDE = 256
_MOST_MERGED, _MOST_SEGMENTER = 60.0, 40.0
"""Milliseconds: issue 6, lines 6 and 3."""


def main() -> None:
    """Time the blocks and print medians and ratios."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=40)
    parser.add_argument("--weights", type=Path, metavar="FOLDER")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    blocks = build_blocks(arguments.weights)
    times: dict[str, list[float]] = {name: [] for name in blocks}
    lightness = photos()
    for number in range(arguments.rounds + 2):
        for name, block in blocks.items():
            started = time.perf_counter()
            block(lightness[number % len(lightness)])
            if number >= 2:  # the first ones warm up
                times[name].append(1000 * (time.perf_counter() - started))
    print(
        f"{arguments.threads} threads, {SIDE}², {resolve_precision('auto')}, median of {arguments.rounds}"
    )
    medians = {name: statistics.median(of_block) for name, of_block in times.items()}
    for name, milliseconds in medians.items():
        print(f"{name:<24}{milliseconds:8.1f} ms")
    for name in ("siggraph17, ours", "siggraph17"):
        ratio = statistics.median(a / b for a, b in zip(times[name], times["merged"], strict=True))
        print(f"{name}: {ratio:.2f} times the time of merged")
    print(f"segmenter: {medians['segmenter']:.1f} ms, at most {_MOST_SEGMENTER:g} asked")
    print(f"merged: {medians['merged']:.1f} ms, at most {_MOST_MERGED:g} asked")


def photos() -> list[Float]:
    """float32 (256, 256), 0..100."""
    pictures = [data.astronaut(), data.chelsea(), data.coffee(), data.rocket()]
    middles = [
        p[(p.shape[0] - SIDE) // 2 :, (p.shape[1] - SIDE) // 2 :][:SIDE, :SIDE] for p in pictures
    ]
    noise = np.random.default_rng(0).uniform(0, 100, (SIDE, SIDE)).astype(np.float32)
    return [*(rgb_to_L(np.ascontiguousarray(p)) for p in middles), noise]


def build_blocks(weights: Path | None) -> dict[str, Callable[[Float], object]]:
    """What is timed, by name; each takes L (256, 256)."""
    segmenter = build_segmenter("starter", load_weights(require(segmenter_file("starter")))[0])
    experts = {name: load_colorizer(path)[0] for name, path in expert_files(weights).items()}

    def everywhere(L: torch.Tensor) -> torch.Tensor:
        return (segmenter(L) + 1) / (1 + len(CATEGORY_NAMES))

    options = MergeOptions(threshold=0.0)
    merged = MergedColorizer(experts, everywhere, merge=options)
    assert isinstance(segmenter, torch.nn.Module)
    place(segmenter, "cpu")

    @torch.inference_mode()
    def segment(L: Float) -> object:
        with autocast(resolve_precision("auto")):
            return segmenter(torch.from_numpy(L)[None, None])

    torch.manual_seed(0)
    siggraph = place(build_network("siggraph17").eval(), "cpu")

    def alone(precision: str) -> Callable[[Float], object]:
        @torch.inference_mode()
        def run(L: Float) -> object:
            L_norm = normalize_L(torch.from_numpy(L)[None, None])
            with autocast(precision):
                return siggraph(L_norm.contiguous(memory_format=torch.channels_last))

        return run

    return {
        "segmenter": segment,
        "merged": merged.predict,
        "siggraph17, ours": alone(resolve_precision("auto")),
        "siggraph17": alone("fp32"),
    }


if __name__ == "__main__":
    main()
