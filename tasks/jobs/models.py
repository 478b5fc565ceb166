"""Networks from weights files, kept loaded in the Dask worker's process."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from colorization.errors import WeightsMismatchError
from colorization.inference import MergedColorizer
from colorization.networks import build_network
from colorization.segmentation import Segmenter, build_segmenter
from storage.checkpoints import load_checkpoint


@dataclass(frozen=True, kw_only=True)
class ModelSpec:
    """Which models colorize an archive, and how they are merged."""

    experts: tuple[tuple[str, str], ...]
    """(category, weights file) pairs."""
    segmenter: str
    segmenter_weights: str
    merge: str
    threshold: float
    short_side: int
    num_threads: int


def load_colorizer(path: Path) -> tuple[nn.Module, dict[str, Any]]:
    """A trained colorizer in eval mode, and its provenance.

    Raises DamagedError for a broken file, WeightsMismatchError for weights of another network.
    """
    checkpoint = load_checkpoint(path)
    name = checkpoint.metadata.get("network", "unknown")
    network = build_network(name)
    load_state(network, tensors(checkpoint.tensors), path, name)
    return network.eval(), checkpoint.metadata


def load_state(network: nn.Module, state: Mapping[str, Tensor], path: Path, name: str) -> None:
    """Load a state dict strictly. Raises WeightsMismatchError naming file and network."""
    try:
        network.load_state_dict(dict(state))
    except RuntimeError as error:
        raise WeightsMismatchError(
            f"Expected weights of {name} in {path}, got others: {str(error)[:200]}. "
            "Name the network that they were trained with."
        ) from error


def tensors(arrays: Mapping[str, Any]) -> dict[str, Tensor]:
    """A state dict of arrays as tensors."""
    return {key: torch.from_numpy(value) for key, value in arrays.items()}


@lru_cache(maxsize=1)
def load_merged(spec: ModelSpec) -> MergedColorizer:
    """The experts and segmenter of a spec; a worker loads them once and keeps them."""
    torch.set_num_threads(spec.num_threads)
    return MergedColorizer(
        {category: load_colorizer(Path(path))[0] for category, path in spec.experts},
        load_segmenter(spec.segmenter, Path(spec.segmenter_weights)),
        merge_mode=spec.merge,
        threshold=spec.threshold,
        short_side=spec.short_side,
    )


def load_segmenter(name: str, path: Path) -> Segmenter:
    """A segmenter from safetensors, or from torchvision's .pth without running any pickle code."""
    if path.suffix == ".safetensors":
        return build_segmenter(name, tensors(load_checkpoint(path).tensors))
    return build_segmenter(name, torch.load(path, map_location="cpu", weights_only=True))
