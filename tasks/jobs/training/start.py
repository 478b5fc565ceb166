"""What a training starts from: the network and its weights, what its objective needs of the photos."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from chromaflow.library.networks import category_state, joint_state, load_state, load_weights
from colorization.networks import LABELS, build_network, networks_that
from colorization.networks.contract import Colorizer, PaletteColorizer
from colorization.training.loop import Trainer
from colorization.training.objective import needs_statistics
from colorization.training.perceptual import PerceptualDistance
from colorization.training.recipe_fields import Recipe
from colorization.training.statistics import ColourStatistics, colour_statistics
from storage.errors import UsageError
from tasks.jobs.stage_items import TrainItem
from tasks.jobs.training.loading import Split

_STATISTICS_PHOTOS = 2048


def build_trainer(item: TrainItem, train: Split) -> Trainer:
    """A trainer at its first step; the same for the same item."""
    recipe = Recipe.from_dict(item.recipe)
    torch.manual_seed(item.seed)
    perceptual = None
    if item.perceptual_weights:
        perceptual = PerceptualDistance(load_weights(Path(item.perceptual_weights))[0])
    return Trainer(
        _initial_network(item, recipe, train),
        recipe,
        num_photos=len(train),
        seed=item.seed,
        device=item.device,
        statistics=_statistics(train) if needs_statistics(recipe.objective) else None,
        perceptual=perceptual,
    )


def num_classes(item: TrainItem, train: Split) -> int:
    """Labels that the network learns: only some can, and one label is none."""
    learns = item.recipe["network"] in networks_that(LABELS) and item.recipe["scene"] > 0
    if not learns:
        return 0
    if len(train.label_names) < 2:
        raise UsageError(
            f"Expected two or more labels of {item.category} for scene over 0, got "
            f"{len(train.label_names)}. Use a dataset with labels, or scene = 0."
        )
    return len(train.label_names)


def num_heads(item: TrainItem) -> int:
    """A head for each category there is, with photos or without, where several learn at once."""
    return len(item.every) if item.categories else 1


def _initial_network(item: TrainItem, recipe: Recipe, train: Split) -> Colorizer:
    network = build_network(
        recipe.network, num_classes=num_classes(item, train), num_heads=num_heads(item)
    )
    if item.init_weights is None:
        return network
    path = Path(item.init_weights)
    weights, metadata = load_weights(path)
    if item.init in ("encoder", "imagenet"):
        network.load_encoder(weights)
        return network
    if isinstance(network, PaletteColorizer) and network.num_heads == 1:
        learns, own = recipe.epochs > 0, item.category
        parent = item.every.parent(own) if own in item.every.names else ""
        weights = category_state(
            network, weights, metadata, own, path, learns=learns, parent=parent
        )
    elif isinstance(network, PaletteColorizer):
        weights = joint_state(network, weights, metadata, item.every, path)
    load_state(network, weights, path, recipe.network)
    return network


def _statistics(train: Split) -> ColourStatistics:
    """Of at most some thousand photos, evenly spread."""
    picked = train.spread(_STATISTICS_PHOTOS)
    parts = np.array_split(picked, -(-len(picked) // 64))
    return colour_statistics((train.batch(part) for part in parts), len(train.label_names))
