"""Gray photos of any size to ab at network size, through segmenter, experts and merge.

L → network size (short side 256 or a smaller photo's own, aspect kept, reflect-padded to a multiple of
32) → weights → experts → merge in ab, at a quarter of that size where the experts give no more → network
size; on to full size goes `colorization.colour.full_size`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import torch
from torch import Tensor, nn

from colorization.categories import PAPER, Categories
from colorization.colour.full_size import reduced_L
from colorization.colour.lab import Float, Pixels, normalize_L, rgb_to_lab
from colorization.compute import autocast, place, resolve_precision
from colorization.errors import ConfigError
from colorization.merging.experts import Experts
from colorization.merging.hinting import Hint, HintField, spread_hints
from colorization.merging.merge import (
    certain_share,
    disagreement,
    drop_absent,
    merge,
    refine_weights,
)
from colorization.merging.options import TORCH, MergeOptions
from colorization.merging.prediction import Asked, Prediction, Variant
from colorization.merging.runtimes import choose_runtime
from colorization.merging.scene import STRIDE, Scenes, at_stride, colour_share, from_stride
from colorization.merging.scene_palettes import Palette
from colorization.merging.segmentation import CoarseSegmenter, Segmenter, StarterSegmenter
from colorization.merging.sizes import network_size, padded, to_network_size
from colorization.networks.palette_choice import PaletteChoice, numbers_of

_SPREAD_OVER = 5
"""Likely colourings that the uncertainty looks at."""
_TOGETHER, _SMALL_PIXELS = 8, 1 << 15
"""Photos that pass the networks together, where they have at most so many pixels there: larger ones
fill a core's caches alone (docs/decisions/043)."""


class MergedColorizer:
    """Experts by category, a segmenter, and how to merge them.

    experts: category name → network. categories: those that the segmenter weighs. segmenter: None when there is a single expert to use
    everywhere. palette: which one colours photos for which no other is named. variants: how many further
    colourings are made. Where no expert follows palettes there is the mean only, and no variant. runtime: of
    `colorization.merging.runtimes`; other than torch, experts and segmenter are this colorizer's alone.
    """

    def __init__(
        self,
        experts: Mapping[str, nn.Module],
        segmenter: Segmenter,
        *,
        categories: Categories = PAPER,
        merge: MergeOptions = MergeOptions(),  # noqa: B008 - frozen
        short_side: int = 256,
        uncertainty: bool = False,
        palette: PaletteChoice = PaletteChoice(),  # noqa: B008 - frozen
        variants: int = 0,
        precision: str = "auto",
        device: str = "cpu",
        runtime: str = TORCH,
    ) -> None:
        self.experts = Experts(experts)
        self.palettes = self.experts.palettes
        self.palette, self.num_variants = palette, variants
        self.segmenter, self.categories = segmenter, categories
        self._available = {categories.index(name) for name in experts}
        self.merge, self.short_side = merge, short_side
        self.uncertainty = uncertainty or merge.abstain > 0
        self._weight_stride = STRIDE if merge.mode == "soft" else 1
        self._stride = self._weight_stride if self.experts.all_joined else 1
        self._asked_precision = precision
        self._move(device)
        self.runtime = choose_runtime(runtime, precision, device)
        self.experts.run_by(self.runtime)
        if isinstance(segmenter, StarterSegmenter):
            segmenter.run_by(self.runtime)

    def _move(self, device: str) -> None:
        """Run on a device from now on."""
        self.device, self.precision = device, resolve_precision(self._asked_precision, device)
        self.experts.move(device)
        if isinstance(self.segmenter, nn.Module):
            place(self.segmenter, device)

    def size_of(self, height: int, width: int) -> tuple[int, int]:
        """Height and width at which the networks see a photo."""
        return network_size(height, width, self.short_side)

    def together(self, size: tuple[int, int]) -> int:
        """How many photos of a network size are best predicted together; one alone costs as much as two."""
        is_small = size[0] * size[1] <= _SMALL_PIXELS
        return _TOGETHER if is_small and self.experts.all_joined else 1

    def predict(
        self, L: Float, hints: Sequence[Hint] = (), palette: PaletteChoice | None = None
    ) -> Prediction:
        """As `predict_many`, of one photo."""
        return self.predict_many([Asked(L, hints, palette)])[0]

    def predict_many(self, photos: Sequence[Asked]) -> list[Prediction]:
        """Colours of photos that have one network size; each is coloured as it would be alone.

        More than one asks for `together` of that size to be more. Photos for which a GPU has not the memory
        are predicted on the CPU. Raises torch.OutOfMemoryError, or RuntimeError with the words of torch's
        CPU allocator, where there is no memory either.
        """
        try:
            return self._predict(photos)
        except torch.OutOfMemoryError:
            if self.device == "cpu":
                raise
        gpu = self.device
        self._move("cpu")
        torch.cuda.empty_cache()
        try:
            return self._predict(photos)
        finally:
            self._move(gpu)

    @torch.inference_mode()
    def _predict(self, photos: Sequence[Asked]) -> list[Prediction]:
        every = [
            to_network_size(torch.from_numpy(p.L)[None, None].to(self.device), self.short_side)
            for p in photos
        ]
        height, width = every[0].shape[-2:]
        if len(photos) == 1 and self.together((height, width)) > 1:
            # two and more give each photo the same bits, one alone others
            return self._predict([*photos, *photos])[:1]
        L_N1hw, hints = torch.cat(every), [photo.hints for photo in photos]
        choices = [photo.palette or self.palette for photo in photos]
        looks_for = self.uncertainty or self.num_variants > 0 or any(c.likely for c in choices)
        scenes = self._see(L_N1hw, likelihood=looks_for)
        palettes = [
            self.palettes.chosen(choice, likelihood) if self.palettes else None
            for choice, likelihood in zip(choices, scenes.likelihood, strict=True)
        ]
        experts_ab = self._colours(scenes, hints, palettes)
        merged = _merge(experts_ab, scenes)
        uncertainty = None
        if self.uncertainty:
            uncertainty = self._uncertainty(scenes, hints, palettes, experts_ab, merged)
        evident = [colour_share(L) for L in every]
        certain = None
        if self.merge.abstain:
            assert uncertainty is not None
            certain = certain_share(uncertainty, self.merge.abstain)

        def finished(ab: Tensor) -> list[Tensor]:
            """At network size, without what is not to be coloured, with hints; photo by photo."""
            done = list(from_stride(ab, scenes.stride, (height, width), "bicubic").split(1))
            for number, share in enumerate(evident):
                if certain is not None:
                    done[number] = done[number] * certain[number, None]
                if share is not None:
                    done[number] = done[number] * share
                done[number] = self._saturated(done[number])
            return list(map(spread_hints, done, every, hints))

        likely = [self._likely(one, self.num_variants) for one in scenes.likelihood]
        ways = [list(way) for way in zip(*likely, strict=True)]
        variants = [(way, finished(self._merged(scenes, hints, way))) for way in ways]
        single = [ab[self._strongest(ab, scenes.shares[n])] for n, ab in enumerate(experts_ab)]
        colours = finished(merged)
        alone = from_stride(torch.cat(single), scenes.stride, (height, width), "bicubic")
        weight = from_stride(scenes.weight, scenes.stride, (height, width), "bilinear")
        return [
            Prediction(
                ab=colours[n],
                weight=weight[n, None],
                single=alone[n, None],
                shares=scenes.shares[n],
                uncertainty=uncertainty[n, None] if uncertainty is not None else None,
                blank=(share := evident[n]) is not None and not bool(share.any()),
                palette=palette.code if palette else "",
                runtime=str(self.runtime),
                variants=tuple(Variant(ab[n], way[n].code) for way, ab in variants),
            )
            for n, palette in enumerate(palettes)
        ]

    def _see(self, L_N1hw: Tensor, *, likelihood: bool = True) -> Scenes:
        """What segmenter and encoders say of photos, before they have colours.

        likelihood: whether that of palettes is looked for.
        """
        whole, size = padded(L_N1hw)
        weight = self._weight(whole, size)
        weight = refine_weights(weight, at_stride(L_N1hw, self._weight_stride), self.merge)
        weight = drop_absent(weight, self._available, self.merge.threshold)
        wanted = (weight.amax(dim=(2, 3)) > 0).tolist()
        every_name = self.categories.names
        names = tuple(
            {k: name for k, name in enumerate(every_name) if of_photo[k]} for of_photo in wanted
        )
        means = weight.mean(dim=(2, 3)).tolist()
        if self._weight_stride > self._stride:
            weight = from_stride(weight, self._weight_stride, size, "bilinear")
        shares = tuple(dict(zip(every_name, mean, strict=True)) for mean in means)
        L_norm = normalize_L(whole).contiguous(memory_format=torch.channels_last)
        with autocast(self.precision, self.device):
            every = {name for of_photo in names for name in of_photo.values()}
            features = self.experts.encoded(L_norm, every)
            likely = weight.new_zeros(len(weight), 0)
            if self.palettes and likelihood:
                likely = torch.stack(
                    [  # one by one: a matrix product's bits hang on how many rows it has
                        self.palettes.likelihood(
                            {e: [f[n, None] for f in of_all] for e, of_all in features.items()},
                            of_photo,
                        )
                        for n, of_photo in enumerate(shares)
                    ]
                )
        return Scenes(L_norm, size, self._stride, weight, names, shares, features, likely)

    def _weight(self, whole: Tensor, size: tuple[int, int]) -> Tensor:
        """What the segmenter says, at the weights' stride. One that is no module cannot be moved, and works
        on the CPU; only ours is known to take several photos as it takes each."""
        seen = whole if isinstance(self.segmenter, nn.Module) else whole.cpu()
        height, width = size
        with autocast(self.precision, self.device):
            stride = self._weight_stride
            if stride > 1 and isinstance(self.segmenter, CoarseSegmenter):
                weight = self.segmenter.coarse(seen, stride).float()
                return weight[..., : -(-height // stride), : -(-width // stride)].to(self.device)
            one_by_one = [self.segmenter(one).float() for one in seen.split(1)]
            weight = torch.cat(one_by_one)[..., :height, :width].to(self.device)
            return at_stride(weight, stride)

    def _colours(
        self,
        scenes: Scenes,
        hints: Sequence[Sequence[Hint]],
        palettes: Sequence[Palette | None],
    ) -> list[dict[int, Tensor]]:
        with autocast(self.precision, self.device):
            return self.experts.colours(scenes, hints, palettes)

    def _merged(
        self,
        scenes: Scenes,
        hints: Sequence[Sequence[Hint]],
        palettes: Sequence[Palette | None],
    ) -> Tensor:
        return _merge(self._colours(scenes, hints, palettes), scenes)

    def _strongest(self, experts_ab: Mapping[int, Tensor], shares: Mapping[str, float]) -> int:
        """The category with the largest share of those with an expert that matters."""
        return max(experts_ab, key=lambda k: shares[self.categories.names[k]])

    def _likely(self, likelihood: Tensor, count: int) -> list[Palette]:
        return self.palettes.likely(likelihood, count) if self.palettes and count else []

    def _uncertainty(
        self,
        scenes: Scenes,
        hints: Sequence[Sequence[Hint]],
        palettes: Sequence[Palette | None],
        experts_ab: Sequence[dict[int, Tensor]],
        merged: Tensor,
    ) -> Tensor:
        """How far what could be said of each pixel is apart, Lab units. Returns (N, 1, h, w)."""
        mixed = [
            disagreement(ab, scenes.weight[n, None], merged[n, None])
            for n, ab in enumerate(experts_ab)
        ]

        def at_size(ab: Tensor) -> Tensor:
            return from_stride(ab, scenes.stride, scenes.size, "bicubic")

        own = at_size(merged)
        turned = [[replace(hint, across=1 - hint.across) for hint in of_one] for of_one in hints]
        mirrored = self._see(scenes.L.flip(-1), likelihood=False)
        other = at_size(self._merged(mirrored, turned, palettes)).flip(-1)
        square = from_stride(torch.cat(mixed), scenes.stride, scenes.size, "bilinear").square()
        square = square + (own - other).square().sum(dim=1, keepdim=True)
        likely = [self._likely(one, _SPREAD_OVER) for one in scenes.likelihood]
        ways = [list(way) for way in zip(*likely, strict=True)]
        if ways:
            every = torch.stack([at_size(self._merged(scenes, hints, way)) for way in ways])
            share = scenes.likelihood.sort(descending=True).values[:, : len(ways)].T
            share = (share / share.sum(dim=0))[:, :, None, None, None]
            apart = (every - (share * every).sum(dim=0)).square().sum(dim=2, keepdim=True)
            square = square + (share * apart).sum(dim=0)
        return square.sqrt()

    def likelihood_of(
        self, pixels: Pixels, alpha: Pixels | None = None
    ) -> tuple[list[float], list[str]]:
        """How likely each palette of the codebook is for a photo, and the codes of these palettes.

        Empty where no expert follows palettes. pixels, alpha: as `look` takes them.
        """
        if not self.palettes:
            return [], []
        likelihood = self.scene_of(pixels, alpha).likelihood[0]
        entries = range(1, len(likelihood) + 1)
        return likelihood.tolist(), [self.palettes.entry(n).code for n in entries]

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

    def asked(
        self,
        pixels: Pixels,
        alpha: Pixels | None = None,
        hints: Sequence[Hint] = (),
        palette: PaletteChoice | None = None,
    ) -> Asked:
        """A photo at its full size as `predict_many` takes it. See `look`."""
        return Asked(reduced_L(pixels, alpha, self.size_of(*pixels.shape[:2])), hints, palette)

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
        return self.predict_many([self.asked(pixels, alpha, hints, palette)])[0]

    @torch.inference_mode()
    def scene_of(self, pixels: Pixels, alpha: Pixels | None = None) -> Scenes:
        """What is seen of a photo, to colour it several times: `coloured`. Arguments as of `look`."""
        L = torch.from_numpy(self.asked(pixels, alpha).L)[None, None].to(self.device)
        return self._see(to_network_size(L, self.short_side))

    @torch.inference_mode()
    def coloured(
        self,
        scene: Scenes,
        hints: Sequence[Hint] = (),
        palette: PaletteChoice | None = None,
        field: HintField | None = None,
    ) -> Variant:
        """One colouring of the photo of a scene, as `look` gives it but for `abstain` and the last digits.

        field: of its L, for hints.
        """
        choice, likelihood = palette or self.palette, scene.likelihood[0]
        chosen = self.palettes.chosen(choice, likelihood) if self.palettes else None
        ab = from_stride(
            self._merged(scene, [hints], [chosen]), scene.stride, scene.size, "bicubic"
        )
        share = colour_share(scene.L)
        ab = self._saturated(ab if share is None else ab * share)
        ab = spread_hints(ab, scene.L, hints, field)
        return Variant(ab, chosen.code if chosen else "")

    def _saturated(self, ab: Tensor) -> Tensor:
        factor = self.merge.saturation
        return ab if factor == 1 else ab * factor

    def likeliest(self, scene: Scenes, count: int) -> list[str]:
        """Codes of its likeliest palettes, best first; none where no expert follows palettes."""
        return [palette.code for palette in self._likely(scene.likelihood[0], count)]


def _merge(experts_ab: Sequence[dict[int, Tensor]], scenes: Scenes) -> Tensor:
    weights = scenes.weight.split(1)
    return torch.cat([merge(ab, own) for ab, own in zip(experts_ab, weights, strict=True)])


def single_expert_segmenter(L_N1HW: Tensor, /) -> Tensor:
    """A segmenter that gives every pixel to the paper's rest: for one expert everywhere."""
    photos, _, height, width = L_N1HW.shape
    weight = L_N1HW.new_zeros(photos, len(PAPER), height, width)
    weight[:, PAPER.index(PAPER.rest)] = 1
    return weight
