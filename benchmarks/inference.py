"""Milliseconds of merged inference with four experts at 256², beside siggraph17's and DDColor-T's.

    python benchmarks/inference.py [--threads 2] [--rounds 40] [--weights FOLDER] [--before FOLDER]
    python benchmarks/inference.py --threads 1 --rounds 1   # the smallest

FOLDER: a workspace whose train stage is done, or CATEGORY.safetensors; without one the starter experts.
--before: others, merged in the same run. Every photo (those that
scikit-image carries, as gray, and noise) makes all four experts run: the segmenter's answer is followed
by weights that are nowhere 0. Timed in turn, block by block: segmenter, merged (segmenter, weights,
four experts, merge), siggraph17 as released (fp32) and in our precision, the shape of DDColor-T (fp32, at
256² and at 512², its default). Medians; the figures of issue 6 and 21, line 6, are printed last.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from ddcolor import DDColorShape
from quality import expert_files
from skimage import data

from chromaflow.library.networks import load_colorizer, load_weights
from colorization.categories import CATEGORY_NAMES
from colorization.colour.lab import L_MAX, Float, normalize_L, rgb_to_L
from colorization.compute import autocast, place, resolve_precision
from colorization.merging.inference import MergedColorizer
from colorization.merging.options import MergeOptions
from colorization.merging.segmentation import build_segmenter
from colorization.networks import build_network
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
    parser.add_argument("--before", type=Path, metavar="FOLDER")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    blocks = build_blocks(arguments.weights, arguments.before)
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
    for name in ("siggraph17, ours", "siggraph17", "DDColor-T", "DDColor-T at 512²"):
        ratio = statistics.median(a / b for a, b in zip(times[name], times["merged"], strict=True))
        print(f"{name}: {ratio:.2f} times the time of merged")
    if "before" in times:
        pairs = zip(times["merged"], times["before"], strict=True)
        print(f"merged: {statistics.median(a / b for a, b in pairs):.2f} times the time of before")
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


def build_blocks(weights: Path | None, before: Path | None) -> dict[str, Callable[[Float], object]]:
    """What is timed, by name; each takes L (256, 256)."""
    segmenter = build_segmenter("starter", load_weights(require(segmenter_file("starter")))[0])

    def everywhere(L: torch.Tensor) -> torch.Tensor:
        return (segmenter(L) + 1) / (1 + len(CATEGORY_NAMES))

    def merged(folder: Path | None) -> MergedColorizer:
        experts = {name: load_colorizer(path)[0] for name, path in expert_files(folder).items()}
        return MergedColorizer(experts, everywhere, merge=MergeOptions(threshold=0.0))

    assert isinstance(segmenter, torch.nn.Module)
    place(segmenter, "cpu")

    @torch.inference_mode()
    def segment(L: Float) -> object:
        with autocast(resolve_precision("auto")):
            return segmenter(torch.from_numpy(L)[None, None])

    torch.manual_seed(0)
    siggraph = place(build_network("siggraph17").eval(), "cpu")
    peer = place(DDColorShape().eval(), "cpu")

    def ddcolor(side: int) -> Callable[[Float], object]:
        @torch.inference_mode()
        def run(L: Float) -> object:
            gray = torch.from_numpy(L / L_MAX)[None, None].expand(1, 3, -1, -1)
            seen = F.interpolate(gray, (side, side), mode="bilinear", align_corners=False)
            return peer(seen.contiguous(memory_format=torch.channels_last))

        return run

    def alone(precision: str) -> Callable[[Float], object]:
        @torch.inference_mode()
        def run(L: Float) -> object:
            L_norm = normalize_L(torch.from_numpy(L)[None, None])
            with autocast(precision):
                return siggraph(L_norm.contiguous(memory_format=torch.channels_last))

        return run

    return {
        "segmenter": segment,
        "merged": merged(weights).predict,
        **({"before": merged(before).predict} if before else {}),
        "siggraph17, ours": alone(resolve_precision("auto")),
        "siggraph17": alone("fp32"),
        "DDColor-T": ddcolor(SIDE),
        "DDColor-T at 512²": ddcolor(2 * SIDE),
    }


if __name__ == "__main__":
    main()
