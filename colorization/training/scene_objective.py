"""What joint training asks of a scene network: the mean colours, and those of a palette, at once."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from colorization.networks.unet_scene import SceneColorizer, code_of
from colorization.training.losses import huber

_STRIDE = 4
"""The decoder's; there its colours are compared, without interpolating them first."""


@dataclass(frozen=True, kw_only=True, slots=True)
class SceneObjective:
    """Weights and sizes of the terms."""

    huber_beta: float = 5.0
    """Where huber turns from square to straight, in Lab units."""
    known: float = 0.7
    """Weight of the colours of the true palette; those without a palette weigh 1."""
    noise: float = 0.25
    """Standard deviation of what is added to the true palette, so that its neighbours mean the like."""
    other_view: float = 0.5
    """Share of the batches whose palettes are told from a part of each photo, mirrored for half of them,
    so that a palette says what colours things have and not where on the picture they are."""
    least_part: float = 0.5
    """Of height and width, what such a part has at least."""


@dataclass(frozen=True, slots=True)
class SceneLosses:
    """Of one batch."""

    total: Tensor
    unknown: Tensor
    """Huber of the mean colours."""
    known: Tensor
    """Huber of the colours of the true palette."""


def scene_losses(
    network: SceneColorizer,
    L_norm: Tensor,
    ab: Tensor,
    heads: Tensor,
    objective: SceneObjective,
    generator: torch.Generator | None = None,
) -> SceneLosses:
    """Both ways through the decoder on one way through the encoder, which costs most.

    L_norm: float32 (N, 1, H, W), H and W multiples of 4. ab: (N, 2, H, W), Lab units. heads: int64 (N,).
    """
    features = network.encoder(L_norm)
    palette = network.palettes.posterior.say_of(*_view(features[3], ab, objective, generator))
    noise = torch.randn(palette.shape, generator=generator).to(palette.device)
    code = torch.cat(
        [
            code_of(None, len(ab), device=str(ab.device)),
            code_of(palette + objective.noise * noise, len(ab)),
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
    feature: Tensor, ab: Tensor, objective: SceneObjective, generator: torch.Generator | None
) -> tuple[Tensor, Tensor]:
    """What the posterior is shown: the whole photos, or a part, half of them mirrored.

    feature: the encoder's at stride 16, (N, C, h, w). ab: (N, 2, H, W). Returns both, cut alike.
    """
    drawn = torch.rand(5, generator=generator).tolist()
    if drawn[0] >= objective.other_view:
        return feature, ab
    rows = _part(feature.shape[2], objective.least_part, drawn[1], drawn[2])
    columns = _part(feature.shape[3], objective.least_part, drawn[3], drawn[4])
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
