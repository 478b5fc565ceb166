"""Segmenters, the merge against a float64 loop, and inference at any size."""

from __future__ import annotations

import sys
import types
from pathlib import Path

import numpy as np
import pytest
import torch
from starter import starter_models
from torchvision.models import segmentation

from chromaflow.library.networks import load_colorizer
from colorization.categories import CATEGORY_NAMES, PAPER, VOC_CLASSES
from colorization.colour.full_size import colour_strips
from colorization.colour.lab import gray_to_L, rgb_to_L
from colorization.errors import ConfigError, WeightsMismatchError
from colorization.merging.deeplab import GrayDeepLab, enlarge
from colorization.merging.hinting import Hint
from colorization.merging.inference import MergedColorizer, single_expert_segmenter
from colorization.merging.merge import disagreement, drop_absent, merge, refine_weights
from colorization.merging.options import MergeOptions
from colorization.merging.prediction import Asked
from colorization.merging.segmentation import (
    build_segmenter,
    import_segmenter,
)
from colorization.networks import build_network
from colorization.networks.palette_choice import PaletteChoice
from tasks.jobs.models import load_segmenter


@pytest.fixture(autouse=True)
def enough_is_seen(monkeypatch, request):
    """Noise shows nothing, and gets no colour: `test_evidence`. Here it stands for a photo."""
    if "blank" not in request.node.name:
        ones = np.ones((1, 1), np.float32)
        monkeypatch.setattr("colorization.merging.scene.evidence", lambda L: ones)


def random_weights(height: int = 40, width: int = 56) -> torch.Tensor:
    torch.manual_seed(0)
    return (3 * torch.randn(2, 4, height, width)).softmax(dim=1)


def random_lightness(height: int, width: int, photos: int = 2) -> torch.Tensor:
    torch.manual_seed(1)
    return 100 * torch.rand(photos, 1, height, width)


@pytest.mark.parametrize("name", ["starter", "torchvision:lraspp_mobilenet_v3_large"])
def test_segmenter_weights_of_the_four_categories_sum_to_one(name):
    network = (
        GrayDeepLab()
        if name == "starter"
        else segmentation.lraspp_mobilenet_v3_large(
            weights=None, weights_backbone=None, num_classes=21
        )
    )
    with torch.inference_mode():
        weight = build_segmenter(name, network.state_dict())(random_lightness(64, 96))
    assert weight.shape == (2, 4, 64, 96)
    assert weight.min() >= 0
    torch.testing.assert_close(weight.sum(dim=1), torch.ones(2, 64, 96))


def test_a_feature_is_enlarged_about_the_pixel_that_it_is_centred_on():
    x = torch.randn(1, 2, 3, 4)
    large = enlarge(x, 8)
    assert large.shape == (1, 2, 24, 32)
    torch.testing.assert_close(large[..., ::8, ::8], x)


@pytest.mark.parametrize("size", [(96, 96), (32, 2048), (160, 224)])
def test_the_starter_segmenter_gives_weights_for_photos_of_any_size(size):
    with torch.inference_mode():
        weight = build_segmenter("starter", GrayDeepLab().state_dict())(random_lightness(*size, 1))
    assert weight.shape == (1, 4, *size)


def test_weights_of_another_segmenter_are_refused():
    with pytest.raises(WeightsMismatchError, match="starter"):
        build_segmenter("starter", {"x": torch.zeros(1)})
    with pytest.raises(ConfigError, match="starter, torchvision"):
        build_segmenter("unknown", {})


def test_each_voc_class_has_the_papers_category():
    owners = [CATEGORY_NAMES[i] for i in PAPER.owners()]
    assert owners[15] == "people" and owners[3] == "birds"
    assert [i for i, name in enumerate(owners) if name == "animals"] == [8, 10, 12, 13, 17]
    assert owners.count("places") == 14
    with pytest.raises(ConfigError, match="people, birds, animals, places"):
        PAPER.index("cars")


def test_soft_weights_sum_to_one_and_hard_ones_are_one_hot():
    weight, L = random_weights(), random_lightness(40, 56)
    soft, hard = (refine_weights(weight, L, MergeOptions(mode=mode)) for mode in ("soft", "hard"))
    torch.testing.assert_close(soft.sum(dim=1), torch.ones(2, 40, 56))
    assert soft.min() >= 0
    assert torch.equal(hard.argmax(dim=1), weight.argmax(dim=1))
    assert torch.equal(hard.sort(dim=1).values.sum(dim=(0, 2, 3)), torch.tensor([0, 0, 0, 4480.0]))
    with pytest.raises(ConfigError, match="soft, hard; got 'mean'"):
        MergeOptions(mode="mean")


def test_soft_weights_follow_the_edge_of_the_photo():
    L = torch.full((1, 1, 64, 64), 20.0)
    L[..., 32:] = 80
    weight = torch.zeros(1, 4, 64, 64)
    weight[:, 0, :, :31], weight[:, 3, :, 31:] = 1, 1  # the mask is one pixel off
    soft = refine_weights(weight, L, MergeOptions())
    assert soft[0, 0, 32, 31] > 0.5 > 0.1 > soft[0, 0, 32, 32]


def test_the_merge_equals_a_float64_loop():
    weight = random_weights(7, 9)
    ab = {k: 50 * torch.randn(2, 2, 7, 9) for k in range(4)}
    merged = merge(ab, weight)
    for n, c, y, x in np.ndindex(2, 2, 7, 9):
        expected = sum(float(weight[n, k, y, x]) * float(ab[k][n, c, y, x]) for k in range(4))
        assert float(merged[n, c, y, x]) == pytest.approx(expected, abs=1e-4)


def test_weight_without_an_expert_goes_to_places():
    weight = random_weights()
    kept = drop_absent(weight, {0, 3}, threshold=0.0)
    torch.testing.assert_close(kept[:, 0], weight[:, 0])
    torch.testing.assert_close(kept[:, 3], weight[:, 1:].sum(dim=1))
    assert kept[:, 1:3].abs().max() == 0


def test_a_category_that_matters_nowhere_is_shared_out():
    weight = torch.tensor([0.58, 0.02, 0.1, 0.3])[None, :, None, None].expand(1, 4, 5, 5)
    kept = drop_absent(weight, range(4), threshold=0.05)
    expected = torch.tensor([0.58, 0, 0.1, 0.3]) / 0.98
    torch.testing.assert_close(kept[0, :, 2, 2], expected)


def test_no_threshold_can_drop_every_category():
    kept = drop_absent(random_weights(), range(4), threshold=1.0)
    torch.testing.assert_close(kept.sum(dim=1), torch.ones(2, 40, 56))
    with pytest.raises(ConfigError, match="at least one expert"):
        drop_absent(random_weights(), set(), threshold=0.05)


def random_colorizer(**options) -> MergedColorizer:
    torch.manual_seed(2)
    experts = {name: build_network("unet18-layer3") for name in ("people", "places")}
    for network in experts.values():
        torch.nn.init.normal_(network.head.weight, std=0.5)
    segmenter = build_segmenter("starter", GrayDeepLab().state_dict())
    return MergedColorizer(experts, segmenter, short_side=64, precision="fp32", **options)


@pytest.mark.parametrize("size", [(33, 500), (700, 300), (5, 40), (64, 64), (1, 1)])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_photos_of_any_size_keep_size_and_gray_within_one_code_value(size, dtype):
    gray = np.random.default_rng(0).integers(0, np.iinfo(dtype).max + 1, size).astype(dtype)
    ab = random_colorizer().look(gray).ab
    rgb = np.concatenate(list(colour_strips(gray, ab, dtype)))
    assert (rgb.shape, rgb.dtype) == ((*size, 3), dtype)
    levels = gray_to_L(np.arange(256, dtype=np.uint8)[None])[0]
    middles = (levels[1:] + levels[:-1]) / 2
    before, after = (np.searchsorted(middles, L) for L in (gray_to_L(gray), rgb_to_L(rgb)))
    assert np.abs(after - before).max() <= 1


@pytest.mark.parametrize("mode", ["soft", "hard"])
def test_shares_of_a_prediction_sum_to_one(mode):
    prediction = random_colorizer(merge=MergeOptions(mode=mode)).predict(
        random_lightness(50, 80)[0, 0].numpy()
    )
    assert sum(prediction.shares.values()) == pytest.approx(1, abs=1e-4)
    assert prediction.shares["birds"] == prediction.shares["animals"] == 0
    assert prediction.ab.shape == prediction.single.shape == (1, 2, 64, 102)


def test_experts_with_one_encoder_run_it_once_and_say_the_same():
    torch.manual_seed(4)
    first, second = build_network("unet18-stride4"), build_network("unet18-stride4")
    second.encoder.load_state_dict(first.encoder.state_dict())
    L_norm = random_lightness(64, 96, photos=1) / 100 - 0.5
    with torch.inference_mode():
        apart = [network(L_norm) for network in (first, second)]
    assert not torch.equal(*apart)
    calls = []
    for network in (first, second):
        network.encoder.register_forward_hook(lambda *_: calls.append(1))
    both = MergedColorizer(
        {"birds": first, "places": second},
        lambda L: torch.full((len(L), 4, *L.shape[-2:]), 0.25),
        precision="fp32",
        short_side=64,
    )
    prediction = both.predict(random_lightness(64, 96, photos=1)[0, 0].numpy())
    assert len(calls) == 1
    torch.testing.assert_close(prediction.ab, (apart[0] + 3 * apart[1]) / 4, atol=1e-3, rtol=1e-3)


def test_experts_with_encoders_of_their_own_keep_them():
    torch.manual_seed(5)
    networks = {name: build_network("unet18-stride4") for name in ("birds", "places")}
    MergedColorizer(networks, single_expert_segmenter)
    assert networks["birds"].encoder is not networks["places"].encoder


def test_a_single_expert_gives_its_own_colours_everywhere():
    torch.manual_seed(0)
    colorizer = MergedColorizer(
        {"places": build_network("unet18-layer3")}, single_expert_segmenter, short_side=64
    )
    prediction = colorizer.predict(random_lightness(64, 64)[0, 0].numpy())
    torch.testing.assert_close(prediction.ab, prediction.single)
    assert prediction.shares["places"] == pytest.approx(1)


def test_a_photo_too_large_for_the_gpu_is_predicted_on_the_cpu(monkeypatch):
    colorizer = random_colorizer()
    L = random_lightness(64, 64, photos=1)[0, 0].numpy()
    expected, predict, tried = colorizer.predict(L), colorizer._predict, []

    def small_gpu(L: np.ndarray, *asked: object):
        tried.append(colorizer.device)
        if colorizer.device != "cpu" or len(tried) > 2:
            raise torch.OutOfMemoryError("Tried to allocate 20.00 GiB")
        return predict(L, *asked)

    monkeypatch.setattr(colorizer, "_predict", small_gpu)
    monkeypatch.setattr(colorizer, "_move", lambda to: setattr(colorizer, "device", to))
    colorizer.device = "cuda"
    torch.testing.assert_close(colorizer.predict(L).ab, expected.ab)
    assert (tried, colorizer.device) == (["cuda", "cpu"], "cuda")
    with pytest.raises(torch.OutOfMemoryError):  # neither has the memory: its photo is quarantined
        colorizer.predict(L)
    assert (tried[2:], colorizer.device) == (["cuda", "cpu"], "cuda")


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_a_gpu_gives_the_colours_of_the_cpu():
    L = random_lightness(80, 120, photos=1)[0, 0].numpy()
    on_gpu, on_cpu = (random_colorizer(device=d).predict(L).ab.cpu() for d in ("cuda", "cpu"))
    torch.testing.assert_close(on_gpu, on_cpu, atol=0.5, rtol=0.05)


def test_temperature_sharpens_and_softens_and_the_floor_is_kept():
    weight, L = random_weights(), torch.full((2, 1, 40, 56), 50.0)

    def peak(**options) -> float:
        refined = refine_weights(weight, L, MergeOptions(feather=0, **options))
        torch.testing.assert_close(refined.sum(dim=1), torch.ones(2, 40, 56))
        return refined.amax(dim=1).mean().item()

    peaks = [peak(temperature=temperature) for temperature in (0.5, 1.0, 2.0)]
    assert peaks[0] > peaks[1] + 0.05 > peaks[2] + 0.1
    assert peaks[1] > peak() > peaks[2], "the default is a little softer than the segmenter"
    kept = refine_weights(weight, L, MergeOptions(feather=0, floor=0.5))
    assert kept[:, 3].min() >= 1 / 3 and kept[:, 3].mean() > weight[:, 3].mean() + 0.1


def test_a_wider_feather_smooths_weights_further():
    weight = torch.zeros(1, 4, 64, 64)
    weight[:, 0, :, :32], weight[:, 3, :, 32:] = 1, 1
    flat = torch.full((1, 1, 64, 64), 50.0)

    def width(feather: float) -> int:
        people = refine_weights(weight, flat, MergeOptions(feather=feather))[0, 0, 32]
        return int(((people > 0.02) & (people < 0.98)).sum())

    assert width(0) == 0 < width(1 / 16) < width(1 / 4)


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"mode": "mean"}, "soft, hard"),
        ({"temperature": 0.0}, "temperature over 0"),
        ({"floor": 2.0}, "floor of 0..1"),
        ({"feather": 0.6}, "feather of 0..0.5"),
        ({"threshold": -0.1}, "threshold of 0..1"),
        ({"abstain": -1.0}, "abstain of 0 or more"),
    ],
)
def test_wrong_merge_options_name_what_is_allowed(options, named):
    with pytest.raises(ConfigError, match=named):
        MergeOptions(**options)


def test_disagreement_is_the_weighted_spread_of_the_experts():
    ab = {k: torch.full((1, 2, 4, 4), value) for k, value in ((0, 10.0), (3, 20.0))}
    weight = torch.zeros(1, 4, 4, 4)
    weight[:, 0], weight[:, 3] = 0.5, 0.5
    weight[..., 0, 0] = torch.tensor([1.0, 0, 0, 0])
    spread = disagreement(ab, weight, merge(ab, weight))
    assert spread[0, 0, 0, 0] == 0
    assert spread[0, 0, 1, 1] == pytest.approx(5 * 2**0.5)


def test_uncertain_pixels_stay_gray_and_certain_ones_keep_their_colours():
    L = random_lightness(64, 64)[0, 0].numpy()
    plain = random_colorizer(uncertainty=True).predict(L)
    assert plain.uncertainty is not None and plain.uncertainty.shape == (1, 1, 64, 64)
    limit = plain.uncertainty.median().item()
    careful = random_colorizer(merge=MergeOptions(abstain=limit)).predict(L)
    chroma = careful.ab.abs().sum(dim=1, keepdim=True)
    assert (chroma[plain.uncertainty >= limit] == 0).all()
    certain = (plain.uncertainty < 0.79 * limit).expand(1, 2, 64, 64)
    torch.testing.assert_close(careful.ab[certain], plain.ab[certain])
    assert random_colorizer().predict(L).uncertainty is None


class Halves(torch.nn.Module):
    """A segmenter of one's own: people left, places right."""

    def __init__(self, weights: Path | None = None) -> None:
        super().__init__()
        self.share = float(weights.read_text()) if weights else 1.0

    def forward(self, L):
        weight = L.new_zeros(len(L), 4, *L.shape[-2:])
        middle = L.shape[-1] // 2
        weight[..., 0, :, :middle], weight[..., 3, :, middle:] = self.share, self.share
        return weight


def test_a_segmenter_of_ones_own_is_imported_and_tried(tmp_path, monkeypatch):
    module = types.ModuleType("halves")
    module.Halves = Halves
    monkeypatch.setitem(sys.modules, "halves", module)
    weight = import_segmenter("halves:Halves", None)(random_lightness(8, 6))
    assert weight[0, 0, 0].tolist() == [1, 1, 1, 0, 0, 0]
    (tmp_path / "share.txt").write_text("0.5")
    with pytest.raises(WeightsMismatchError, match=r"sums of 0\.50\.\.0\.50"):
        import_segmenter("halves:Halves", tmp_path / "share.txt")
    for name in ("halves:Thirds", "no_such_module:X"):
        with pytest.raises(ConfigError, match="PYTHONPATH"):
            import_segmenter(name, None)


def test_classes_may_be_given_to_other_categories():
    owner = PAPER.owners(moved={"horse": "people", "car": "animals"})
    changed = [i for i, (a, b) in enumerate(zip(owner, PAPER.owners(), strict=True)) if a != b]
    assert [VOC_CLASSES[i] for i in changed] == ["car", "horse"]
    with pytest.raises(ConfigError, match="aeroplane"):
        PAPER.owners(moved={"hores": "people"})
    with pytest.raises(ConfigError, match="people, birds"):
        PAPER.owners(moved={"horse": "pets"})


def test_a_blank_photo_stays_gray_but_for_hints():
    experts = {name: build_network("unet18-layer3") for name in CATEGORY_NAMES}
    colorizer = MergedColorizer(experts, single_expert_segmenter, short_side=64)
    noise = 50 + np.random.default_rng(0).normal(0, 5, (64, 96)).astype(np.float32)
    found = colorizer.predict(noise)
    assert found.blank and not found.ab.any()
    hinted = colorizer.predict(noise, [Hint(across=0.5, down=0.5, ab=(30.0, -20.0))])
    torch.testing.assert_close(
        hinted.ab[0, :, 32, 48], torch.tensor([30.0, -20.0]), atol=0.2, rtol=0
    )


def starter(**options) -> MergedColorizer:
    spec = starter_models(short_side=256)
    experts = {name: load_colorizer(Path(path))[0] for name, path in spec.experts}
    return MergedColorizer(experts, load_segmenter(spec), **options)


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_a_photo_has_the_same_bits_in_any_company(precision):
    colours = starter(variants=1, precision=precision)
    every = random_lightness(96, 128, photos=9)[:, 0].numpy()
    asked = [Asked(L, palette=PaletteChoice(entry=1 + n)) for n, L in enumerate(every)]
    assert colours.together((96, 128)) == 8
    alone = [colours.predict_many([one])[0] for one in asked]
    for company in ((0, 1), (3, 4, 5, 6, 7), (8, 7, 6, 5, 4, 3, 2, 1)):
        found = colours.predict_many([asked[n] for n in company])
        for n, prediction in zip(company, found, strict=True):
            assert torch.equal(prediction.ab, alone[n].ab)
            assert torch.equal(prediction.variants[0].ab, alone[n].variants[0].ab)
            assert prediction.shares == alone[n].shares


def test_photos_smaller_than_the_networks_size_are_seen_at_their_own():
    colours = random_colorizer()
    colours.short_side = 256
    sizes = {(112, 150): (112, 150), (60, 80): (96, 128), (300, 400): (256, 341)}
    for size, seen in sizes.items():
        assert colours.size_of(*size) == seen
        assert (
            colours.predict(random_lightness(*size, photos=1)[0, 0].numpy()).ab.shape[-2:] == seen
        )
