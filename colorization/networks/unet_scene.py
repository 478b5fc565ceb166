"""A U-Net whose colours follow a palette: 8 numbers that say which colouring of a scene is meant.

Legend: N photos, C channels, K heads, P numbers of a palette. The palette enters by FiLM (Perez et al.
2018) after each normalisation of the decoder: x · (1 + γ) + β, γ and β linear in the palette.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from colorization.networks.contract import PaletteColorizer
from colorization.networks.encoder import ResNet18Encoder
from colorization.networks.palette_choice import PALETTE_SIZE
from colorization.networks.palettes import Palettes, code_of
from colorization.networks.residual import STAGE_CHANNELS
from colorization.networks.unet18 import HEAD_GAIN

DECODER_WIDTHS = (160, 128, 64)
"""At strides 16, 8 and 4. Wide where the pictures are small: four of them cost under 1.3 times those of
`unet18-stride4` (docs/decisions/028)."""


class SceneColorizer(PaletteColorizer):
    """ResNet-18 U-Net decoding to a quarter of the size, conditioned on a palette.

    Without a palette it gives the mean colours. 13.7 M parameters with one head, 7.4 GFLOPs at 256².
    num_heads: how many categories learn at once. They share encoder and convolutions; the FiLM, the last
    convolution and a term of the prior are each head's own, so that `one_head` of a trained network is a
    network of its own.
    """

    def __init__(self, num_heads: int = 1) -> None:
        super().__init__()
        self.encoder = ResNet18Encoder(depth=4)
        skips = STAGE_CHANNELS[1:4][::-1]
        befores = (STAGE_CHANNELS[4], *DECODER_WIDTHS)
        self.ups = nn.ModuleList(
            _Up(before, skip, after, num_heads)
            for before, skip, after in zip(befores, skips, DECODER_WIDTHS, strict=False)
        )
        self.head = _Head(DECODER_WIDTHS[-1], num_heads)
        self.palettes = Palettes(num_heads)
        self.num_heads = num_heads

    def decode(
        self,
        features: Sequence[Tensor],
        size: torch.Size,
        palette: Tensor | None = None,
        heads: Tensor | None = None,
    ) -> Tensor:
        """ab (N, 2, *size), Lab units. palette, heads: see `decode_quarter`."""
        ab = self.decode_quarter(features, code_of(palette, len(features[0])), heads)
        return F.interpolate(ab, size, mode="bicubic", align_corners=False)

    def decode_quarter(
        self,
        features: Sequence[Tensor],
        code: Tensor,
        heads: Tensor | None = None,
        photos: Tensor | None = None,
    ) -> Tensor:
        """ab (N, 2, ⌈H/4⌉, ⌈W/4⌉), Lab units.

        code: float32 (N, P + 1), of `code_of`. heads: int64 (N,), each photo's; None: the first one's.
        features may be those of fewer photos that are decoded in N ways: what no code decides is done once.
        photos: int64 (N,), of which one each way is; None: of one photo, or each of its own.
        """
        if heads is None:
            heads = torch.zeros(len(code), dtype=torch.long, device=code.device)
        *skips, x = features
        for up, skip in zip(self.ups, reversed(skips), strict=False):
            x = up(x, skip, code, heads, photos)
        gain = torch.where(code[:, -1] > 0, 1.0, self.palettes.gain[heads]) * HEAD_GAIN
        return self.head.of(x, heads) * gain[:, None, None, None]

    def one_head(self, number: int) -> SceneColorizer:
        """A network with one of the heads and copies of all that they share."""
        network = SceneColorizer()
        network.load_state_dict(self.head_of(self.state_dict(), number))
        return network.train(self.training)

    @torch.no_grad()
    def liven(self, factor: Tensor, palette_gain: Tensor) -> None:
        """Multiply each head's colours, (heads,), and further those that follow a palette."""
        rows = factor.repeat_interleave(2)
        self.head.weight.mul_(rows[:, None, None, None])
        assert self.head.bias is not None
        self.head.bias.mul_(rows)
        self.palettes.gain.mul_(palette_gain)

    @staticmethod
    def joined(networks: Sequence[SceneColorizer]) -> SceneColorizer | None:
        """One network with the heads of several with one each; None where their other weights differ.

        They share an encoder already (`colorization.merging.inference.share_encoders`).
        """
        if any(network.encoder is not networks[0].encoder for network in networks):
            return None
        states = [network.state_dict() for network in networks]
        state: dict[str, Tensor] = {}
        for key, value in states[0].items():
            every = [one[key] for one in states]
            if key.startswith("encoder."):
                continue
            if _is_of_head(key):
                state[key] = torch.cat(every)
            elif all(torch.equal(value, other) for other in every):
                state[key] = value
            else:
                return None
        network = SceneColorizer(num_heads=len(networks))
        network.load_state_dict(state, strict=False)  # the encoder is taken as it is
        network.encoder = networks[0].encoder
        return network.eval()

    @staticmethod
    def heads_of(state: Mapping[str, Tensor]) -> int:
        """How many heads a state dict holds; 0 for one of another network."""
        return len(state.get("palettes.prior.by_head", ()))

    @staticmethod
    def head_of(state: Mapping[str, Tensor], number: int) -> dict[str, Tensor]:
        """The state dict of one head's network, from that of a network with several."""
        return {key: _of_head(key, value, number) for key, value in state.items()}


def _is_of_head(key: str) -> bool:
    return ".film." in key or key.endswith((".by_head", ".gain")) or key.startswith("head.")


def _of_head(key: str, value: Tensor, number: int) -> Tensor:
    if not _is_of_head(key):
        return value
    rows = 2 if key.startswith("head.") else 1
    return value[rows * number : rows * (number + 1)].clone()


class _Film(nn.Module):
    """γ and β of each channel, linear in the code; zero at first. Returns them as (N, C, 1, 1)."""

    def __init__(self, channels: int, num_heads: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(num_heads, 2 * channels, PALETTE_SIZE + 1))
        self.bias = nn.Parameter(torch.zeros(num_heads, 2 * channels))

    def forward(self, code: Tensor, heads: Tensor) -> tuple[Tensor, Tensor]:
        """code: (N, P + 1). heads: int64 (N,)."""
        both = torch.einsum("ncp,np->nc", self.weight[heads], code) + self.bias[heads]
        gamma, beta = both[..., None, None].chunk(2, dim=1)
        return gamma, beta


class _Conditioned(nn.Module):
    """3×3 convolution, BatchNorm, FiLM, ReLU."""

    def __init__(self, before: int, after: int, num_heads: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(before, after, 3, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(after)
        self.film = _Film(after, num_heads)

    def forward(
        self,
        x: Tensor,
        code: Tensor,
        heads: Tensor,
        skip: Tensor | None = None,
        photos: Tensor | None = None,
    ) -> Tensor:
        """skip: further channels. It and x are of the photos, or x already of all ways to decode them."""
        gamma, beta = self.film(code, heads)
        x = self.conv(x) if skip is None else self._convolved(x, skip, photos)
        if self.training:
            return F.relu(torch.addcmul(beta, self.norm(x), 1 + gamma), inplace=True)
        return F.relu(self._as_one(x, gamma, beta), inplace=True)

    def _convolved(self, x: Tensor, skip: Tensor, photos: Tensor | None) -> Tensor:
        """Which way is taken hangs on no number of photos, so that each is as in any other company."""
        if photos is None and len(x) == len(skip):
            out: Tensor = self.conv(torch.cat([x, skip], dim=1))
            return out
        of_x, of_skip = self.conv.weight.split([x.shape[1], skip.shape[1]], dim=1)
        own, common = F.conv2d(x, of_x, padding=1), F.conv2d(skip, of_skip, padding=1)
        if photos is None:
            return own + common
        return (own[photos] if len(own) == len(common) else own) + common[photos]

    def _as_one(self, x: Tensor, gamma: Tensor, beta: Tensor) -> Tensor:
        """Normalisation and FiLM in one pass over the pixels."""
        n = self.norm
        assert n.running_var is not None and n.running_mean is not None
        scale = n.weight * (n.running_var + n.eps).rsqrt()
        shift = n.bias - n.running_mean * scale
        gamma = 1 + gamma
        factor = gamma * scale[:, None, None]
        term = gamma * shift[:, None, None] + beta
        return torch.addcmul(term.to(x.dtype), x, factor.to(x.dtype))


class _Up(nn.Module):
    """Bilinear ×2, concatenate the encoder's features of that size, two conditioned convolutions."""

    def __init__(self, before: int, skip: int, after: int, num_heads: int) -> None:
        super().__init__()
        self.first = _Conditioned(before + skip, after, num_heads)
        self.second = _Conditioned(after, after, num_heads)

    def forward(
        self, x: Tensor, skip: Tensor, code: Tensor, heads: Tensor, photos: Tensor | None = None
    ) -> Tensor:
        x = F.interpolate(x, size=skip.shape[-2:], mode="bilinear", align_corners=False)
        x = self.first(x, code, heads, skip, photos)
        out: Tensor = self.second(x, code, heads)
        return out


class _Head(nn.Conv2d):
    """3×3 convolution to ab, another one for each head."""

    def __init__(self, before: int, num_heads: int) -> None:
        super().__init__(before, 2 * num_heads, kernel_size=3, padding=1)

    def of(self, x: Tensor, heads: Tensor) -> Tensor:
        """x: (N, C, h, w). heads: int64 (N,). Returns (N, 2, h, w); the others' are next to free."""
        every = self(x).unflatten(1, (-1, 2))
        chosen: Tensor = every[torch.arange(len(x), device=x.device), heads]
        return chosen
