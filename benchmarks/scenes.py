"""Joint training of `unet-scene`: one encoder, a head a category, a palette posterior, nothing frozen.

    python benchmarks/scenes.py PHOTOS MORE STATE [--encoder FILE | --scene FOLDER] [--photos N] [--decay N]

PHOTOS: data/photos. MORE: what data/more/rebuild.py made. STATE: a folder; what is in it is gone on
from. Which photos a step takes, their crops and their wear depend on the seed and the step alone.

The rate stays where it is after a short start, and a moving average of the weights is kept beside, so
that the training is of use whenever it is stopped and can go on later. --decay N: from where it stands
the rate falls to a hundredth over N photos, then the program ends. A line for each 1,000 photos goes to
STATE/log.txt: photos seen, Huber (over β) of the mean colours, of the true palette's and of gray,
milliseconds a photo.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from photo_pool import PoolPhoto, by_category, random_lab, read_pool, source_weights
from safetensors.torch import load_file
from torch import Tensor, nn

from colorization.categories import CATEGORY_NAMES
from colorization.colour.lab import L_MAX, normalize_L
from colorization.compute import autocast, place, resolve_precision
from colorization.networks.unet_scene import SceneColorizer
from colorization.training.feeding import to_tensors
from colorization.training.losses import huber
from colorization.training.optimization import MovingAverage
from colorization.training.recipe_fields import Objective
from colorization.training.scene_objective import scene_losses
from colorization.training.wear import Wear, wear
from storage.records.checkpoints import load_checkpoint

BATCH = {"people": 4, "birds": 3, "animals": 4, "places": 5}
"""Photos of a step. Birds have few photos, places own all the rest of the world."""
WEAR = Wear(share=0.35)
RATE, ENCODER_FACTOR, WEIGHT_DECAY, EMA = 1e-3, 0.3, 1e-2, 0.998
WARM_UP, FINAL_SHARE = 100, 0.01
SAVE_SECONDS, LOG_PHOTOS = 240, 1000


@dataclass(slots=True)
class Course:
    """How far it is, and where the rate falls."""

    step: int = 0
    photos: int = 0
    decay_from: int = 0
    decay_over: int = 0

    def rate(self) -> float:
        """1 − √ of the way (Hägele et al. 2024) after the decay has begun."""
        start = min(1.0, (self.step + 1) / WARM_UP)
        if not self.decay_over:
            return RATE * start
        way = min(1.0, max(0.0, (self.photos - self.decay_from) / self.decay_over))
        return RATE * start * max(FINAL_SHARE, 1 - math.sqrt(way))

    @property
    def ended(self) -> bool:
        return bool(self.decay_over) and self.photos >= self.decay_from + self.decay_over


class JointTraining:
    """Everything that an exact resume needs."""

    def __init__(self, encoder: Path | None, scene: Path | None, seed: int) -> None:
        torch.manual_seed(seed)
        self.network = place(SceneColorizer(num_heads=len(CATEGORY_NAMES)))
        self.course, self.seed = Course(), seed
        if encoder is not None:
            state = {k: v.float() for k, v in load_file(encoder).items()}
            self.network.load_encoder(state)
        if scene is not None:
            self._begin_from(scene)
        self.network.train()
        self.average = MovingAverage(self.network, EMA)
        self.optimizer = torch.optim.AdamW(self._groups(), lr=RATE, weight_decay=WEIGHT_DECAY)
        self.precision = resolve_precision("auto")

    def _begin_from(self, scene: Path) -> None:
        """The experts of a folder, as the starter's: their weights, and how many photos these saw."""
        files = [load_checkpoint(scene / f"{name}.safetensors") for name in CATEGORY_NAMES]
        experts = [SceneColorizer(num_heads=1) for _ in files]
        for expert, file in zip(experts, files, strict=True):
            expert.load_state_dict(
                {k: torch.from_numpy(v).float() for k, v in file.tensors.items()}
            )
            expert.encoder = experts[0].encoder
        joined = SceneColorizer.joined(experts)
        if joined is None:
            raise SystemExit(f"Expected experts of one joint training in {scene}.")
        self.network.load_state_dict(joined.state_dict())
        gains = torch.tensor([file.metadata["gains"] for file in files][0])
        self.network.liven(1 / gains, 1 / self.network.palettes.gain)
        self.course.photos = int(files[0].metadata["photos_seen"])

    def _groups(self) -> list[dict[str, Any]]:
        encoder = list(self.network.encoder.parameters())
        slow = {id(p) for p in encoder}
        rest = [p for p in self.network.parameters() if id(p) not in slow]
        return [{"params": rest, "factor": 1.0}, {"params": encoder, "factor": ENCODER_FACTOR}]

    def learn(self, stored: Tensor, heads: Tensor) -> tuple[float, float, float]:
        """One step. Returns Huber of the mean colours, of the true palette's and of gray."""
        rng = np.random.default_rng([self.seed, self.course.step, 1])
        _, ab = to_tensors(stored)
        L = wear(stored[:, :1].float() * (L_MAX / 255), WEAR, rng)
        L_norm = normalize_L(L).contiguous(memory_format=torch.channels_last)
        generator = torch.Generator().manual_seed(int(rng.integers(2**62)))
        with autocast(self.precision):
            losses = scene_losses(self.network, L_norm, ab, heads, OBJECTIVE, generator)
        for group in self.optimizer.param_groups:
            group["lr"] = self.course.rate() * group["factor"]
        self.optimizer.zero_grad(set_to_none=True)
        losses.total.backward()
        norm = nn.utils.clip_grad_norm_(self.network.parameters(), 50.0)
        if not bool(norm.isfinite()):
            raise SystemExit(f"Expected finite gradients, got {norm} at step {self.course.step}.")
        self.optimizer.step()
        self.course.step += 1
        self.course.photos += len(stored)
        self.average.update(self.network, self.course.step)
        quarter = F.avg_pool2d(ab, 4)
        gray = huber(torch.zeros_like(quarter), quarter, OBJECTIVE.huber_beta)
        return float(losses.unknown), float(losses.known), float(gray)

    def save(self, folder: Path) -> None:
        """Replace the state in one move."""
        folder.mkdir(parents=True, exist_ok=True)
        c = self.course
        state = {
            "network": self.network.state_dict(),
            "average": self.average.network.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "course": [c.step, c.photos, c.decay_from, c.decay_over],
            "seed": self.seed,
        }
        partial = folder / "state.pt.part"
        with partial.open("wb") as file:
            torch.save(state, file)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(folder / "state.pt")

    def load(self, folder: Path) -> bool:
        """Go on from a folder. Returns whether there was something."""
        if not (folder / "state.pt").is_file():
            return False
        state = torch.load(folder / "state.pt", weights_only=True)
        self.network.load_state_dict(state["network"])
        self.average.network.load_state_dict(state["average"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.course, self.seed = Course(*state["course"]), state["seed"]
        return True


OBJECTIVE = Objective()


class Sampler:
    """Which photos a step takes."""

    def __init__(self, photos: Sequence[PoolPhoto], crop: int, seed: int) -> None:
        self.crop = crop
        self.photos = by_category(photos, "train")
        self.weights = {name: source_weights(of) for name, of in self.photos.items()}
        self.seed = seed
        self.heads = torch.tensor(
            [k for k, name in enumerate(CATEGORY_NAMES) for _ in range(BATCH[name])]
        )

    def step(self, number: int) -> Tensor:
        """Stored Lab of a step, uint8 (N, 3, crop, crop), in the order of `heads`."""
        rng = np.random.default_rng([self.seed, number])
        chosen = [
            self.photos[name][i]
            for name in CATEGORY_NAMES
            for i in rng.choice(len(self.photos[name]), BATCH[name], p=self.weights[name])
        ]
        return torch.from_numpy(np.stack([random_lab(p.path, self.crop, rng) for p in chosen]))


def main() -> None:
    """Train until the photos are seen, the decay has ended or a signal comes."""
    arguments = parse_arguments()
    torch.set_num_threads(arguments.threads)
    cv2.setNumThreads(1)
    arguments.state.mkdir(parents=True, exist_ok=True)
    training = JointTraining(arguments.encoder, arguments.scene, arguments.seed)
    resumed = training.load(arguments.state)
    if arguments.decay and not training.course.decay_over:
        training.course.decay_from = training.course.photos
        training.course.decay_over = arguments.decay
    sampler = Sampler(
        read_pool(arguments.photos_folder, arguments.more), arguments.crop, training.seed
    )
    counts = {name: len(of) for name, of in sampler.photos.items()}
    begun = {"resumed": resumed, "photos": training.course.photos, "train": counts}
    log(
        arguments.state,
        json.dumps(begun | {"crop": arguments.crop, "precision": training.precision}),
    )
    for line in run(training, sampler, arguments.state, arguments.photos):
        log(arguments.state, line)
    training.save(arguments.state)


def run(training: JointTraining, sampler: Sampler, folder: Path, most: int) -> Iterator[str]:
    """Learn and save. Yields a line for each LOG_PHOTOS photos."""
    saved, since = time.monotonic(), time.monotonic()
    sums, steps, first = np.zeros(3), 0, training.course.photos
    while training.course.photos < most and not training.course.ended:
        found = training.learn(sampler.step(training.course.step), sampler.heads)
        sums, steps = sums + found, steps + 1
        photos = training.course.photos
        if photos // LOG_PHOTOS != first // LOG_PHOTOS:
            ms = 1000 * (time.monotonic() - since) / (photos - first)
            unknown, known, gray = sums / steps / OBJECTIVE.huber_beta
            yield (
                f"{photos:7d} mean {unknown:.3f} palette {known:.3f} gray {gray:.3f} "
                f"rate {training.course.rate():.2e} {ms:.0f} ms/photo"
            )
            since, sums, steps, first = time.monotonic(), np.zeros(3), 0, photos
        if time.monotonic() - saved > SAVE_SECONDS:
            training.save(folder)
            saved = time.monotonic()


def log(folder: Path, line: str) -> None:
    """A line with the time of day, to the screen and to log.txt."""
    text = f"{time.strftime('%H:%M:%S')} {line}"
    print(text, flush=True)
    with (folder / "log.txt").open("a") as file:
        file.write(text + "\n")


def parse_arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("photos_folder", type=Path, metavar="PHOTOS")
    parser.add_argument("more", type=Path)
    parser.add_argument("state", type=Path)
    parser.add_argument("--encoder", type=Path, help="torchvision's resnet18 weights")
    parser.add_argument("--scene", type=Path, help="go on from experts, as colorization/starter")
    parser.add_argument("--photos", type=int, default=200_000, help="seen in all")
    parser.add_argument("--crop", type=int, default=192, help="a multiple of 32; may change later")
    parser.add_argument("--decay", type=int, default=0, metavar="N")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--seed", type=int, default=0)
    return parser.parse_args()


if __name__ == "__main__":
    main()
