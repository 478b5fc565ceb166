"""One gray photo of any size to ab at its full size, through segmenter, experts and merge.

L → network size (short side 256, aspect kept, reflect-padded to a multiple of 32) → weights →
experts → merge in ab → full size, in `colorization.full_size`.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import cast

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from colorization.categories import CATEGORY_NAMES, REST
from colorization.compute import autocast, place, resolve_precision
from colorization.full_size import colour_strips, reduced_L
from colorization.lab import Float, Pixels, normalize_L
from colorization.merging import drop_absent, merge, refine_weights
from colorization.networks.contract import EncodedColorizer
from colorization.segmentation import Segmenter

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


class MergedColorizer:
    """Experts by category, a segmenter, and how to merge them.

    experts: category name → network. segmenter: None when there is a single expert to use
    everywhere. threshold: an expert whose weight nowhere exceeds it is not run.
    """

    def __init__(
        self,
        experts: Mapping[str, nn.Module],
        segmenter: Segmenter,
        *,
        merge_mode: str = "soft",
        threshold: float = 0.1,
        short_side: int = 256,
        precision: str = "auto",
        device: str = "cpu",
    ) -> None:
        self.experts = {name: network.eval() for name, network in experts.items()}
        self.segmenter = segmenter
        self.merge_mode, self.threshold, self.short_side = merge_mode, threshold, short_side
        self.shares_encoder = share_encoder(list(self.experts.values()))
        self._asked_precision = precision
        self._move(device)

    def _move(self, device: str) -> None:
        """Run on a device from now on."""
        self.device, self.precision = device, resolve_precision(self._asked_precision, device)
        for network in self.experts.values():
            place(network, device)
        if isinstance(self.segmenter, nn.Module):
            place(self.segmenter, device)

    def predict(self, L: Float) -> Prediction:
        """Colours of one photo at network size.

        L: float32 (H, W), 0..100, of any size. A photo for which a GPU has not the memory is
        predicted on the CPU. Raises torch.OutOfMemoryError, or RuntimeError with the words of
        torch's CPU allocator, where there is no memory either.
        """
        try:
            return self._predict(L)
        except torch.OutOfMemoryError:
            if self.device == "cpu":
                raise
        gpu = self.device
        self._move("cpu")
        torch.cuda.empty_cache()
        try:
            return self._predict(L)
        finally:
            self._move(gpu)

    @torch.inference_mode()
    def _predict(self, L: Float) -> Prediction:
        L_11hw = _network_size(torch.from_numpy(L)[None, None].to(self.device), self.short_side)
        padded, (height, width) = _pad(L_11hw)
        with autocast(self.precision, self.device):
            weight = self.segmenter(padded).float()[..., :height, :width]
        weight = refine_weights(weight, L_11hw, self.merge_mode)
        weight = drop_absent(weight, set(self.experts), self.threshold)
        wanted = weight.amax(dim=(0, 2, 3)) > 0
        names = {k: name for k, name in enumerate(CATEGORY_NAMES) if wanted[k]}
        with autocast(self.precision, self.device):
            ab = self._experts_ab(normalize_L(padded), list(names.values()))
        experts_ab = {k: ab[name].float()[..., :height, :width] for k, name in names.items()}
        shares = weight.mean(dim=(0, 2, 3)).tolist()
        strongest = max(experts_ab, key=lambda k: shares[k])
        return Prediction(
            ab=merge(experts_ab, weight),
            weight=weight,
            single=experts_ab[strongest],
            shares=dict(zip(CATEGORY_NAMES, shares, strict=True)),
        )

    def _experts_ab(self, L_norm: Tensor, names: Sequence[str]) -> dict[str, Tensor]:
        """ab of some experts; an encoder that they share runs once."""
        L_norm = L_norm.contiguous(memory_format=torch.channels_last)
        if not self.shares_encoder:
            return {name: self.experts[name](L_norm) for name in names}
        encoded = [cast(EncodedColorizer, self.experts[name]) for name in names]
        features, size = encoded[0].encoder(L_norm), L_norm.shape[-2:]
        return {n: e.decode(features, size) for n, e in zip(names, encoded, strict=True)}

    def colorize(
        self,
        pixels: Pixels,
        dtype: type[np.uint8] | type[np.uint16],
        *,
        alpha: Pixels | None = None,
        keep_toning: bool = False,
    ) -> Iterator[Pixels]:
        """Colour one photo. Yields its strips, (rows, W, 3) of `dtype`, from top to bottom.

        pixels: uint8 or uint16, (H, W) gray or (H, W, 3) RGB, sRGB-encoded, at full size. alpha:
        (H, W), for the networks only. keep_toning: see `colour_strips`.
        """
        height, width = pixels.shape[:2]
        L = reduced_L(pixels, alpha, network_size(height, width, self.short_side))
        ab = self.predict(L).ab
        return colour_strips(pixels, ab, dtype, keep_toning=keep_toning)


def share_encoder(networks: Sequence[nn.Module]) -> bool:
    """Let networks whose encoders hold equal weights share one of them. Returns whether they do."""
    encoders = [n.encoder.state_dict() for n in networks if isinstance(n, EncodedColorizer)]
    if len(encoders) < 2 or len(encoders) < len(networks):
        return False
    first, *others = encoders
    equal = all(
        first.keys() == other.keys() and all(torch.equal(first[key], other[key]) for key in first)
        for other in others
    )
    if equal:
        for network in networks[1:]:
            network.encoder = cast(EncodedColorizer, networks[0]).encoder
    return equal


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
