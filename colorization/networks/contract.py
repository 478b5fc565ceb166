"""What every colorizer network does, and what some say beside ab while they learn.

Legend of shape suffixes in this package: N photos, H, W pixels; the digit is the number of channels.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from colorization.errors import ConfigError
from colorization.networks.palettes import Palettes


@dataclass(frozen=True, slots=True)
class Outputs:
    """What a network says of a batch while it learns."""

    ab: Tensor
    """float32 (N, 2, H, W), Lab units."""
    bin_logits: Tensor | None = None
    """float32 (N, Q, h, w): scores of the network's ab bins, at its own resolution."""
    scene_logits: Tensor | None = None
    """float32 (N, C): scores of the photo's label."""


class Colorizer(nn.Module):
    """L_norm float32 (N, 1, H, W), −0.5..0.5, any H, W ≥ 32, → ab float32 (N, 2, H, W), Lab units."""

    bins: str | None = None
    """Which ab bins the network classifies, a name of `colorization.colour.bins`; None: it regresses ab."""
    ab_from_bins = False
    """Whether ab is the mean of the bins, so that classifying them teaches the whole network."""
    encoder_prefix = "encoder."
    """Of the parameters that `encoder_lr_factor` slows down."""
    takes_hints = False
    """Whether `outputs` and `forward` take hints, float32 (N, 3, H, W): a, b, and 1 where there is a hint."""

    def outputs(self, L_norm_N1HW: Tensor, hints_N3HW: Tensor | None = None) -> Outputs:
        """ab, and what the losses need beside it."""
        return Outputs(ab=self(L_norm_N1HW))

    def load_encoder(self, state: Mapping[str, Tensor]) -> None:
        """Start the encoder from torchvision's resnet18 weights. Raises ConfigError without one."""
        encoder = getattr(self, "encoder", None)
        if encoder is None:
            raise ConfigError(
                f"Expected a network with a ResNet-18 encoder, got {type(self).__name__}. "
                'Use train.init = "scratch", or another network.'
            )
        encoder.load_backbone(state)


class EncodedColorizer(Colorizer, ABC):
    """A colorizer in two parts, so that several whose encoders are equal can run it once."""

    encoder: nn.Module
    """L_norm → features, one tensor a stage."""

    @abstractmethod
    def decode(self, features: Sequence[Tensor], size: torch.Size) -> Tensor:
        """ab (N, 2, *size), Lab units, from the encoder's features."""

    def forward(self, L_norm_N1HW: Tensor) -> Tensor:
        """L_norm: float32 (N, 1, H, W), H and W ≥ 32. Returns ab (N, 2, H, W) in Lab units."""
        return self.decode(self.encoder(L_norm_N1HW), L_norm_N1HW.shape[-2:])


class PaletteColorizer(EncodedColorizer):
    """A colorizer whose colours follow a palette, with a head for each category that it knows."""

    palettes: Palettes
    num_heads: int

    @abstractmethod
    def decode(
        self,
        features: Sequence[Tensor],
        size: torch.Size,
        palette: Tensor | None = None,
        heads: Tensor | None = None,
    ) -> Tensor:
        """ab (N, 2, *size), Lab units. palette, heads: see `decode_quarter`; without a palette the mean."""

    @abstractmethod
    def decode_quarter(
        self, features: Sequence[Tensor], code: Tensor, heads: Tensor | None = None
    ) -> Tensor:
        """ab (N, 2, ⌈H/4⌉, ⌈W/4⌉), Lab units.

        code: float32 (N, P + 1), of `palettes.code_of`. heads: int64 (N,), each photo's; None: the
        first one's.
        """

    @abstractmethod
    def liven(self, factor: Tensor, palette_gain: Tensor) -> None:
        """Multiply each head's colours, (heads,), and further those that follow a palette."""

    @staticmethod
    @abstractmethod
    def heads_of(state: Mapping[str, Tensor]) -> int:
        """How many heads a state dict holds; 0 for one of another network."""

    @staticmethod
    @abstractmethod
    def head_of(state: Mapping[str, Tensor], number: int) -> dict[str, Tensor]:
        """The state dict of one head's network, from that of a network with several."""

    def forward(self, L_norm_N1HW: Tensor, heads: Tensor | None = None) -> Tensor:
        """The mean colours. L_norm: float32 (N, 1, H, W), H and W ≥ 32. heads: int64 (N,), each photo's;
        None: the first one's. Returns ab (N, 2, H, W) in Lab units.
        """
        features = self.encoder(L_norm_N1HW)
        return self.decode(features, L_norm_N1HW.shape[-2:], None, heads)
