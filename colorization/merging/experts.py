"""The experts of a merge: which share an encoder, which are decoded in one pass, what each says of photos."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from colorization.compute import place
from colorization.merging.hinting import Hint, hint_channels
from colorization.merging.runtimes import Runtime, run_by
from colorization.merging.scene import STRIDE, Scenes
from colorization.merging.scene_palettes import Palette, ScenePalettes
from colorization.networks.contract import EncodedColorizer
from colorization.networks.palettes import code_of
from colorization.networks.unet_scene import SceneColorizer

Features = dict[nn.Module, Sequence[Tensor]]


class Experts:
    """Networks by category. Equal encoders become one, and heads of one training one network."""

    def __init__(self, experts: Mapping[str, nn.Module]) -> None:
        self.by_name = {name: network.eval() for name, network in experts.items()}
        self.palettes = ScenePalettes(self.by_name)
        share_encoders(list(self.by_name.values()))
        alike = {n: e for n, e in self.by_name.items() if isinstance(e, SceneColorizer)}
        self._joined = SceneColorizer.joined(list(alike.values())) if alike else None
        self._heads = {name: k for k, name in enumerate(alike)} if self._joined else {}

    @property
    def all_joined(self) -> bool:
        """Whether one pass decodes all of them, at a quarter of the size."""
        return len(self._heads) == len(self.by_name)

    def run_by(self, runtime: Runtime) -> None:
        """Have a runtime run the encoders."""
        networks = [e for e in self.by_name.values() if isinstance(e, EncodedColorizer)]
        encoders = {network.encoder for network in networks}
        wrapped = {encoder: run_by(runtime, encoder) for encoder in encoders}
        for network in (*networks, *([self._joined] if self._joined else [])):
            network.encoder = wrapped[network.encoder]

    def move(self, device: str) -> None:
        """To another device, in channels_last."""
        for network in (*self.by_name.values(), *([self._joined] if self._joined else [])):
            place(network, device)

    def encoded(self, L_norm: Tensor, names: set[str]) -> Features:
        """What the encoders of some experts say of photos, by encoder."""
        features: Features = {}
        for expert in (self.by_name[name] for name in sorted(names)):
            if isinstance(expert, EncodedColorizer) and expert.encoder not in features:
                features[expert.encoder] = expert.encoder(L_norm)
        return features

    def colours(
        self,
        scenes: Scenes,
        hints: Sequence[Sequence[Hint]],
        palettes: Sequence[Palette | None],
    ) -> list[dict[int, Tensor]]:
        """ab of each expert that matters by its category's number, (1, 2, h, w) as `scenes.weight` is, for
        each photo. hints, palettes: of each photo. Several photos ask for experts that are all joined.
        """
        found: list[dict[int, Tensor]] = [{} for _ in scenes.names]
        for number, k, ab in self._decoded_together(scenes, palettes):
            found[number][k] = ab
        if self.all_joined:
            return found
        ((names, own, palette),) = zip(scenes.names, found, palettes, strict=True)
        left = {k: name for k, name in names.items() if k not in own}
        own |= {k: self._alone(name, scenes, hints[0], palette) for k, name in left.items()}
        return [{k: own[k] for k in names}]

    def _decoded_together(
        self, scenes: Scenes, palettes: Sequence[Palette | None]
    ) -> list[tuple[int, int, Tensor]]:
        """Number of the photo, of the category, and ab."""
        network = self._joined
        ways = [
            (number, k, self._heads[name])
            for number, names in enumerate(scenes.names)
            for k, name in names.items()
            if name in self._heads
        ]
        if network is None or not ways:
            return []
        photos = torch.tensor([number for number, _, _ in ways], device=scenes.L_norm.device)
        heads = torch.tensor([head for _, _, head in ways], device=photos.device)
        codes = [
            code_of(p.numbers if p and self.palettes else None, 1, device=str(photos.device))
            for p in palettes
        ]
        several = photos if len(scenes.names) > 1 else None
        features = scenes.features[network.encoder]
        quarter = network.decode_quarter(features, torch.cat(codes)[photos], heads, several).float()
        if scenes.stride == STRIDE:
            ab = quarter[..., : scenes.weight.shape[-2], : scenes.weight.shape[-1]]
        else:
            ab = _cropped(_enlarged(quarter, scenes), scenes)
        return [(number, k, ab[row, None]) for row, (number, k, _) in enumerate(ways)]

    def _alone(
        self, name: str, scenes: Scenes, hints: Sequence[Hint], palette: Palette | None
    ) -> Tensor:
        """ab of one expert for the one photo."""
        expert, L_norm = self.by_name[name], scenes.L_norm
        if isinstance(expert, EncodedColorizer):
            features = scenes.features[expert.encoder]
            follows = self.palettes.experts.get(name) if palette else None
            if palette and follows:
                ab = follows.decode(features, L_norm.shape[-2:], palette.numbers)
            else:
                ab = expert.decode(features, L_norm.shape[-2:])
        elif getattr(expert, "takes_hints", False):
            height, width = scenes.size
            pad = (0, L_norm.shape[-1] - width, 0, L_norm.shape[-2] - height)
            channels = F.pad(hint_channels(hints, height, width).to(L_norm.device), pad)
            ab = expert(L_norm, channels)
        else:
            ab = expert(L_norm)
        return _cropped(ab.float(), scenes)


def _enlarged(quarter: Tensor, scenes: Scenes) -> Tensor:
    return F.interpolate(quarter, scenes.L_norm.shape[-2:], mode="bicubic", align_corners=False)


def _cropped(ab: Tensor, scenes: Scenes) -> Tensor:
    height, width = scenes.size
    return ab[..., :height, :width]


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
