"""What says which palette: the posterior sees a photo's colours, the prior only its features.

Legend: N photos, P numbers of a palette, Q entries of a codebook.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from colorization.networks.palette_choice import CODEBOOK_SIZE, PALETTE_SIZE
from colorization.networks.residual import STAGE_CHANNELS

_AB_SCALE = 30.0
"""Lab units for each unit of what the posterior sees."""
_WIDTH, _POOLED, _PRIOR_WIDTH = 96, 2, 256
_FEATURE_SHARE = 0.2
"""On the first layer as it begins: 256 features would drown the two colours."""


class PalettePosterior(nn.Module):
    """The palette of a photo whose colours are known: of a training photo, or of a reference.

    Each number is normalised over the batch before tanh. Without that palettes began 0.002 apart, far
    less than the noise that training adds, or, begun further apart, ran into tanh's ends and stayed.
    """

    def __init__(self) -> None:
        super().__init__()
        first = nn.Conv2d(2 + STAGE_CHANNELS[3], _WIDTH, 3, padding=1)
        with torch.no_grad():
            first.weight[:, 2:] *= _FEATURE_SHARE
        self.look = nn.Sequential(
            first,
            nn.ReLU(inplace=True),
            nn.Conv2d(_WIDTH, _WIDTH, 3, padding=1),
            nn.ReLU(inplace=True),
            nn.AdaptiveAvgPool2d(_POOLED),
        )
        self.say = nn.Sequential(
            nn.Linear(_WIDTH * _POOLED**2, _WIDTH),
            nn.ReLU(inplace=True),
            nn.Linear(_WIDTH, PALETTE_SIZE),
        )
        self.spread = nn.BatchNorm1d(PALETTE_SIZE, affine=False)

    def forward(self, features: Sequence[Tensor], ab: Tensor) -> Tensor:
        """features: of the encoder, at strides 2 to 32. ab: (N, 2, H, W), Lab units, of any size.

        Returns float32 (N, P), −1..1. The encoder does not learn from it.
        """
        return self.say_of(features[3], ab)

    def say_of(self, feature: Tensor, ab: Tensor) -> Tensor:
        """As `forward`, of the features at stride 16 alone, (N, C, h, w); both may be parts of a photo."""
        seen = feature.detach()
        pooled = F.interpolate(ab, seen.shape[-2:], mode="area") / _AB_SCALE
        looked = self.look(torch.cat([pooled.to(seen.dtype), seen], dim=1))
        return torch.tanh(self.spread(self.say(looked.flatten(1)).float()))


class PalettePrior(nn.Module):
    """How likely each entry of the codebook is for a gray photo under one category's expert."""

    def __init__(self, num_heads: int = 1, size: int = CODEBOOK_SIZE, dropout: float = 0.5) -> None:
        super().__init__()
        self.drop = nn.Dropout(dropout)
        self.first = nn.Linear(sum(STAGE_CHANNELS[3:]), _PRIOR_WIDTH)
        self.by_head = nn.Parameter(torch.zeros(num_heads, _PRIOR_WIDTH))
        self.last = nn.Linear(_PRIOR_WIDTH, size)

    def forward(self, pooled: Tensor, heads: Tensor | None = None) -> Tensor:
        """pooled: of `pooled_features`. heads: int64 (N,); None: the first one's.

        Returns logits, float32 (N, Q).
        """
        own = self.by_head[:1] if heads is None else self.by_head[heads]
        hidden = F.gelu(self.first(self.drop(pooled)) + own)
        logits: Tensor = self.last(self.drop(hidden))
        return logits


class Palettes(nn.Module):
    """All that says palettes, as one part of a network: posterior, codebook and prior."""

    codebook: Tensor
    """float32 (Q, P); zeros before it is fitted (`colorization.training.palette_fitting`)."""
    gain: Tensor
    """float32 (heads,): on the colours that follow a palette. Those of a likely one are a mean of many, and
    duller than any of them."""

    def __init__(self, num_heads: int = 1) -> None:
        super().__init__()
        self.posterior = PalettePosterior()
        self.prior = PalettePrior(num_heads)
        self.register_buffer("codebook", torch.zeros(CODEBOOK_SIZE, PALETTE_SIZE))
        self.register_buffer("gain", torch.ones(num_heads))

    @property
    def fitted(self) -> bool:
        """Whether there is a codebook, and with it a prior."""
        return bool(self.codebook.any())


def code_of(palette: Tensor | None, num_photos: int, *, device: str = "cpu") -> Tensor:
    """What conditions the decoder: the palette, and 1 where it is not known.

    palette: float32 (N, P) or (P,), about −1..1; None: not known. Returns float32 (num_photos, P + 1).
    """
    if palette is None:
        code = torch.zeros(num_photos, PALETTE_SIZE + 1, device=device)
        code[:, -1] = 1
        return code
    return F.pad(palette.expand(num_photos, PALETTE_SIZE), (0, 1))


def pooled_features(features: Sequence[Tensor]) -> Tensor:
    """Means over the photo of the encoder's two coarsest stages. Returns float32 (N, 768)."""
    return torch.cat([f.float().mean(dim=(2, 3)) for f in features[3:]], dim=1)


def cluster_palettes(
    palettes: Tensor, size: int = CODEBOOK_SIZE, *, rounds: int = 50, seed: int = 0
) -> Tensor:
    """A codebook: k-means (Lloyd 1982) of palettes, begun by k-means++ (Arthur and Vassilvitskii 2007).

    palettes: float32 (N, P), N ≥ size. Returns float32 (size, P). Raises ValueError for too few.
    """
    if len(palettes) < size:
        raise ValueError(f"Expected {size} palettes or more, got {len(palettes)}.")
    generator = torch.Generator().manual_seed(seed)
    centres = _spread(palettes, size, generator)
    for _ in range(rounds):
        nearest = nearest_entry(palettes, centres)
        counts = torch.bincount(nearest, minlength=size)
        sums = torch.zeros_like(centres).index_add_(0, nearest, palettes)
        kept = (counts == 0)[:, None]
        moved = torch.where(kept, centres, sums / counts.clamp(min=1)[:, None])
        if torch.equal(moved, centres):
            break
        centres = moved
    return centres


def _spread(palettes: Tensor, size: int, generator: torch.Generator) -> Tensor:
    """Entries drawn one after the other, each by its squared distance to those before."""
    first = int(torch.randint(len(palettes), (), generator=generator))
    chosen = [first]
    distance = (palettes - palettes[first]).square().sum(dim=1)
    while len(chosen) < size:
        weight = distance if distance.sum() > 0 else torch.ones_like(distance)
        chosen.append(int(torch.multinomial(weight, 1, generator=generator)))
        away = (palettes - palettes[chosen[-1]]).square().sum(dim=1)
        distance = torch.minimum(distance, away)
    return palettes[chosen].clone()


def nearest_entry(palettes: Tensor, codebook: Tensor) -> Tensor:
    """Which entry of the codebook is nearest to each palette. Returns int64 (N,)."""
    return torch.cdist(palettes, codebook).argmin(dim=1)
