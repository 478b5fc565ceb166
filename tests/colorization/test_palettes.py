"""Palettes at inference: how they are written, chosen for a photo, and shared by the experts of a merge."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from colorization.colour.lab import lab_to_rgb
from colorization.errors import ConfigError
from colorization.merging.inference import MergedColorizer
from colorization.merging.options import MergeOptions
from colorization.networks import build_network
from colorization.networks.palette_choice import (
    CODEBOOK_SIZE,
    PALETTE_SIZE,
    PaletteChoice,
    code_of_palette,
    numbers_of,
    parse_palette,
)
from colorization.networks.unet_scene import SceneColorizer

LIKELY = PaletteChoice(likely=True)


def experts(**others: torch.nn.Module) -> dict[str, torch.nn.Module]:
    """Two heads of one training whose palettes do something, and a codebook of random palettes."""
    torch.manual_seed(0)
    network = SceneColorizer(num_heads=4)
    for name, parameter in network.named_parameters():
        if ".film." in name or name.endswith(".by_head"):
            torch.nn.init.normal_(parameter, std=0.3)
    torch.nn.init.normal_(network.palettes.codebook, std=0.5)
    posterior = network.palettes.posterior.train()
    posterior.spread.momentum = 1.0  # as after training: palettes differ
    with torch.no_grad():
        features = network.encoder(torch.rand(8, 1, 64, 64) - 0.5)
        posterior(features, 40 * torch.randn(8, 2, 1, 1).expand(-1, -1, 64, 64))
    heads = {"people": network.eval().one_head(0), "places": network.one_head(3)}
    return {**heads, **others}


def halves(L: torch.Tensor) -> torch.Tensor:
    """A segmenter: people on the left, places on the right."""
    weight = L.new_zeros(len(L), 4, *L.shape[-2:])
    middle = L.shape[-1] // 2
    weight[:, 0, :, :middle] = 1
    weight[:, 3, :, middle:] = 1
    return weight


def colorizer(networks: dict[str, torch.nn.Module] | None = None, **options) -> MergedColorizer:
    merge = options.pop("merge", MergeOptions(feather=0, temperature=1))
    return MergedColorizer(
        networks or experts(), halves, merge=merge, short_side=64, precision="fp32", **options
    )


FAR = 56
"""From where on no expert of the left half has a share: weights and ab are at a quarter of the size."""


def lightness() -> np.ndarray:
    """Smooth, with edges: of noise nothing is to be seen, so it would stay gray."""
    y, x = np.mgrid[0:64, 0:96]
    return np.asarray(50 + 25 * np.sin(x / 9) * np.cos(y / 7) + 15 * (x + y > 70), np.float32)


@pytest.mark.parametrize("text", ["", "vivid", "0", "49", "-1", "1.5", "0" * 15, "g" * 16])
def test_what_is_no_palette_is_refused_with_what_is_allowed(text: str) -> None:
    with pytest.raises(ConfigError, match="mean, likely, a number of 1..48, or a code of 16"):
        parse_palette(text)


def test_each_way_of_writing_a_palette_means_one_choice() -> None:
    assert parse_palette("mean") == PaletteChoice()
    assert parse_palette(" Likely ") == LIKELY
    assert parse_palette("48") == PaletteChoice(entry=48)
    numbers = parse_palette("7f81" + "00" * 6).numbers
    assert numbers == (1.0, -1.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0)


def test_a_code_holds_every_number_within_half_a_step() -> None:
    rng = np.random.default_rng(0)
    for palette in rng.uniform(-1, 1, (200, PALETTE_SIZE)):
        code = code_of_palette(palette)
        assert np.abs(np.array(numbers_of(code)) - palette).max() <= 0.5 / 127 + 1e-9
        assert code_of_palette(numbers_of(code)) == code
    assert code_of_palette([2, -2, 0, 0, 0, 0, 0, 0]) == "7f81" + "00" * 6


def test_without_a_palette_nothing_follows_one() -> None:
    found = colorizer().predict(lightness())
    assert found.palette == "" and found.variants == ()


def test_variants_are_the_likeliest_entries_and_a_code_gives_one_again() -> None:
    L = lightness()
    merged = colorizer(palette=LIKELY, variants=3)
    found = merged.predict(L)
    likelihood = merged._see(torch.from_numpy(L)[None, None]).likelihood[0]
    best = likelihood.argsort(descending=True)[:3]
    assert [v.palette for v in found.variants] == [
        merged.palettes.entry(int(k) + 1).code for k in best
    ]
    expected = likelihood @ merged.palettes.experts["people"].palettes.codebook
    assert found.palette == code_of_palette(expected.tolist())
    assert (found.variants[1].ab - found.variants[0].ab).abs().max() > 0.5
    again = colorizer().predict(L, palette=parse_palette(found.variants[1].palette))
    assert (again.ab - found.variants[1].ab).abs().mean() < 0.2  # a code is rounded
    assert again.palette == found.variants[1].palette


def test_likelihoods_are_those_of_the_experts_by_their_shares() -> None:
    L = lightness()
    networks = experts()
    merged = colorizer(networks)
    pixels = np.asarray(lab_to_rgb(L, np.zeros((2, *L.shape), np.float32)))
    likelihood, codes = merged.likelihood_of(pixels)
    assert len(likelihood) == len(codes) == CODEBOOK_SIZE
    assert sum(likelihood) == pytest.approx(1, abs=1e-5)
    alone = []
    for name in ("people", "places"):
        single = MergedColorizer({name: networks[name]}, halves, short_side=64, precision="fp32")
        alone.append(np.array(single.likelihood_of(pixels)[0]))
    assert np.abs(alone[0] - alone[1]).max() > 1e-4
    np.testing.assert_allclose(likelihood, (alone[0] + alone[1]) / 2, atol=1e-4)
    first = colorizer(variants=1).look(pixels).variants[0]
    assert codes[int(np.argmax(likelihood))] == first.palette


def test_all_experts_of_a_photo_take_the_same_palette() -> None:
    L, choice = lightness(), PaletteChoice(entry=5)
    networks = experts()
    merged = colorizer(networks, palette=choice).predict(L)
    for k, (name, columns) in enumerate({"people": slice(0, 40), "places": slice(FAR, 96)}.items()):
        alone = MergedColorizer(
            {name: networks[name]}, halves, short_side=64, precision="fp32", palette=choice
        ).predict(L)
        assert alone.palette == merged.palette, k
        torch.testing.assert_close(
            merged.ab[..., columns], alone.ab[..., columns], rtol=1e-3, atol=1e-3
        )


def test_an_expert_that_knows_no_palettes_gives_its_mean_beside_those_that_do() -> None:
    L = lightness()
    torch.manual_seed(1)
    mixed = experts(places=build_network("unet18-stride4"))
    plain = colorizer(mixed).predict(L).ab
    found = colorizer(mixed, palette=PaletteChoice(entry=9)).predict(L)
    assert found.palette
    torch.testing.assert_close(found.ab[..., FAR:], plain[..., FAR:])
    assert (found.ab - plain)[..., :48].abs().max() > 0.1
    none = {"places": mixed["places"]}
    without = colorizer(none, palette=LIKELY, variants=2).predict(L)
    assert without.palette == "" and without.variants == ()
    with pytest.raises(ConfigError, match="expert that follows palettes"):
        colorizer(none).palette_of(np.zeros((64, 64, 3), np.uint8))


def test_an_expert_of_another_training_does_not_take_the_palette() -> None:
    L, mixed = lightness(), experts()
    torch.manual_seed(9)
    other = SceneColorizer().eval()
    torch.nn.init.normal_(other.palettes.codebook, std=0.5)
    mixed["places"] = other
    plain = colorizer(mixed).predict(L).ab
    found = colorizer(mixed, palette=PaletteChoice(entry=2)).predict(L)
    torch.testing.assert_close(found.ab[..., FAR:], plain[..., FAR:])


def test_a_reference_gives_the_palette_of_its_colours() -> None:
    merged = colorizer()
    L = lightness()
    warm, cold = (
        np.asarray(lab_to_rgb(L, np.stack([np.full_like(L, a), np.full_like(L, b)])))
        for a, b in ((25, 30), (-10, -30))
    )
    found = merged.palette_of(warm)
    assert len(found.numbers) == PALETTE_SIZE
    assert found == merged.palette_of(warm) != merged.palette_of(cold)


def test_uncertainty_gets_the_spread_over_likely_palettes() -> None:
    L = lightness()
    networks = experts()
    certain = experts()
    for network in certain.values():
        network.palettes.codebook[:] = network.palettes.codebook[:1]  # one colouring only
    spread = colorizer(networks, uncertainty=True).predict(L).uncertainty
    none = colorizer(certain, uncertainty=True).predict(L).uncertainty
    assert spread is not None and none is not None
    assert (spread >= none - 1e-3).all() and (spread - none).mean() > 0.1


def test_abstaining_and_blank_frames_hold_for_variants_too() -> None:
    careful = colorizer(variants=2, merge=MergeOptions(feather=0, abstain=1e-6)).predict(
        lightness()
    )
    assert all(float(v.ab.abs().max()) < 1e-3 for v in careful.variants)
    blank = colorizer(variants=2).predict(np.full((64, 64), 50, np.float32))
    assert blank.blank and all(float(v.ab.abs().max()) == 0 for v in blank.variants)
