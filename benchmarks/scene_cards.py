"""Model cards of scene experts, from what their training and benchmarks/travel.py recorded.

    python benchmarks/scene_cards.py WEIGHTS SCORES

WEIGHTS: what benchmarks/scene_weights.py made; gets CATEGORY.md. SCORES: the file of travel.py --out with
these weights.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from photo_pool import AWAY
from scenes import BATCH, EMA, ENCODER_FACTOR, RATE, WEAR, WEIGHT_DECAY
from travel import SYSTEMS, cell, mean

from colorization.categories import CATEGORY_NAMES, REST
from colorization.training.recipe_fields import Objective
from storage.records.checkpoints import read_provenance
from storage.records.ledger import write_bytes
from tasks.jobs.training.results import card_table

_ROWS = ("gray", "photo mean", *SYSTEMS)


def main() -> None:
    """Write a card a category."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("weights", type=Path)
    parser.add_argument("scores", type=Path)
    arguments = parser.parse_args()
    found = json.loads(arguments.scores.read_text())
    for category in CATEGORY_NAMES:
        known = read_provenance(arguments.weights / f"{category}.safetensors")
        write_bytes(arguments.weights / f"{category}.md", card(category, known, found).encode())
    print(", ".join(f"{category}.md" for category in CATEGORY_NAMES))


def card(category: str, known: dict[str, Any], found: dict[str, Any]) -> str:
    """In Markdown."""
    objective = Objective()
    facts = {
        "network": known["network"],
        "trained together with": ", ".join(name for name in CATEGORY_NAMES if name != category),
        "photos seen": f"{known['photos_seen']:,}, of all categories",
        "seed": known["seed"],
        "prior (codebook of 48)": known["prior"],
    }
    recipe = {
        "loss": f"Huber, β {objective.huber_beta:g}, on ab at a quarter of the size; with the true "
        f"palette the same, times {objective.known:g}",
        "optimizer": f"AdamW, {RATE:g}, encoder {RATE * ENCODER_FACTOR:g}, weight decay "
        f"{WEIGHT_DECAY:g}; constant, then 1 − √",
        "moving average": EMA,
        "batch": ", ".join(f"{count} {name}" for name, count in BATCH.items()) + ", 192² crops",
        "wear of L": f"{WEAR.share:.0%} of the photos: tone, blur, grain, uneven light, scratches",
        "start": "the encoder of the unet18-stride4 experts of 0.1.0, ImageNet-derived before them",
        "command": "benchmarks/starter_experts.py",
    }
    tables = "\n".join(_scores(split, found[f"{split} {category}"]) for split in ("home", "away"))
    return f"""# Colorizer for {category}

| field | value |
|---|---|
{card_table(facts)}

## Data

The project's research photos (6,469 of public repositories on GitHub) but for their validation split, and
34,471 further photographs of seven such repositories, weighed by the square root of a source's size. Most of
these repositories state no licence for the pictures: the weights are for research, and whoever publishes
what they make should know that. No photo of {" or ".join(AWAY[category])} was learned from as {category}.

## Recipe

| key | value |
|---|---|
{card_table(recipe)}

## Scores

256² centre crops under the true L, this expert alone: ab RMSE / ΔE00 / share of the truth's colourfulness.
home: the validation split of the research photos. away: a source that it never learned from.
{tables}

## Limits

- Colours are conjecture: a gray photo does not hold the truth. Do not use them as evidence.
- {_limit(category)}
- The mean (`--palette mean`) is dull; `likely` is livelier and errs more clearly where it errs.
- Vivid things (clothes, cars, painted walls, flowers) come out brown, gray or in a colour of their own choice.
"""


def _limit(category: str) -> str:
    return {
        "people": "Skin tones are learned from mostly light-skinned people: dark skin comes out lighter "
        "in chroma or too red or brown, and faces in strong shadow gray.",
        REST: "It owns everything that is no person, bird or animal: interiors and objects are gray or brown.",
    }.get(
        category,
        "Rare species get the colours of common ones; what surrounds them turns green or brown.",
    )


def _scores(split: str, of_split: dict[str, Any]) -> str:
    scores = of_split["scores"]
    rows = [f"| {name} | {cell(scores, name)} |" for name in _ROWS if name in scores[0]]
    truth = mean(scores, "truth", "colourfulness")
    head = f"\n| {split}, {of_split['photos']} photos (truth's colourfulness {truth:.1f}) | |\n|---|---|\n"
    return head + "\n".join(rows)


if __name__ == "__main__":
    main()
