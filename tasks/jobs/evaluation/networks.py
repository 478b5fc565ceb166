"""The networks of an evaluation, loaded once in the Dask worker's process."""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from chromaflow.library.networks import load_colorizer, load_weights
from colorization.categories import REST
from colorization.merging.experts import share_encoders
from colorization.merging.inference import MergedColorizer, single_expert_segmenter
from colorization.merging.options import MergeOptions
from colorization.merging.segmentation import CoarseSegmenter
from colorization.metrics.lpips import LPIPS
from colorization.networks.contract import EncodedColorizer
from storage.errors import DamagedError
from tasks.jobs.evaluation.items import SystemSpec
from tasks.jobs.models import load_segmenter

_ALONE = MergeOptions(feather=0)


class Remembering(nn.Module):
    """A network that keeps its last answer: systems that share it have each photo seen once."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network
        self._question: Tensor | None = None
        self._stride = 1
        self._answer: Any = None
        self._seconds = 0.0
        self.saved_seconds = 0.0
        """What answers that were at hand would have taken, in all."""

    def forward(self, x: Tensor) -> Any:
        """The network's answer to x, any shape; nobody may write into it."""
        return self._remembered(x, 1, self.network)

    def _remembered(self, x: Tensor, stride: int, ask: Callable[[Tensor], Any]) -> Any:
        known = self._question
        if known is not None and stride == self._stride and torch.equal(x, known):
            self.saved_seconds += self._seconds
            return self._answer
        started = time.perf_counter()
        self._question, self._stride, self._answer = x, stride, ask(x)
        self._seconds = time.perf_counter() - started
        return self._answer


class RememberingSegmenter(Remembering):
    """One that gives coarse weights too."""

    def coarse(self, L_N1HW: Tensor, stride: int, /) -> Tensor:
        """See `colorization.merging.segmentation.CoarseSegmenter`."""
        network = self.network
        assert isinstance(network, CoarseSegmenter)
        answer: Tensor = self._remembered(L_N1HW, stride, lambda L: network.coarse(L, stride))
        return answer


class Systems:
    """The colorizers of several systems; networks with equal weights are held and run once."""

    def __init__(self, specs: Sequence[SystemSpec]) -> None:
        paths = sorted({path for spec in specs for path in spec.networks.values()})
        loaded: dict[str, nn.Module] = {path: load_colorizer(Path(path))[0] for path in paths}
        share_encoders(list(loaded.values()))
        self._remembering: dict[Any, Remembering] = {}
        for path, network in loaded.items():
            if isinstance(network, EncodedColorizer):
                network.encoder = self._remember(network.encoder, network.encoder)
            else:
                loaded[path] = self._remember(path, network)
        self._networks = loaded
        self._colorizers = {
            (spec.name, category): self._colorizer(spec, category)
            for spec in specs
            for category in (spec.networks if spec.merge == "own" else ("",))
        }
        self._experts = {
            (spec.name, category): self._single(spec, path)
            for spec in specs
            for category, path in spec.networks.items()
        }

    def colorizer(self, spec: SystemSpec, category: str) -> MergedColorizer:
        """What a system colours a photo of the category with."""
        own = spec.expert_for(category) if spec.merge == "own" else ""
        return self._colorizers[spec.name, own]

    def expert(self, spec: SystemSpec, category: str) -> MergedColorizer:
        """One of its experts, everywhere in a photo."""
        return self._experts[spec.name, category]

    @property
    def saved_seconds(self) -> float:
        """What networks would have taken whose answers were at hand."""
        return sum(network.saved_seconds for network in self._remembering.values())

    def _colorizer(self, spec: SystemSpec, category: str) -> MergedColorizer:
        if spec.models is None or not spec.is_merged:
            return self._single(spec, spec.networks[category])
        models = spec.models
        segmenter = (
            models.segmenter,
            models.segmenter_weights,
            models.classes,
            models.categories,
        )
        if segmenter in self._remembering:
            seen_by: Any = self._remembering[segmenter]
        else:
            seen_by = load_segmenter(models)
            if isinstance(seen_by, nn.Module):
                seen_by = self._remember(segmenter, seen_by)
        experts = {name: self._networks[path] for name, path in models.experts}
        return MergedColorizer(
            experts,
            seen_by,
            categories=models.categories,
            merge=models.merge,
            short_side=spec.size,
        )

    def _single(self, spec: SystemSpec, path: str) -> MergedColorizer:
        return MergedColorizer(
            {REST: self._networks[path]},
            single_expert_segmenter,
            merge=_ALONE,
            short_side=spec.size,
        )

    def _remember(self, key: Any, network: nn.Module) -> Remembering:
        kind = RememberingSegmenter if isinstance(network, CoarseSegmenter) else Remembering
        return self._remembering.setdefault(key, kind(network))


@lru_cache(maxsize=1)
def load_systems(specs: tuple[SystemSpec, ...]) -> Systems:
    """The colorizers of an evaluation. Raises DamagedError and WeightsMismatchError."""
    return Systems(specs)


@lru_cache(maxsize=1)
def load_lpips(files: tuple[str, str]) -> LPIPS:
    """files: of AlexNet's features and of the heads. Raises DamagedError, WeightsMismatchError."""
    features, heads = (load_weights(Path(path))[0] for path in files)
    return LPIPS(features, heads)


@lru_cache(maxsize=1)
def load_inception(path: str) -> Any:
    """A TorchScript network, fp32 on the CPU: (N, 3, 299, 299), −1..1, to features (N, D).

    Raises DamagedError.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch.jit.load is deprecated; the package has no other
        try:
            return torch.jit.load(path, map_location="cpu").eval()
        except RuntimeError as error:
            raise DamagedError(
                f"Expected a TorchScript network in {path}, got: {str(error)[:200]}. Install it "
                "again, or name another file."
            ) from error
