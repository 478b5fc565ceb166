"""The shape of DDColor-T (Kang et al. 2023), for timing: its layers with random weights, 55 M parameters.

Written from the layers' sizes (facts/palette.md); its weights and code are not used, its colours mean
nothing. Legend: N photos, Q colour queries.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

_WIDTHS = (96, 192, 384, 768)
_QUERIES, _HIDDEN, _HEADS, _FEEDFORWARD, _LAYERS = 100, 256, 8, 2048, 9


class DDColorShape(nn.Module):
    """RGB-replicated L, float32 (N, 3, S, S), S a multiple of 32 → ab (N, 2, S, S)."""

    def __init__(self) -> None:
        super().__init__()
        from torchvision.models import convnext_tiny

        self.encoder = convnext_tiny(weights=None).features
        self.ups = nn.ModuleList([_Up(768, 384, 512), _Up(512, 192, 512), _Up(512, 96, 256)])
        self.last = _Shuffle(256, 256, 4)
        self.project = nn.ModuleList(nn.Conv2d(width, _HIDDEN, 1) for width in (512, 512, 256))
        self.level = nn.Parameter(torch.zeros(3, _HIDDEN))
        self.query = nn.Parameter(torch.randn(_QUERIES, _HIDDEN))
        self.layers = nn.ModuleList(_QueryLayer() for _ in range(_LAYERS))
        self.norm = nn.LayerNorm(_HIDDEN)
        self.embed = nn.Sequential(
            *(nn.Linear(_HIDDEN, _HIDDEN), nn.ReLU(), nn.Linear(_HIDDEN, _HIDDEN), nn.ReLU()),
            nn.Linear(_HIDDEN, _HIDDEN),
        )
        self.refine = nn.Conv2d(_QUERIES + 3, 2, 1)

    def forward(self, rgb_N3SS: Tensor) -> Tensor:
        x, skips = rgb_N3SS, []
        for number, stage in enumerate(self.encoder):
            x = stage(x)
            if number % 2:
                skips.append(x)
        *skips, x = skips
        scales = []
        for up, skip in zip(self.ups, reversed(skips), strict=True):
            x = up(x, skip)
            scales.append(x)
        full = self.last(x)
        query = self.query.expand(len(x), -1, -1)
        memory = [
            (project(scale) + level[:, None, None]).flatten(2).transpose(1, 2)
            for project, scale, level in zip(self.project, scales, self.level, strict=True)
        ]
        for number, layer in enumerate(self.layers):
            query = layer(query, memory[number % 3])
        colours = torch.einsum("nqc,nchw->nqhw", self.embed(self.norm(query)), full)
        ab: Tensor = self.refine(torch.cat([colours, rgb_N3SS], dim=1))
        return ab


class _Shuffle(nn.Module):
    """1×1 convolution, pixel shuffle."""

    def __init__(self, before: int, after: int, scale: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(before, after * scale**2, 1)
        self.shuffle = nn.PixelShuffle(scale)

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.shuffle(self.conv(x)))


class _Up(nn.Module):
    """Twice as large, beside the encoder's features, one 3×3 convolution."""

    def __init__(self, before: int, skip: int, after: int) -> None:
        super().__init__()
        self.up = _Shuffle(before, after, 2)
        self.norm = nn.BatchNorm2d(skip)
        self.conv = nn.Conv2d(after + skip, after, 3, padding=1)

    def forward(self, x: Tensor, skip: Tensor) -> Tensor:
        joined = F.relu(torch.cat([self.up(x), self.norm(skip)], dim=1))
        return F.relu(self.conv(joined))


class _QueryLayer(nn.Module):
    """Queries look at the picture, at each other, and think."""

    def __init__(self) -> None:
        super().__init__()
        self.look = nn.MultiheadAttention(_HIDDEN, _HEADS, batch_first=True)
        self.talk = nn.MultiheadAttention(_HIDDEN, _HEADS, batch_first=True)
        self.think = nn.Sequential(
            nn.Linear(_HIDDEN, _FEEDFORWARD), nn.ReLU(), nn.Linear(_FEEDFORWARD, _HIDDEN)
        )
        self.norms = nn.ModuleList(nn.LayerNorm(_HIDDEN) for _ in range(3))

    def forward(self, query: Tensor, memory: Tensor) -> Tensor:
        query = self.norms[0](query + self.look(query, memory, memory, need_weights=False)[0])
        query = self.norms[1](query + self.talk(query, query, query, need_weights=False)[0])
        out: Tensor = self.norms[2](query + self.think(query))
        return out
