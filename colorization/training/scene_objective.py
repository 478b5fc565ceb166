"""What joint training asks of a scene network: the mean colours, and those of a palette, at once."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from colorization.networks.palettes import PalettePosterior
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
    posterior: PalettePosterior,
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
    palette = posterior(features, ab)
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
