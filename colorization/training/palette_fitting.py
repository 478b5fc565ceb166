"""Codebook and prior of a scene network, fitted to training photos once its colours are learnt.

Legend: N photos, P numbers of a palette, Q entries of the codebook.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from colorization.networks.contract import PaletteColorizer
from colorization.networks.palette_choice import CODEBOOK_SIZE
from colorization.networks.palettes import (
    PalettePrior,
    cluster_palettes,
    nearest_entry,
    pooled_features,
)

_HELD_OUT = 0.1
_EPOCHS, _BATCH, _RATE, _DECAY = 80, 64, 1e-3, 0.05


@dataclass(frozen=True, slots=True)
class Looked:
    """What encoder and posterior say of photos whose colours are known."""

    pooled: Tensor
    """float32 (N, 768), of `pooled_features`."""
    palettes: Tensor
    """float32 (N, P)."""
    heads: Tensor
    """int64 (N,)."""


@dataclass(frozen=True, slots=True)
class PriorScores:
    """How well a prior knows photos that it was not fitted to."""

    epoch: int
    cross_entropy: float
    """Nats; a prior that knows nothing has ln Q, 3.87 of 48."""
    first: float
    """Share of the photos whose entry is the likeliest one."""
    among_five: float
    """Share of those whose entry is one of the five likeliest."""

    def __str__(self) -> str:
        return (
            f"epoch {self.epoch}, cross-entropy {self.cross_entropy:.2f}, "
            f"first {self.first:.0%}, among five {self.among_five:.0%}"
        )


@torch.inference_mode()
def look(
    network: PaletteColorizer, batches: Iterable[tuple[Tensor, Tensor, Tensor]], device: str = "cpu"
) -> Looked:
    """Run encoder and posterior over batches of L_norm, ab and heads (`scene_losses` says their shapes)."""
    network.eval()
    pooled, palettes, every = [], [], []
    for L_norm, ab, heads in batches:
        features = network.encoder(L_norm.to(device))
        pooled.append(pooled_features(features).cpu())
        palettes.append(network.palettes.posterior(features, ab.to(device)).cpu())
        every.append(heads)
    # what is made in inference mode cannot be learnt from; copies can
    return Looked(torch.cat(pooled).clone(), torch.cat(palettes).clone(), torch.cat(every).clone())


def fit_palettes(network: PaletteColorizer, looked: Looked, seed: int = 0) -> PriorScores | None:
    """Give a network its codebook and its prior. Returns what the prior knows of photos held out.

    Of fewer photos than a codebook has entries none can be made: the network then has none, and None is
    returned.
    """
    palettes = network.palettes
    if len(looked.palettes) < CODEBOOK_SIZE:
        palettes.codebook.zero_()
        return None
    codebook = cluster_palettes(looked.palettes, CODEBOOK_SIZE, seed=seed)
    prior, scores = _fitted_prior(looked, codebook, network.num_heads, seed)
    palettes.codebook.copy_(codebook)
    palettes.prior.load_state_dict(prior.state_dict())
    return scores


def _fitted_prior(
    looked: Looked, codebook: Tensor, num_heads: int, seed: int
) -> tuple[PalettePrior, PriorScores]:
    """The prior of the epoch that knows photos held out best; it overfits soon."""
    generator = torch.Generator().manual_seed(seed)
    target = nearest_entry(looked.palettes, codebook)
    order = torch.randperm(len(target), generator=generator)
    num_held = max(1, int(len(order) * _HELD_OUT))
    held, learnt = order[:num_held], order[num_held:]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        prior = PalettePrior(num_heads)
        optimizer = torch.optim.AdamW(prior.parameters(), lr=_RATE, weight_decay=_DECAY)
        best, kept = None, {}
        for epoch in range(1, _EPOCHS + 1):
            prior.train()
            for rows in learnt[torch.randperm(len(learnt))].split(_BATCH):
                logits = prior(looked.pooled[rows], looked.heads[rows])
                loss = F.cross_entropy(logits, target[rows])
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
            scores = _judge(prior.eval(), looked, target, held, epoch)
            if best is None or scores.cross_entropy < best.cross_entropy:
                best = scores
                kept = {key: value.clone() for key, value in prior.state_dict().items()}
    prior.load_state_dict(kept)
    assert best is not None
    return prior, best


@torch.no_grad()
def _judge(
    prior: PalettePrior, looked: Looked, target: Tensor, rows: Tensor, epoch: int
) -> PriorScores:
    logits = prior(looked.pooled[rows], looked.heads[rows])
    right = logits.topk(5, dim=1).indices == target[rows][:, None]
    return PriorScores(
        epoch=epoch,
        cross_entropy=float(F.cross_entropy(logits, target[rows])),
        first=float(right[:, 0].float().mean()),
        among_five=float(right.any(dim=1).float().mean()),
    )
