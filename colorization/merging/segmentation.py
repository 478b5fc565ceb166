"""Segmenters: gray photo in, one weight a category out (paper section 3.1, figure 6).

Contract: L float32 (N, 1, H, W), 0..100, → weight float32 (N, K, H, W), sum 1 over the K
categories that they were built for, in their order. They see the gray photo only; the authors fed the colour
photo (facts/colorization.md), which an archive does not have.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import Protocol, runtime_checkable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from colorization.categories import PAPER, Categories
from colorization.colour.lab import L_MAX, normalize_L
from colorization.errors import ConfigError, WeightsMismatchError
from colorization.merging.deeplab import GrayDeepLab
from colorization.merging.runtimes import Runtime, run_by
from colorization.merging.segmenter_names import SEGMENTER_NAMES


class Segmenter(Protocol):
    """What every segmenter does."""

    def __call__(self, L_N1HW: Tensor, /) -> Tensor:
        """L to weight_NKHW."""
        ...


@runtime_checkable
class CoarseSegmenter(Protocol):
    """What a segmenter may do besides."""

    def coarse(self, L_N1HW: Tensor, stride: int, /) -> Tensor:
        """L to weights of every `stride` × `stride` pixels, (N, K, H / stride, W / stride)."""
        ...


class StarterSegmenter(nn.Module):
    """The segmenter that comes with the package."""

    ENLARGED, MULTIPLE = 1.125, 8
    """What the network sees: the photo enlarged about so much, to sides that are multiples."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network.eval()

    def run_by(self, runtime: Runtime) -> None:
        """Have a runtime run the network."""
        self.network = run_by(runtime, self.network)

    def forward(self, L_N1HW: Tensor, /) -> Tensor:
        """L to weight_NKHW."""
        return self.coarse(L_N1HW, 1)

    def coarse(self, L_N1HW: Tensor, stride: int, /) -> Tensor:
        """See `CoarseSegmenter`. H and W: multiples of `stride`."""
        size = L_N1HW.shape[-2:]
        seen = [self.MULTIPLE * round(self.ENLARGED * side / self.MULTIPLE) for side in size]
        L_norm = F.interpolate(normalize_L(L_N1HW), seen, mode="bilinear")
        logits = self.network(L_norm).float()
        wanted = [side // stride for side in size]
        weight: Tensor = F.interpolate(logits, wanted, mode="bilinear").softmax(dim=1)
        return weight


class TorchvisionSegmenter(nn.Module):
    """An official torchvision network over VOC's classes, fed with gray as RGB.

    Probabilities of the classes that one category owns are added up, by class id. owner: of each
    class, one of num_categories.
    """

    MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)

    def __init__(self, network: nn.Module, owner: list[int], num_categories: int) -> None:
        super().__init__()
        self.network = network.eval()
        self.num_categories = num_categories
        self.owner: Tensor
        self.register_buffer("owner", torch.tensor(owner))

    def forward(self, L_N1HW: Tensor, /) -> Tensor:
        """L to weight_NKHW."""
        gray = (L_N1HW / L_MAX).expand(-1, 3, -1, -1)
        mean = gray.new_tensor(self.MEAN)[:, None, None]
        std = gray.new_tensor(self.STD)[:, None, None]
        classes: Tensor = self.network((gray - mean) / std)["out"].float().softmax(dim=1)
        weight = classes.new_zeros(len(classes), self.num_categories, *classes.shape[-2:])
        return weight.index_add_(1, self.owner, classes)


def build_segmenter(
    name: str,
    state: Mapping[str, Tensor],
    classes: Mapping[str, str] | None = None,
    categories: Categories = PAPER,
) -> Segmenter:
    """A segmenter with its weights loaded.

    name: of SEGMENTER_NAMES. state: its state dict. classes: VOC class → category, where it is to be
    another than `categories` says; for torchvision's. Raises ConfigError for an unknown name and
    WeightsMismatchError for weights of another network.
    """
    if name not in SEGMENTER_NAMES:
        raise ConfigError(f"Expected a segmenter of {', '.join(SEGMENTER_NAMES)}; got {name!r}.")
    if name == "starter":
        network: nn.Module = GrayDeepLab(categories)
    else:
        from torchvision.models import segmentation

        build = getattr(segmentation, name.split(":", 1)[1])
        extra = {} if "lraspp" in name else {"aux_loss": True}
        network = build(weights=None, weights_backbone=None, num_classes=21, **extra)
    try:
        network.load_state_dict(dict(state))
    except RuntimeError as error:
        raise WeightsMismatchError(
            f"Expected weights of segmenter {name}, got others: {str(error)[:200]}. "
            "Name the segmenter that they belong to."
        ) from error
    if name == "starter":
        return StarterSegmenter(network)
    return TorchvisionSegmenter(network, categories.owners(moved=classes), len(categories))


def import_segmenter(name: str, weights: Path | None, categories: Categories = PAPER) -> Segmenter:
    """Somebody's own segmenter: MODULE:CLASS, called with the path of its weights, if there are any.

    It is tried on a small photo. Raises ConfigError where it cannot be imported, and
    WeightsMismatchError where it does not keep the contract of this module.
    """
    module, _, attribute = name.partition(":")
    try:
        build = getattr(import_module(module), attribute)
    except (ImportError, AttributeError) as error:
        raise ConfigError(
            f"Expected to import segmenter {name}, got: {error}. Put its folder on PYTHONPATH."
        ) from error
    segmenter: Segmenter = build(weights) if weights else build()
    with torch.inference_mode():
        weight = segmenter(torch.linspace(0, L_MAX, 64 * 96).reshape(1, 1, 64, 96))
    expected = (1, len(categories), 64, 96)
    if tuple(weight.shape) != expected or not torch.allclose(
        weight.float().sum(dim=1), torch.ones(1, 64, 96), atol=1e-2
    ):
        raise WeightsMismatchError(
            f"Expected segmenter {name} to give weights {expected} that sum to 1 over "
            f"{', '.join(categories.names)}, in this order; got {tuple(weight.shape)} with "
            f"sums of {float(weight.sum(1).min()):.2f}..{float(weight.sum(1).max()):.2f}."
        )
    return segmenter
