"""One gray photo of any size to ab at its full size, through segmenter, experts and merge.

L at full size → network size (short side 256, aspect kept, reflect-padded to a multiple of 32)
→ weights → experts → merge in ab → bicubic to full size. L itself is never resampled.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from colorization.categories import CATEGORY_NAMES, REST
from colorization.compute import autocast, place, resolve_precision
from colorization.lab import Float, Pixels, fit_chroma, lab_to_rgb, normalize_L
from colorization.merging import drop_absent, merge, refine_weights
from colorization.segmentation import Segmenter

MULTIPLE = 32
STRIP_PIXELS = 1 << 20
"""Lab → RGB works on strips of about this many pixels, so its temporaries stay near 60 MB."""


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
        threshold: float = 0.05,
        short_side: int = 256,
        precision: str = "auto",
        device: str = "cpu",
    ) -> None:
        self.experts = {name: place(network, device).eval() for name, network in experts.items()}
        self.segmenter, self.device = segmenter, device
        self.merge_mode, self.threshold, self.short_side = merge_mode, threshold, short_side
        self.precision = resolve_precision(precision, device)

    @torch.inference_mode()
    def predict(self, L: Float) -> Prediction:
        """Colours of one photo at network size. L: float32 (H, W), 0..100."""
        L_11hw = _network_size(torch.from_numpy(L)[None, None].to(self.device), self.short_side)
        padded, (height, width) = _pad(L_11hw)
        weight = self.segmenter(padded)[..., :height, :width]
        weight = refine_weights(weight, L_11hw, self.merge_mode)
        weight = drop_absent(weight, set(self.experts), self.threshold)
        wanted = weight.amax(dim=(0, 2, 3)) > 0
        L_norm = normalize_L(padded).contiguous(memory_format=torch.channels_last)
        experts_ab: dict[int, Tensor] = {}
        for k, name in enumerate(CATEGORY_NAMES):
            if wanted[k]:
                with autocast(self.precision, self.device):
                    ab = self.experts[name](L_norm)
                experts_ab[k] = ab.float()[..., :height, :width]
        shares = weight.mean(dim=(0, 2, 3)).tolist()
        strongest = max(experts_ab, key=lambda k: shares[k])
        return Prediction(
            ab=merge(experts_ab, weight),
            weight=weight,
            single=experts_ab[strongest],
            shares=dict(zip(CATEGORY_NAMES, shares, strict=True)),
        )

    def colorize(self, L: Float, dtype: type[np.uint8] | type[np.uint16]) -> Pixels:
        """Colour one photo. L: float32 (H, W), 0..100, at full size. Returns (H, W, 3) of dtype."""
        rgb = np.empty((*L.shape, 3), dtype)
        for rows, ab in full_size_strips(self.predict(L).ab, L.shape):
            L_strip = L[rows]
            rgb[rows] = lab_to_rgb(L_strip, fit_chroma(L_strip, ab), dtype)
        return rgb


def single_expert_segmenter(L_N1HW: Tensor, /) -> Tensor:
    """A segmenter that gives every pixel to the rest category: for one expert everywhere."""
    photos, _, height, width = L_N1HW.shape
    weight = L_N1HW.new_zeros(photos, len(CATEGORY_NAMES), height, width)
    weight[:, CATEGORY_NAMES.index(REST)] = 1
    return weight


def full_size_strips(
    ab_12hw: Tensor, shape: tuple[int, ...]
) -> Iterator[tuple[slice, NDArray[np.float32]]]:
    """Bring ab to full size bicubically (34.7 dB, against nearest's 33.5), strip by strip.

    ab: float32 (1, 2, h, w). shape: (H, W). Yields row slices and float32 (rows, W, 2).
    """
    height, width = shape
    full = F.interpolate(ab_12hw, size=(height, width), mode="bicubic", align_corners=False)
    rows = max(1, STRIP_PIXELS // width)
    for top in range(0, height, rows):
        strip = slice(top, min(top + rows, height))
        yield strip, full[0, :, strip].permute(1, 2, 0).contiguous().cpu().numpy()


def _network_size(L_11HW: Tensor, short_side: int) -> Tensor:
    """Resize so that the short side is `short_side`; antialiased; no side under MULTIPLE."""
    height, width = L_11HW.shape[-2:]
    scale = short_side / min(height, width)
    size = [max(MULTIPLE, round(height * scale)), max(MULTIPLE, round(width * scale))]
    if size == [height, width]:
        return L_11HW
    return F.interpolate(L_11HW, size=size, mode="bilinear", align_corners=False, antialias=True)


def _pad(L_11hw: Tensor) -> tuple[Tensor, tuple[int, int]]:
    """Reflect-pad right and below to a multiple of MULTIPLE. Returns it and the size before."""
    height, width = L_11hw.shape[-2:]
    padded = F.pad(L_11hw, (0, -width % MULTIPLE, 0, -height % MULTIPLE), mode="reflect")
    return padded, (height, width)
