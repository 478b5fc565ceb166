"""Scene palettes: what conditions the decoder, who says which palette, joint training, wear of L."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from colorization.merging.experts import share_encoders
from colorization.networks.palette_choice import PALETTE_SIZE
from colorization.networks.palettes import (
    PalettePosterior,
    PalettePrior,
    cluster_palettes,
    code_of,
    nearest_entry,
    pooled_features,
)
from colorization.networks.unet_scene import SceneColorizer
from colorization.training.losses import huber
from colorization.training.recipe_fields import Objective
from colorization.training.scene_objective import scene_losses
from colorization.training.wear import Wear, blurred, toned, wear

CATEGORIES = 4


def styled(num_heads: int = 1) -> SceneColorizer:
    """A network whose palette does something: at first FiLM is zero."""
    torch.manual_seed(0)
    network = SceneColorizer(num_heads)
    for name, parameter in network.named_parameters():
        if ".film." in name or name.endswith(".by_head"):
            torch.nn.init.normal_(parameter, std=0.3)
    for name, buffer in network.named_buffers():
        if name.endswith("running_mean"):
            buffer.normal_(std=0.2)
        if name.endswith("running_var"):
            buffer.uniform_(0.5, 2)
    return network.eval()


def gray_photos(count: int = 2, height: int = 64, width: int = 64) -> Tensor:
    return torch.rand(count, 1, height, width, generator=torch.Generator().manual_seed(1)) - 0.5


@torch.inference_mode()
def coloured(network: SceneColorizer, L_norm: Tensor, *conditions: Tensor | None) -> Tensor:
    return network.decode(network.encoder(L_norm), L_norm.shape[-2:], *conditions)


def test_an_untrained_palette_changes_nothing():
    torch.manual_seed(0)
    network, L_norm = SceneColorizer().eval(), gray_photos()
    with_palette = coloured(network, L_norm, torch.ones(2, PALETTE_SIZE))
    torch.testing.assert_close(with_palette, coloured(network, L_norm))


def test_a_palette_changes_its_own_photo_and_not_knowing_one_differs_from_any():
    network, L_norm = styled(), gray_photos()
    palette = torch.zeros(2, PALETTE_SIZE)
    before = coloured(network, L_norm, palette)
    palette[1, 3] = 1
    after = coloured(network, L_norm, palette)
    torch.testing.assert_close(after[0], before[0])
    assert (after[1] - before[1]).abs().max() > 0.1
    assert (coloured(network, L_norm) - before).abs().amax(dim=(1, 2, 3)).min() > 0.1


def test_one_palette_serves_all_photos_of_a_batch():
    network, L_norm, palette = styled(), gray_photos(3), torch.linspace(-1, 1, PALETTE_SIZE)
    one = coloured(network, L_norm, palette)
    torch.testing.assert_close(one, coloured(network, L_norm, palette.expand(3, -1)))


def test_without_a_palette_it_is_a_colorizer_as_the_others():
    network, L_norm = styled(), gray_photos(1, 40, 70)
    with torch.inference_mode():
        ab = network(L_norm)
    assert ab.shape == (1, 2, 40, 70)
    torch.testing.assert_close(ab, coloured(network, L_norm))


def test_normalisation_and_film_in_one_pass_equal_both_in_turn():
    network = styled()
    block = network.ups[1].first
    code, heads = code_of(torch.rand(2, PALETTE_SIZE), 2), torch.zeros(2, dtype=torch.long)
    x = torch.randn(2, block.conv.in_channels, 8, 8)
    with torch.inference_mode():
        gamma, beta = block.film(code, heads)
        expected = F.relu(block.norm(block.conv(x)) * (1 + gamma) + beta)
        torch.testing.assert_close(block(x, code, heads), expected, rtol=1e-4, atol=1e-5)


def test_each_photo_gets_the_colours_of_its_own_head():
    network, L_norm = styled(CATEGORIES), gray_photos(1).expand(CATEGORIES, -1, -1, -1)
    palette = torch.rand(PALETTE_SIZE)
    every = coloured(network, L_norm, palette, torch.arange(CATEGORIES))
    for number in range(CATEGORIES):
        alone = coloured(network, L_norm[:1], palette, torch.tensor([number]))
        torch.testing.assert_close(every[number : number + 1], alone, rtol=1e-4, atol=1e-4)
    apart = (every[:, None] - every[None]).abs().amax(dim=(2, 3, 4))
    assert apart[~torch.eye(CATEGORIES, dtype=torch.bool)].min() > 0.1


def test_one_head_of_a_joint_network_is_a_network_of_its_own():
    network, L_norm, palette = styled(CATEGORIES), gray_photos(), torch.rand(PALETTE_SIZE)
    for number in range(CATEGORIES):
        alone = network.one_head(number)
        heads = torch.full((2,), number)
        for given in (None, palette):
            expected = coloured(network, L_norm, given, heads)
            torch.testing.assert_close(coloured(alone, L_norm, given), expected)
    alone.head.weight.data.zero_()
    assert network.head.weight.abs().min() > 0  # a copy


def test_the_posterior_says_palettes_of_any_size_and_teaches_the_encoder_nothing():
    torch.manual_seed(0)
    network, posterior = SceneColorizer(), PalettePosterior()
    L_norm = gray_photos(2, 80, 48).requires_grad_()
    ab = 40 * torch.randn(2, 2, 80, 48)
    palette = posterior(network.encoder(L_norm), ab)
    assert palette.shape == (2, PALETTE_SIZE) and palette.abs().max() <= 1
    palette.sum().backward()
    assert L_norm.grad is None and all(p.grad is None for p in network.encoder.parameters())
    assert posterior.look[0].weight.grad is not None


def test_the_posterior_sees_the_colours():
    torch.manual_seed(0)
    network, posterior = SceneColorizer().eval(), PalettePosterior().train()
    ab = torch.cat([tint * torch.ones(1, 2, 64, 64) for tint in (60, -60)])
    with torch.no_grad():
        warm, cold = posterior(network.encoder(gray_photos(1).expand(2, -1, -1, -1)), ab)
    assert (warm - cold).abs().mean() > 0.5  # however little its layers make of them at first


def test_a_codebook_finds_the_groups_that_are_there_and_a_seed_repeats_it():
    generator = torch.Generator().manual_seed(0)
    centres = torch.randn(6, PALETTE_SIZE, generator=generator)
    palettes = centres.repeat(20, 1) + 0.01 * torch.randn(120, PALETTE_SIZE, generator=generator)
    codebook = cluster_palettes(palettes, 6, seed=3)
    assert torch.cdist(centres, codebook).amin(dim=1).max() < 0.02
    torch.testing.assert_close(codebook, cluster_palettes(palettes, 6, seed=3))
    nearest = nearest_entry(palettes, codebook).view(20, 6)
    assert (nearest == nearest[0]).all() and len(set(nearest[0].tolist())) == 6


def test_a_codebook_of_equal_palettes_is_finite_and_too_few_are_refused():
    assert cluster_palettes(torch.ones(5, PALETTE_SIZE), 4).isfinite().all()
    with pytest.raises(ValueError, match="48 palettes or more, got 5"):
        cluster_palettes(torch.ones(5, PALETTE_SIZE), 48)


def test_the_prior_depends_on_the_photo_and_on_the_category():
    torch.manual_seed(0)
    network, prior = SceneColorizer().eval(), PalettePrior(CATEGORIES).eval()
    torch.nn.init.normal_(prior.by_head)
    with torch.inference_mode():
        pooled = pooled_features(network.encoder(gray_photos(2)))
        logits = prior(pooled, torch.tensor([0, 0]))
        assert logits.shape == (2, 48)
        assert not torch.equal(logits[0], logits[1])
        assert not torch.equal(logits, prior(pooled, torch.tensor([1, 1])))


def two_colourings() -> tuple[Tensor, Tensor, Tensor]:
    """One gray photo that is red in truth, and blue in truth: L_norm, ab, heads."""
    ab = torch.zeros(2, 2, 64, 64)
    ab[0, 0], ab[1, 1] = 40, -40
    return gray_photos(1).expand(2, -1, -1, -1), ab, torch.zeros(2, dtype=torch.long)


def test_what_cannot_be_seen_in_gray_is_learnt_by_the_palette_and_its_mean_without():
    torch.manual_seed(0)
    network = SceneColorizer().train()
    L_norm, ab, heads = two_colourings()
    optimizer = torch.optim.Adam(network.parameters(), lr=2e-3)
    generator = torch.Generator().manual_seed(0)
    for _ in range(20):
        losses = scene_losses(network, L_norm, ab, heads, Objective(palette_noise=0.1), generator)
        optimizer.zero_grad()
        losses.total.backward()
        optimizer.step()
    mean_of_both = ab.mean(dim=0, keepdim=True).expand_as(ab)
    least = float(huber(mean_of_both, ab, 5.0))
    assert losses.unknown > 0.9 * least  # nobody can do better without a palette
    assert losses.known < 0.5 * least


def test_both_ways_teach_the_encoder_and_weights_scale_them():
    torch.manual_seed(0)
    network = SceneColorizer().train()
    losses = scene_losses(network, *two_colourings(), Objective(known=2.0))
    torch.testing.assert_close(losses.total.detach(), losses.unknown + 2 * losses.known)
    losses.total.backward()
    # FiLM is zero at first, so only its own weights feel the palette
    assert network.encoder.conv1.weight.grad.abs().max() > 0
    assert network.ups[0].first.film.weight.grad[..., :-1].abs().max() > 0


def L_photos(count: int = 3) -> Tensor:
    ramp = torch.linspace(0, 100, 96).expand(count, 1, 64, 96)
    return ramp.clone()


def test_no_share_leaves_every_photo_as_it_is():
    L = L_photos()
    assert wear(L, Wear(), np.random.default_rng(0)) is L


def test_wear_repeats_with_its_generator_stays_in_range_and_spares_the_original():
    L = L_photos(16)
    worn, again = (wear(L, Wear(share=1), np.random.default_rng(5)) for _ in range(2))
    assert torch.equal(worn, again)
    assert worn.shape == L.shape and worn.min() >= 0 and worn.max() <= 100
    assert torch.equal(L, L_photos(16))
    changed = (worn != L).flatten(1).any(dim=1)
    assert 12 <= int(changed.sum()) <= 16


def test_about_the_share_of_the_photos_is_worn():
    L = L_photos(64)
    worn = wear(L, Wear(share=0.5), np.random.default_rng(0))
    assert 15 <= int((worn != L).flatten(1).any(dim=1).sum()) <= 45


@pytest.mark.parametrize("kind", ["tone", "blur", "grain", "lighting", "scratches"])
def test_each_kind_of_wear_can_be_left_out_and_does_something_alone(kind):
    nothing = {"tone": 0.0, "blur": 0.0, "grain": 0.0, "lighting": 0.0, "scratches": 0}
    L = 50 + 40 * torch.sin(torch.arange(64.0)).expand(32, 1, 64, 64)
    untouched = wear(L, Wear(share=1, **nothing), np.random.default_rng(0))
    torch.testing.assert_close(untouched, L, rtol=0, atol=1e-3)
    own = {kind: getattr(Wear(), kind)}
    worn = wear(L, Wear(share=1, **{**nothing, **own}), np.random.default_rng(0))
    assert (worn - L).abs().max() > 1


def test_blur_keeps_the_mean_of_a_flat_photo_and_spreads_a_point():
    flat = torch.full((1, 40, 40), 30.0)
    torch.testing.assert_close(blurred(flat, 1.5), flat)
    point = torch.zeros(1, 41, 41)
    point[0, 20, 20] = 1
    spread = blurred(point, 1.5)[0]
    assert float(spread.sum()) == pytest.approx(1, abs=1e-5)
    offsets = torch.arange(41.0) - 20
    assert float((spread.sum(dim=0) * offsets**2).sum()) == pytest.approx(1.5**2, rel=0.1)


def test_tone_bends_the_middle_and_keeps_black_and_white():
    L = torch.tensor([[[0.0, 50.0, 100.0]]])
    torch.testing.assert_close(toned(L, 2.0, 1.0), torch.tensor([[[0.0, 25.0, 100.0]]]))
    torch.testing.assert_close(toned(L, 1.0, 0.5), torch.tensor([[[25.0, 50.0, 75.0]]]))


def test_heads_cut_out_of_one_network_run_its_encoder_once():
    heads = [styled(CATEGORIES).one_head(number) for number in range(CATEGORIES)]
    share_encoders(heads)
    assert len({id(head.encoder) for head in heads}) == 1


def test_a_network_without_a_palette_is_exported_as_it_answers():
    network, L_norm = styled(), gray_photos(1, 64, 96)
    exported = torch.export.export(network, (L_norm,)).module()
    with torch.inference_mode():
        torch.testing.assert_close(exported(L_norm), network(L_norm), rtol=1e-4, atol=1e-3)


def test_several_heads_of_one_photo_are_decoded_together_as_each_alone():
    heads = [styled(CATEGORIES).one_head(number) for number in range(CATEGORIES)]
    assert SceneColorizer.joined(heads) is None  # an encoder each
    share_encoders(heads)
    joined = SceneColorizer.joined(heads)
    assert joined is not None and joined.encoder is heads[0].encoder
    L_norm, palette = gray_photos(1, 64, 96), torch.rand(PALETTE_SIZE)
    for given in (None, palette):
        with torch.inference_mode():
            features = joined.encoder(L_norm)
            code = code_of(given, CATEGORIES)
            together = joined.decode_quarter(features, code, torch.arange(CATEGORIES))
            for number, head in enumerate(heads):
                alone = head.decode_quarter(features, code[:1])
                torch.testing.assert_close(
                    together[number : number + 1], alone, rtol=1e-3, atol=1e-3
                )
    heads[2].ups[1].second.conv.weight.data += 1
    assert SceneColorizer.joined(heads) is None
