"""What joint training asks of a scene network: the mean colours, and those of a palette, at once."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from colorization.networks.contract import PaletteColorizer
from colorization.networks.palettes import code_of
from colorization.training.losses import huber
from colorization.training.recipe_fields import Objective

_STRIDE = 4
"""The decoder's; there its colours are compared, without interpolating them first."""


@dataclass(frozen=True, slots=True)
class SceneLosses:
    """Of one batch."""

    total: Tensor
    unknown: Tensor
    """Huber of the mean colours."""
    known: Tensor
    """Huber of the colours of the true palette."""


def scene_losses(
    network: PaletteColorizer,
    L_norm: Tensor,
    ab: Tensor,
    heads: Tensor,
    objective: Objective,
    generator: torch.Generator | None = None,
) -> SceneLosses:
    """Both ways through the decoder on one way through the encoder, which costs most.

    L_norm: float32 (N, 1, H, W), N ≥ 2, H and W multiples of 32. ab: (N, 2, H, W), Lab units. heads:
    int64 (N,). generator: of the noise and of what the posterior is shown.
    """
    features = network.encoder(L_norm)
    palette = network.palettes.posterior.say_of(*_view(features[3], ab, objective, generator))
    noise = torch.randn(palette.shape, generator=generator).to(palette.device)
    code = torch.cat(
        [
            code_of(None, len(ab), device=str(ab.device)),
            code_of(palette + objective.palette_noise * noise, len(ab)),
        ]
    )
    twice = [features[0], *(torch.cat([f, f]) for f in features[1:])]  # stride 2 is not decoded
    mean, chosen = network.decode_quarter(twice, code, heads.repeat(2)).float().chunk(2)
    truth = F.avg_pool2d(ab, _STRIDE)
    unknown = huber(mean, truth, objective.huber_beta)
    known = huber(chosen, truth, objective.huber_beta)
    total = unknown + objective.known * known
    return SceneLosses(total, unknown.detach(), known.detach())


def _view(
    feature: Tensor, ab: Tensor, objective: Objective, generator: torch.Generator | None
) -> tuple[Tensor, Tensor]:
    """What the posterior is shown: the whole photos, or a part, half of them mirrored.

    feature: the encoder's at stride 16, (N, C, h, w). ab: (N, 2, H, W). Returns both, cut alike.
    """
    drawn = torch.rand(5, generator=generator).tolist()
    if drawn[0] >= objective.palette_view:
        return feature, ab
    rows = _part(feature.shape[2], objective.palette_part, drawn[1], drawn[2])
    columns = _part(feature.shape[3], objective.palette_part, drawn[3], drawn[4])
    down, across = ab.shape[2] // feature.shape[2], ab.shape[3] // feature.shape[3]
    whole = slice(rows.start * down, rows.stop * down)
    wide = slice(columns.start * across, columns.stop * across)
    feature, ab = feature[:, :, rows, columns], ab[:, :, whole, wide]
    mirrored = (torch.rand(len(ab), generator=generator) < 0.5).to(ab.device)[:, None, None, None]
    return (
        torch.where(mirrored, feature.flip(-1), feature),
        torch.where(mirrored, ab.flip(-1), ab),
    )


def _part(length: int, least: float, size: float, place: float) -> slice:
    """A part of a side. size, place: random, 0..1."""
    kept = min(length, math.ceil(length * (least + (1 - least) * size)))
    first = round((length - kept) * place)
    return slice(first, first + kept)
