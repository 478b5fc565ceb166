"""One palette for all experts of a photo, so that merged parts agree in light (docs/decisions/028).

Experts that were trained together have codebook and posterior in common; those of another training, and
networks that know no palettes, give their mean colours.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from colorization.networks.contract import PaletteColorizer
from colorization.networks.palette_choice import PaletteChoice, code_of_palette
from colorization.networks.palettes import pooled_features

Features = Mapping[nn.Module, Sequence[Tensor]]
"""By encoder, what it says of a photo."""


@dataclass(frozen=True, slots=True)
class Palette:
    """One palette."""

    numbers: Tensor
    """float32 (P,)."""

    @property
    def code(self) -> str:
        """As people write it."""
        return code_of_palette(self.numbers.tolist())


class ScenePalettes:
    """Of the experts of a merge those that take one palette, and how likely each palette is.

    experts: category name → network.
    """

    def __init__(self, experts: Mapping[str, nn.Module]) -> None:
        follow = {
            name: network
            for name, network in experts.items()
            if isinstance(network, PaletteColorizer) and network.palettes.fitted
        }
        first = next(iter(follow.values()), None)
        self.experts = {
            name: network
            for name, network in follow.items()
            if first is not None and _of_one_training(network, first)
        }

    def __bool__(self) -> bool:
        return bool(self.experts)

    @property
    def _first(self) -> PaletteColorizer:
        return next(iter(self.experts.values()))

    def likelihood(self, features: Features, shares: Mapping[str, float]) -> Tensor:
        """How likely each entry of the codebook is for a photo, float32 (Q,), sum 1.

        shares: category → how much of the photo is its. The experts' priors are mixed by them.
        """
        total = torch.zeros(len(self._first.palettes.codebook), device=self._device)
        for name, network in self.experts.items():
            if network.encoder in features:
                pooled = pooled_features(features[network.encoder])
                own = network.palettes.prior(pooled)[0].float().softmax(dim=0)
                total = total + max(shares.get(name, 0.0), 0.0) * own
        return total / total.sum().clamp(min=1e-9)

    def likely(self, likelihood: Tensor, count: int) -> list[Palette]:
        """The likeliest entries, best first; of equal ones the earlier."""
        order = likelihood.argsort(descending=True, stable=True)[:count]
        return [self.entry(int(i) + 1) for i in order]

    def entry(self, number: int) -> Palette:
        """Of the codebook, from 1."""
        return Palette(self._first.palettes.codebook[number - 1].float())

    def chosen(self, choice: PaletteChoice, likelihood: Tensor) -> Palette | None:
        """The palette that a choice means for a photo; None for the mean colours.

        likely: the mean of the codebook's entries, weighted by how likely each is.
        """
        if choice.likely:
            return Palette(likelihood @ self._first.palettes.codebook.float())
        if choice.entry:
            return self.entry(choice.entry)
        if choice.numbers:
            return Palette(torch.tensor(choice.numbers, device=self._device))
        return None

    def of_photo(self, L_norm_11HW: Tensor, ab_12HW: Tensor) -> Palette:
        """The palette of a photo whose colours are known."""
        network = self._first
        features = network.encoder(L_norm_11HW)
        return Palette(network.palettes.posterior(features, ab_12HW)[0])

    @property
    def _device(self) -> torch.device:
        return self._first.palettes.codebook.device


def _of_one_training(network: PaletteColorizer, first: PaletteColorizer) -> bool:
    own, other = network.palettes, first.palettes
    return own.codebook.shape == other.codebook.shape and torch.equal(own.codebook, other.codebook)
