"""Losses on colours. ab: float32 (N, 2, H, W), Lab units; each returns a scalar."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from colorization.colour.lab import AB_OFFSET

PRIOR_RANGE = 110.0
"""The semantic prior's table spans ab of −110..110."""


def l2(predicted: Tensor, truth: Tensor) -> Tensor:
    """Half the squared Euclidean distance of each pixel's ab (paper section 2.1), averaged.

    The paper sums over pixels; the mean differs by the constant H·W and keeps the loss readable.
    """
    return 0.5 * (predicted - truth).pow(2).sum(dim=1).mean()


def l1(predicted: Tensor, truth: Tensor) -> Tensor:
    """Mean absolute difference of a and b (tried in paper section 2.1)."""
    return F.l1_loss(predicted, truth)


def huber(predicted: Tensor, truth: Tensor, beta: float) -> Tensor:
    """Square below `beta` Lab units, straight above (Huber 1964), averaged over a and b."""
    return F.huber_loss(predicted, truth, delta=beta)


def bin_cross_entropy(
    logits: Tensor,
    truth: Tensor,
    codes: tuple[Tensor, Tensor],
    bin_weight: Tensor,
    temperature: float,
) -> Tensor:
    """Cross-entropy against soft-coded bins, rare ones weighted (Zhang et al. 2016, equation 2).

    logits: float32 (N, Q, h, w), whose softmax is the annealed distribution, so what is trained is
    softmax(temperature · logits). truth: ab, averaged down to (h, w). codes: `bins.soft_codes` as
    tensors. bin_weight: float32 (Q,).
    """
    ab = F.interpolate(truth, logits.shape[-2:], mode="area")
    stored = (ab + AB_OFFSET).round().clamp(0, 255).long()
    pixel = stored[:, 0] * 256 + stored[:, 1]
    index, share = codes[0][pixel], codes[1][pixel]
    log_p = (logits * temperature).log_softmax(dim=1)
    picked = log_p.gather(1, index.permute(0, 3, 1, 2))
    entropy = -(share.permute(0, 3, 1, 2) * picked).sum(dim=1)
    return (entropy * bin_weight[index[..., 0]]).mean()


def semantic_prior(predicted: Tensor, L_norm: Tensor, labels: Tensor, table: Tensor) -> Tensor:
    """−log p(ab | label, L) of the predicted colours: what such a thing usually looks like.

    The paper's proposal (section 2.1): "include the semantic prior information we already have
    about a certain picture, e.g. the grass in the majority of the cases is green". L_norm: float32
    (N, 1, H, W). labels: int64 (N,). table: float32 (C, D, A, B) of −log p over L, a and b.
    """
    at = torch.cat([predicted.flip(1) / PRIOR_RANGE, L_norm * 2], dim=1)  # (b, a, L), each −1..1
    grid = at.permute(0, 2, 3, 1)[:, None]
    volume = table[labels][:, None]
    found = F.grid_sample(volume, grid, mode="bilinear", padding_mode="border", align_corners=True)
    return found.mean()


def lab_colourfulness(ab: Tensor) -> Tensor:
    """Colourfulness of each photo in Lab (Hasler and Süsstrunk 2003, M¹). Returns float32 (N,)."""
    mean = ab.mean(dim=(2, 3))
    spread = (ab - mean[..., None, None]).pow(2).mean(dim=(2, 3)).sum(dim=1)
    return (spread + 1e-6).sqrt() + 0.37 * (mean.pow(2).sum(dim=1) + 1e-6).sqrt()


def colourfulness_hinge(predicted: Tensor, target: float) -> Tensor:
    """How far a photo's colourfulness stays below `target`, in Lab units; more is not punished."""
    return F.relu(target - lab_colourfulness(predicted)).mean()


def discriminator_loss(real: Tensor, fake: Tensor) -> Tensor:
    """Least squares (Mao et al. 2017): real patches towards 1, fake ones towards 0."""
    return 0.5 * ((real - 1).pow(2).mean() + fake.pow(2).mean())


def generator_loss(fake: Tensor) -> Tensor:
    """Least squares: the discriminator should take the colours for real ones."""
    return 0.5 * (fake - 1).pow(2).mean()
