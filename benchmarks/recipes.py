"""A grid of recipes at one budget: which loss, network, data and start give which colours.

    python benchmarks/recipes.py SHARED OUT [--category people] [--epochs 2] [--only NAME ...]
                                 [--threads 1] [--seed 0]
    python benchmarks/recipes.py SHARED OUT --only baseline --epochs 1   # the smallest

SHARED: the research data folder. OUT: keeps workspaces, weights and results.json, so that a grid that
was stopped goes on, and `--only` adds to it. Every variant changes one thing of the baseline: recipe
`default` with `unet18-layer3`, the ImageNet-derived encoder, saturation 1. Each is trained by
`chromaflow run` on the category for so many epochs, so all see equally many crops (those that drop
photos see fewer), and is scored on the baseline's validation split: 256² centre crops, true L, means
over photos. Prints the table as Markdown, for docs/experiments.md.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from chromaflow.library.networks import load_colorizer
from colorization.categories import CATEGORY_NAMES
from colorization.colour.lab import decode_lab
from colorization.compute import resolve_precision
from colorization.errors import ConfigError
from colorization.metrics.scores import colourfulness_of, mean_scores, photo_scores
from colorization.training.prediction import predict_ab
from storage.records.ledger import read_json, write_json
from storage.records.names import WEIGHTS_NAME
from storage.records.workspace import Workspace
from tasks.jobs.training.loading import open_split

_COMMAND = (sys.executable, "-c", "from flows.cli.app import main; main()")
_BATCH = 16
ENCODER, VGG = "resnet18_imagenet_derived_fp16", "vgg16_features_to_relu4_3_fp16"


@dataclass(frozen=True)
class Variant:
    """What is not as in the baseline."""

    overrides: dict[str, Any] = field(default_factory=dict)
    """Recipe fields."""
    ingest: dict[str, Any] = field(default_factory=dict)
    preprocess: dict[str, Any] = field(default_factory=dict)
    from_scratch: bool = False
    perceptual: bool = False
    """Whether VGG's weights are named."""
    pretrained: bool = False
    """Whether half of the epochs go to one network over all categories, and half to its decoder."""


BINS = {"network": "hypercolumn", "loss": "classification"}
VARIANTS = {
    "baseline": Variant(),
    "loss l1": Variant({"loss": "l1"}),
    "loss l2": Variant({"loss": "l2"}),
    "loss classification, rebalance 0.5": Variant(BINS),
    "loss classification, rebalance 1": Variant(BINS | {"rebalance": 1.0}),
    "network resnet18-trunk (the authors')": Variant({"network": "resnet18-trunk"}),
    "network resnet18 (the paper's)": Variant({"network": "resnet18"}),
    "network unet18-stride4": Variant({"network": "unet18-stride4"}),
    "network unet18": Variant({"network": "unet18"}),
    "encoder from scratch": Variant(from_scratch=True),
    "saturation 1.25": Variant(preprocess={"saturation": 1.25}),
    "photos under colourfulness 15 dropped": Variant(ingest={"min_colourfulness": 15.0}),
    "perceptual 1": Variant({"perceptual": 1.0}, perceptual=True),
    "colourfulness hinge 0.5": Variant({"colourfulness": 0.5}),
    "adversarial 1": Variant({"adversarial": 1.0}),
    "crops of 60..100%, lightness jittered": Variant(
        {"smallest_crop": 0.6, "lightness_jitter": 0.2}
    ),
    "moving average 0.99": Variant({"ema": 0.99}),
    "shared pretraining, decoder of its own": Variant(
        {"network": "unet18-stride4"}, pretrained=True
    ),
}


def main() -> None:
    """Train and score what is not done yet, then print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("shared", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--category", default="people", choices=CATEGORY_NAMES)
    parser.add_argument("--epochs", type=int, default=2)
    parser.add_argument("--only", action="append", choices=VARIANTS, metavar="NAME")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    arguments.out.mkdir(parents=True, exist_ok=True)
    results_path = arguments.out / f"results-{arguments.category}-{arguments.seed}.json"
    results = read_json(results_path) or {}
    for name in arguments.only or VARIANTS:
        if name not in results:
            print(name, file=sys.stderr, flush=True)
            results[name] = measure(arguments, name)
            write_json(results_path, results)
    print_table(arguments, results)


def measure(arguments: argparse.Namespace, name: str) -> dict[str, Any]:
    """Train one variant and score it. Raises SystemExit where the command fails."""
    variant, out = VARIANTS[name], arguments.out.resolve()
    own_data = variant.ingest or variant.preprocess
    folder = out / (name.replace(" ", "-") if own_data else "base")
    config = out / f"{name.replace(' ', '-').replace(',', '')}.toml"
    config.write_text(written(arguments, variant, folder))
    words = ["run", "--config", str(config), "--until", "train", "--json"]
    if not variant.pretrained:
        words += ["--only", arguments.category]
    started = time.monotonic()
    done = subprocess.run([*_COMMAND, *words], capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{name} ended with {done.returncode}: {done.stderr[-2000:]}")
    steps = {step["step"]: step for step in json.loads(done.stdout)["steps"]}
    training = [s for n, s in steps.items() if n.split("/")[0] in ("pretrain", "train")]
    weights = Workspace(folder).current("train", arguments.category) / WEIGHTS_NAME
    scores = score(weights, Workspace(out / "base"), arguments.category)
    seconds = sum(step["seconds"] for step in training)
    print(f"{name}: {time.monotonic() - started:.0f} s, {scores}", file=sys.stderr, flush=True)
    return {"seconds": seconds, **scores}


def written(arguments: argparse.Namespace, variant: Variant, folder: Path) -> str:
    """The chromaflow.toml of a variant."""
    shared, category = arguments.shared.resolve(), arguments.category
    names = CATEGORY_NAMES if variant.pretrained else (category,)
    weights = shared / "weights"
    overrides = {"network": "unet18-layer3", "epochs": arguments.epochs} | variant.overrides
    start = {"init": "encoder", "encoder_weights": str(weights / f"{ENCODER}.safetensors")}
    if variant.from_scratch or overrides["network"] == "iizuka16":
        start = {"init": "scratch"}
    if variant.perceptual:
        start["perceptual_weights"] = str(weights / f"{VGG}.safetensors")
    sections: dict[str, dict[str, Any]] = {
        "datasets": {name: str(shared / "photos" / name) for name in names},
        "ingest": variant.ingest,
        "preprocess": {"saturation": 1.0, "vertical_flip": 0.0} | variant.preprocess,
        "train": {"recipe": "default"} | start,
        "train.overrides": overrides,
        "compute": {"threads": arguments.threads, "workers": 1},
    }
    if variant.pretrained:
        half = overrides | {"epochs": max(1, arguments.epochs // 2)}
        sections["pretrain"] = sections["train"]
        sections["pretrain.overrides"] = half
        sections["train"] = {"recipe": "default", "init": "pretrained"}
        sections["train.overrides"] = half | {"encoder_lr_factor": 0.0}
    lines = [f"workspace = {json.dumps(str(folder))}", f"seed = {arguments.seed}"]
    for title, values in sections.items():
        lines += ["", f"[{title}]", *(f"{key} = {json.dumps(v)}" for key, v in values.items())]
    return "\n".join([*lines, ""])


def score(weights: Path, base: Workspace, category: str) -> dict[str, Any]:
    """Means over the baseline's validation photos. Raises ConfigError where there are none."""
    network, _ = load_colorizer(weights)
    preprocessed = base.current("preprocess", category)
    if not preprocessed.is_dir():
        raise ConfigError("Expected the baseline to be trained first. Run it with --only baseline.")
    scores, colourful = [], []
    for stored in open_split(preprocessed, "val").reader.batches(_BATCH):
        L, truth = decode_lab(stored)
        ab = predict_ab(network, stored, resolve_precision("auto"))
        scores += [photo_scores(*photo) for photo in zip(L, ab, truth, strict=True)]
        colourful += [colourfulness_of(*photo) for photo in zip(L, truth, strict=True)]
    means = mean_scores(scores)
    share = means["colourfulness"] * len(colourful) / sum(colourful)
    kept = {name: round(means[name], 3) for name in ("ab_rmse", "delta_e", "colourfulness")}
    return kept | {"share": round(share, 3), "num_photos": len(scores)}


def print_table(arguments: argparse.Namespace, results: dict[str, Any]) -> None:
    """All variants that are done, as Markdown."""
    print(f"\n{arguments.category}, {arguments.epochs} epochs, seed {arguments.seed}, ", end="")
    print(f"{arguments.threads} thread, {resolve_precision('auto')}\n")
    print("| variant | ab RMSE | ΔE00 | colourfulness | of the truth's | training s |")
    print("|---|---|---|---|---|---|")
    for name in VARIANTS:
        if name in results:
            r = results[name]
            print(
                f"| {name} | {r['ab_rmse']:.2f} | {r['delta_e']:.2f} | {r['colourfulness']:.1f} "
                f"| {r['share']:.0%} | {r['seconds']:.0f} |"
            )
    print(f"variants: {sum(name in results for name in VARIANTS)} of {len(VARIANTS)}")


if __name__ == "__main__":
    main()
