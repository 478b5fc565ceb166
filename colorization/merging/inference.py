"""One gray photo of any size to ab at its full size, through segmenter, experts and merge.

L → network size (short side 256, aspect kept, reflect-padded to a multiple of 32) → weights →
experts → merge in ab → full size, in `colorization.colour.full_size`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from colorization.categories import CATEGORY_NAMES, REST
from colorization.colour.evidence import evidence
from colorization.colour.full_size import reduced_L
from colorization.colour.lab import Float, Pixels, normalize_L
from colorization.compute import autocast, place, resolve_precision
from colorization.merging.hinting import Hint, hint_channels, spread_hints
from colorization.merging.merge import (
    certain_share,
    disagreement,
    drop_absent,
    merge,
    refine_weights,
)
from colorization.merging.options import MergeOptions
from colorization.merging.segmentation import Segmenter
from colorization.networks.contract import EncodedColorizer

MULTIPLE = 32
_MOST_ASPECT, _MOST_MULTIPLES = 4, 64


@dataclass(frozen=True, slots=True)
class Prediction:
    """What the networks say of one photo, at network size."""

    ab: Tensor
    """float32 (1, 2, h, w), Lab units: merged."""
    weight: Tensor
    """float32 (1, K, h, w), sum 1 over K."""
    single: Tensor
    """float32 (1, 2, h, w): the one expert with the largest share, for comparison."""
    shares: dict[str, float]
    """Category → mean weight over the photo."""
    uncertainty: Tensor | None = None
    """float32 (1, 1, h, w), Lab units, where it was asked for: how far the experts that a pixel mixes,
    and the photo and its mirror image, are apart."""
    blank: bool = False
    """Whether nothing is to be seen, so that it stays gray but for hints."""


class MergedColorizer:
    """Experts by category, a segmenter, and how to merge them.

    experts: category name → network. segmenter: None when there is a single expert to use
    everywhere.
    """

    def __init__(
        self,
        experts: Mapping[str, nn.Module],
        segmenter: Segmenter,
        *,
        merge: MergeOptions = MergeOptions(),  # noqa: B008 - frozen
        short_side: int = 256,
        uncertainty: bool = False,
        precision: str = "auto",
        device: str = "cpu",
    ) -> None:
        self.experts = {name: network.eval() for name, network in experts.items()}
        self.segmenter = segmenter
        self.merge, self.short_side = merge, short_side
        self.uncertainty = uncertainty or merge.abstain > 0
        share_encoders(list(self.experts.values()))
        self._asked_precision = precision
        self._move(device)

    def _move(self, device: str) -> None:
        """Run on a device from now on."""
        self.device, self.precision = device, resolve_precision(self._asked_precision, device)
        for network in self.experts.values():
            place(network, device)
        if isinstance(self.segmenter, nn.Module):
            place(self.segmenter, device)

    def predict(self, L: Float, hints: Sequence[Hint] = ()) -> Prediction:
        """Colours of one photo at network size.

        L: float32 (H, W), 0..100, of any size. hints: see `colorization.merging.hinting`. A photo for which a
        GPU has not the memory is predicted on the CPU. Raises torch.OutOfMemoryError, or RuntimeError
        with the words of torch's CPU allocator, where there is no memory either.
        """
        try:
            return self._predict(L, hints)
        except torch.OutOfMemoryError:
            if self.device == "cpu":
                raise
        gpu = self.device
        self._move("cpu")
        torch.cuda.empty_cache()
        try:
            return self._predict(L, hints)
        finally:
            self._move(gpu)

    @torch.inference_mode()
    def _predict(self, L: Float, hints: Sequence[Hint]) -> Prediction:
        L_11hw = _network_size(torch.from_numpy(L)[None, None].to(self.device), self.short_side)
        found = self._merged(L_11hw, hints)
        if self.uncertainty:
            mirrored = [replace(hint, across=1 - hint.across) for hint in hints]
            other = self._merged(L_11hw.flip(-1), mirrored).ab.flip(-1)
            apart = (found.ab - other).square().sum(dim=1, keepdim=True)
            assert found.uncertainty is not None
            found = replace(found, uncertainty=(found.uncertainty.square() + apart).sqrt())
        if self.merge.abstain:
            assert found.uncertainty is not None
            found = replace(
                found, ab=found.ab * certain_share(found.uncertainty, self.merge.abstain)
            )
        found = _by_evidence(found, L_11hw)
        return replace(found, ab=spread_hints(found.ab, L_11hw, hints))

    def _merged(self, L_11hw: Tensor, hints: Sequence[Hint]) -> Prediction:
        """What the networks say; uncertainty: how far the experts that a pixel mixes are apart."""
        padded, (height, width) = _pad(L_11hw)
        weight = self._weight(padded)[..., :height, :width]
        weight = refine_weights(weight, L_11hw, self.merge)
        weight = drop_absent(weight, set(self.experts), self.merge.threshold)
        wanted = weight.amax(dim=(0, 2, 3)) > 0
        names = {k: name for k, name in enumerate(CATEGORY_NAMES) if wanted[k]}
        channels = F.pad(
            hint_channels(hints, height, width).to(self.device),
            (0, padded.shape[-1] - width, 0, padded.shape[-2] - height),
        )
        with autocast(self.precision, self.device):
            ab = self._experts_ab(normalize_L(padded), channels, list(names.values()))
        experts_ab = {k: ab[name].float()[..., :height, :width] for k, name in names.items()}
        shares = weight.mean(dim=(0, 2, 3)).tolist()
        strongest = max(experts_ab, key=lambda k: shares[k])
        merged = merge(experts_ab, weight)
        return Prediction(
            ab=merged,
            weight=weight,
            single=experts_ab[strongest],
            shares=dict(zip(CATEGORY_NAMES, shares, strict=True)),
            uncertainty=disagreement(experts_ab, weight, merged) if self.uncertainty else None,
        )

    def _weight(self, padded: Tensor) -> Tensor:
        """What the segmenter says; one that is no module cannot be moved, and works on the CPU."""
        seen = padded if isinstance(self.segmenter, nn.Module) else padded.cpu()
        with autocast(self.precision, self.device):
            return self.segmenter(seen).float().to(self.device)

    def _experts_ab(
        self, L_norm: Tensor, hints_13hw: Tensor, names: Sequence[str]
    ) -> dict[str, Tensor]:
        """ab of some experts; an encoder that some of them share runs once."""
        L_norm = L_norm.contiguous(memory_format=torch.channels_last)
        features: dict[nn.Module, Sequence[Tensor]] = {}
        ab = {}
        for name in names:
            expert = self.experts[name]
            if isinstance(expert, EncodedColorizer):
                if expert.encoder not in features:
                    features[expert.encoder] = expert.encoder(L_norm)
                ab[name] = expert.decode(features[expert.encoder], L_norm.shape[-2:])
            elif getattr(expert, "takes_hints", False):
                ab[name] = expert(L_norm, hints_13hw)
            else:
                ab[name] = expert(L_norm)
        return ab

    def look(
        self, pixels: Pixels, *, alpha: Pixels | None = None, hints: Sequence[Hint] = ()
    ) -> Prediction:
        """What the networks say of a photo at its full size.

        pixels: uint8 or uint16, (H, W) gray or (H, W, 3) RGB, sRGB-encoded. alpha: (H, W).
        """
        height, width = pixels.shape[:2]
        size = network_size(height, width, self.short_side)
        return self.predict(reduced_L(pixels, alpha, size), hints)


def _by_evidence(found: Prediction, L_11hw: Tensor) -> Prediction:
    """No colour where nothing is to be seen."""
    shares = evidence(np.ascontiguousarray(L_11hw[0, 0].float().cpu().numpy()))
    if shares.min() >= 1:
        return found
    spread = F.interpolate(
        torch.from_numpy(shares)[None, None].to(found.ab.device),
        size=found.ab.shape[-2:],
        mode="bilinear",
        align_corners=False,
    )
    return replace(found, ab=found.ab * spread, blank=not shares.any())


def share_encoders(networks: Sequence[nn.Module]) -> None:
    """Give networks whose encoders hold equal weights one of them in common."""
    kept: list[nn.Module] = []
    for network in networks:
        if isinstance(network, EncodedColorizer):
            twin = next((other for other in kept if _equal(other, network.encoder)), None)
            if twin is None:
                kept.append(network.encoder)
            else:
                network.encoder = twin


def _equal(first: nn.Module, second: nn.Module) -> bool:
    """Whether two modules hold the same tensors."""
    own, other = first.state_dict(), second.state_dict()
    return own.keys() == other.keys() and all(torch.equal(own[key], other[key]) for key in own)


def single_expert_segmenter(L_N1HW: Tensor, /) -> Tensor:
    """A segmenter that gives every pixel to the rest category: for one expert everywhere."""
    photos, _, height, width = L_N1HW.shape
    weight = L_N1HW.new_zeros(photos, len(CATEGORY_NAMES), height, width)
    weight[:, CATEGORY_NAMES.index(REST)] = 1
    return weight


def network_size(height: int, width: int, short_side: int) -> tuple[int, int]:
    """Height and width at which the networks see a photo.

    The short side is `short_side` and the aspect kept, but for photos longer than 4:1, which are
    reduced further so that they cost no more than one of 4:1; no side is under MULTIPLE or over
    64 × MULTIPLE.
    """
    scale = short_side / min(height, width)
    area = scale * scale * height * width
    scale *= min(1.0, math.sqrt(_MOST_ASPECT * short_side * short_side / area))
    rows, columns = (
        min(max(MULTIPLE, round(side * scale)), _MOST_MULTIPLES * MULTIPLE)
        for side in (height, width)
    )
    return rows, columns


def _network_size(L_11HW: Tensor, short_side: int) -> Tensor:
    """Resize to the size of the networks, antialiased."""
    height, width = L_11HW.shape[-2:]
    size = network_size(height, width, short_side)
    if size == (height, width):
        return L_11HW
    return F.interpolate(
        L_11HW, size=list(size), mode="bilinear", align_corners=False, antialias=True
    )


def _pad(L_11hw: Tensor) -> tuple[Tensor, tuple[int, int]]:
    """Reflect-pad right and below to a multiple of MULTIPLE. Returns it and the size before."""
    height, width = L_11hw.shape[-2:]
    padded = F.pad(L_11hw, (0, -width % MULTIPLE, 0, -height % MULTIPLE), mode="reflect")
    return padded, (height, width)
