"""Codebook and prior of trained weights whose colours follow a palette, from the training photos."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping

import torch
from torch import Tensor

from colorization.networks.contract import PaletteColorizer
from colorization.training.feeding import to_tensors
from colorization.training.loop import Trainer
from colorization.training.optimization import keeps_palettes
from colorization.training.palette_fitting import fit_palettes, look
from tasks.jobs.training.loading import Split

_PHOTOS = 8000
_BATCH = 16


def with_palettes(
    trainer: Trainer, weights: Mapping[str, Tensor], train: Split
) -> tuple[Mapping[str, Tensor], dict[str, str]]:
    """Weights with codebook and prior of at most some thousand training photos, evenly spread.

    Weights that have learnt nothing, or on a frozen encoder whose palettes are known, and those of a network
    without palettes are given back as they are.
    Returns with them what there is to say of it, for metadata and card.
    """
    network = trainer.published
    if not isinstance(network, PaletteColorizer):
        return weights, {}
    if not trainer.recipe.epochs or keeps_palettes(network, trainer.recipe.optimization):
        said = "those of the weights that it starts from" if network.palettes.fitted else "none"
        return weights, {"palettes": said}
    network = copy.deepcopy(network)
    network.load_state_dict(dict(weights))
    looked = look(network, _photos(train), trainer.device)
    scores = fit_palettes(network, looked, trainer.seed)
    few = f"none: {len(looked.palettes)} training photos are too few"
    return network.state_dict(), {"palettes": few if scores is None else f"prior: {scores}"}


def _photos(train: Split) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
    """L_norm, ab and heads, a few photos at a time."""
    every = train.spread(_PHOTOS)
    for first in range(0, len(every), _BATCH):
        batch = train.photo_batch(every[first : first + _BATCH])
        heads = torch.zeros(len(batch), dtype=torch.long) if batch.heads is None else batch.heads
        yield *to_tensors(batch.stored), heads
