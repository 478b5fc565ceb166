"""One gray photo of any size to ab at its full size, through segmenter, experts and merge.

L → network size (short side 256, aspect kept, reflect-padded to a multiple of 32) → weights →
experts → merge in ab → full size, in `colorization.colour.full_size`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from colorization.categories import CATEGORY_NAMES, REST
from colorization.colour.full_size import reduced_L
from colorization.colour.lab import Float, Pixels, normalize_L, rgb_to_lab
from colorization.compute import autocast, place, resolve_precision
from colorization.errors import ConfigError
from colorization.merging.hinting import Hint, hint_channels, spread_hints
from colorization.merging.merge import (
    certain_share,
    disagreement,
    drop_absent,
    merge,
    refine_weights,
)
from colorization.merging.options import MergeOptions
from colorization.merging.prediction import Prediction, Variant
from colorization.merging.scene import Scene, colour_share
from colorization.merging.scene_palettes import Palette, ScenePalettes
from colorization.merging.segmentation import Segmenter
from colorization.merging.sizes import network_size, padded, to_network_size
from colorization.networks.contract import EncodedColorizer
from colorization.networks.palette_choice import PaletteChoice, numbers_of
from colorization.networks.palettes import code_of
from colorization.networks.unet_scene import SceneColorizer

_SPREAD_OVER = 5
"""Likely colourings that the uncertainty looks at."""


class MergedColorizer:
    """Experts by category, a segmenter, and how to merge them.

    experts: category name → network. segmenter: None when there is a single expert to use
    everywhere. palette: which one colours photos for which no other is named. variants: how many further
    colourings are made. Where no expert follows palettes there is the mean only, and no variant.
    """

    def __init__(
        self,
        experts: Mapping[str, nn.Module],
        segmenter: Segmenter,
        *,
        merge: MergeOptions = MergeOptions(),  # noqa: B008 - frozen
        short_side: int = 256,
        uncertainty: bool = False,
        palette: PaletteChoice = PaletteChoice(),  # noqa: B008 - frozen
        variants: int = 0,
        precision: str = "auto",
        device: str = "cpu",
    ) -> None:
        self.experts = {name: network.eval() for name, network in experts.items()}
        self.palettes = ScenePalettes(self.experts)
        self.palette, self.num_variants = palette, variants
        self.segmenter = segmenter
        self.merge, self.short_side = merge, short_side
        self.uncertainty = uncertainty or merge.abstain > 0
        share_encoders(list(self.experts.values()))
        self._joined = _joined(self.experts)
        self._asked_precision = precision
        self._move(device)

    def _move(self, device: str) -> None:
        """Run on a device from now on."""
        self.device, self.precision = device, resolve_precision(self._asked_precision, device)
        joined = [self._joined[1]] if self._joined else []
        for network in (*self.experts.values(), *joined):
            place(network, device)
        if isinstance(self.segmenter, nn.Module):
            place(self.segmenter, device)

    def predict(
        self, L: Float, hints: Sequence[Hint] = (), palette: PaletteChoice | None = None
    ) -> Prediction:
        """Colours of one photo at network size.

        L: float32 (H, W), 0..100, of any size. hints: see `colorization.merging.hinting`. palette: the photo's,
        where it is not that of all. A photo for which a GPU has not the memory is predicted on the CPU. Raises
        torch.OutOfMemoryError, or RuntimeError with the words of torch's CPU allocator, where there is no
        memory either.
        """
        choice = palette or self.palette
        try:
            return self._predict(L, hints, choice)
        except torch.OutOfMemoryError:
            if self.device == "cpu":
                raise
        gpu = self.device
        self._move("cpu")
        torch.cuda.empty_cache()
        try:
            return self._predict(L, hints, choice)
        finally:
            self._move(gpu)

    @torch.inference_mode()
    def _predict(self, L: Float, hints: Sequence[Hint], choice: PaletteChoice) -> Prediction:
        L_11hw = to_network_size(torch.from_numpy(L)[None, None].to(self.device), self.short_side)
        looks_for = choice.likely or self.uncertainty or self.num_variants > 0
        scene = self._see(L_11hw, likelihood=looks_for)
        palette = self.palettes.chosen(choice, scene.likelihood) if self.palettes else None
        experts_ab = self._colours(scene, hints, palette)
        merged = merge(experts_ab, scene.weight)
        strongest = max(experts_ab, key=lambda k: scene.shares[CATEGORY_NAMES[k]])
        uncertainty = None
        if self.uncertainty:
            uncertainty = self._uncertainty(scene, hints, palette, experts_ab, merged)
        kept = None
        if self.merge.abstain:
            assert uncertainty is not None
            kept = certain_share(uncertainty, self.merge.abstain)
        evident = colour_share(L_11hw)

        def finished(ab: Tensor) -> Tensor:
            for share in (kept, evident):
                ab = ab if share is None else ab * share
            return spread_hints(ab, L_11hw, hints)

        return Prediction(
            ab=finished(merged),
            weight=scene.weight,
            single=experts_ab[strongest],
            shares=scene.shares,
            uncertainty=uncertainty,
            blank=evident is not None and not bool(evident.any()),
            palette=palette.code if palette else "",
            variants=tuple(
                Variant(finished(self._merged(scene, hints, variant)), variant.code)
                for variant in self._likely(scene, self.num_variants)
            ),
        )

    def _see(self, L_11hw: Tensor, *, likelihood: bool = True) -> Scene:
        """What segmenter and encoders say of a photo, before it has colours.

        likelihood: whether that of palettes is looked for.
        """
        whole, (height, width) = padded(L_11hw)
        weight = self._weight(whole)[..., :height, :width]
        weight = refine_weights(weight, L_11hw, self.merge)
        weight = drop_absent(weight, set(self.experts), self.merge.threshold)
        wanted = weight.amax(dim=(0, 2, 3)) > 0
        names = {k: name for k, name in enumerate(CATEGORY_NAMES) if wanted[k]}
        shares = dict(zip(CATEGORY_NAMES, weight.mean(dim=(0, 2, 3)).tolist(), strict=True))
        L_norm = normalize_L(whole).contiguous(memory_format=torch.channels_last)
        features: dict[nn.Module, Sequence[Tensor]] = {}
        with autocast(self.precision, self.device):
            for expert in (self.experts[name] for name in names.values()):
                if isinstance(expert, EncodedColorizer) and expert.encoder not in features:
                    features[expert.encoder] = expert.encoder(L_norm)
            every = (
                self.palettes.likelihood(features, shares)
                if self.palettes and likelihood
                else weight.new_zeros(0)
            )
        return Scene(L_norm, (height, width), weight, names, shares, features, every)

    def _likely(self, scene: Scene, count: int) -> list[Palette]:
        return self.palettes.likely(scene.likelihood, count) if self.palettes and count else []

    def _merged(self, scene: Scene, hints: Sequence[Hint], palette: Palette | None) -> Tensor:
        return merge(self._colours(scene, hints, palette), scene.weight)

    def _uncertainty(
        self,
        scene: Scene,
        hints: Sequence[Hint],
        palette: Palette | None,
        experts_ab: dict[int, Tensor],
        merged: Tensor,
    ) -> Tensor:
        """How far what could be said of each pixel is apart, Lab units."""
        mixed = disagreement(experts_ab, scene.weight, merged)
        mirrored_hints = [replace(hint, across=1 - hint.across) for hint in hints]
        mirrored = self._see(scene.L.flip(-1), likelihood=False)
        other = self._merged(mirrored, mirrored_hints, palette).flip(-1)
        square = mixed.square() + (merged - other).square().sum(dim=1, keepdim=True)
        likely = self._likely(scene, _SPREAD_OVER)
        if likely:
            every = torch.stack([self._merged(scene, hints, one) for one in likely])
            share = scene.likelihood.sort(descending=True).values[: len(likely)]
            share = (share / share.sum())[:, None, None, None, None]
            apart = (every - (share * every).sum(dim=0)).square().sum(dim=2, keepdim=True)
            square = square + (share * apart).sum(dim=0)
        return square.sqrt()

    def _colours(
        self, scene: Scene, hints: Sequence[Hint], palette: Palette | None
    ) -> dict[int, Tensor]:
        """ab of each expert that matters, by its category's number."""
        height, width = scene.size
        L_norm = scene.L_norm
        channels = F.pad(
            hint_channels(hints, height, width).to(self.device),
            (0, L_norm.shape[-1] - width, 0, L_norm.shape[-2] - height),
        )
        found = {}
        with autocast(self.precision, self.device):
            together = self._decoded(scene, palette)
            for k, name in scene.names.items():
                expert = self.experts[name]
                if name in together:
                    ab = together[name]
                elif isinstance(expert, EncodedColorizer):
                    ab = expert.decode(scene.features[expert.encoder], L_norm.shape[-2:])
                elif getattr(expert, "takes_hints", False):
                    ab = expert(L_norm, channels)
                else:
                    ab = expert(L_norm)
                found[k] = ab.float()[..., :height, :width]
        return found

    def _decoded(self, scene: Scene, palette: Palette | None) -> dict[str, Tensor]:
        """ab of the experts that are decoded together, or by a palette."""
        size = scene.L_norm.shape[-2:]
        if self._joined:
            numbers, network = self._joined
            names = [name for name in scene.names.values() if name in numbers]
            if names:
                heads = torch.tensor([numbers[name] for name in names], device=self.device)
                given = palette.numbers if palette and self.palettes else None
                code = code_of(given, len(names), device=self.device)
                ab = network.decode_quarter(scene.features[network.encoder], code, heads)
                ab = F.interpolate(ab, size, mode="bicubic", align_corners=False)
                return dict(zip(names, ab.split(1), strict=True))
        follow = self.palettes.experts if palette else {}
        return {
            name: follow[name].decode(scene.features[follow[name].encoder], size, palette.numbers)
            for name in scene.names.values()
            if palette and name in follow
        }

    def likelihood_of(
        self, pixels: Pixels, alpha: Pixels | None = None
    ) -> tuple[list[float], list[str]]:
        """How likely each palette of the codebook is for a photo, and the codes of these palettes.

        Empty where no expert follows palettes. pixels, alpha: as `look` takes them.
        """
        if not self.palettes:
            return [], []
        L = reduced_L(
            pixels, alpha, network_size(pixels.shape[0], pixels.shape[1], self.short_side)
        )
        with torch.inference_mode():
            scene = self._see(to_network_size(torch.from_numpy(L)[None, None], self.short_side))
            entries = range(1, len(scene.likelihood) + 1)
            return scene.likelihood.tolist(), [self.palettes.entry(n).code for n in entries]

    @torch.inference_mode()
    def palette_of(self, pixels: Pixels) -> PaletteChoice:
        """The palette of a colour photo. pixels: uint8 or uint16 (H, W, 3), sRGB-encoded.

        Raises ConfigError where no expert follows palettes.
        """
        if not self.palettes:
            raise ConfigError(
                "Expected an expert that follows palettes for the palette of a photo, got none. Train "
                "experts with the network unet-scene, or use the starter's."
            )
        lab = torch.from_numpy(rgb_to_lab(pixels))[None].to(self.device)
        small, _ = padded(to_network_size(lab, self.short_side))
        L_norm = normalize_L(small[:, :1]).contiguous(memory_format=torch.channels_last)
        with autocast(self.precision, self.device):
            palette = self.palettes.of_photo(L_norm, small[:, 1:])
        return PaletteChoice(numbers=numbers_of(palette.code))

    def _weight(self, whole: Tensor) -> Tensor:
        """What the segmenter says; one that is no module cannot be moved, and works on the CPU."""
        seen = whole if isinstance(self.segmenter, nn.Module) else whole.cpu()
        with autocast(self.precision, self.device):
            return self.segmenter(seen).float().to(self.device)

    def look(
        self,
        pixels: Pixels,
        *,
        alpha: Pixels | None = None,
        hints: Sequence[Hint] = (),
        palette: PaletteChoice | None = None,
    ) -> Prediction:
        """What the networks say of a photo at its full size.

        pixels: uint8 or uint16, (H, W) gray or (H, W, 3) RGB, sRGB-encoded. alpha: (H, W). palette: the
        photo's, where it is not that of all.
        """
        height, width = pixels.shape[:2]
        size = network_size(height, width, self.short_side)
        return self.predict(reduced_L(pixels, alpha, size), hints, palette)


def _joined(
    experts: Mapping[str, nn.Module],
) -> tuple[dict[str, int], SceneColorizer] | None:
    """The experts that differ in their heads only, as one network, and which head is whose."""
    alike = {n: expert for n, expert in experts.items() if isinstance(expert, SceneColorizer)}
    network = SceneColorizer.joined(list(alike.values())) if len(alike) > 1 else None
    return ({name: k for k, name in enumerate(alike)}, network) if network else None


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
