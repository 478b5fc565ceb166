"""Other categories than the paper's: who owns which class, what segmenters say of them, how they merge."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torchvision.models import segmentation

from chromaflow.library.networks import joint_state
from colorization.categories import (
    COLOURS,
    PAPER,
    VOC_CLASSES,
    Categories,
    Category,
    category_colours,
)
from colorization.errors import ConfigError, WeightsMismatchError
from colorization.merging.deeplab import GrayDeepLab, by_category
from colorization.merging.inference import MergedColorizer
from colorization.merging.options import MergeOptions
from colorization.merging.segmentation import build_segmenter
from colorization.networks import build_network
from colorization.networks.unet_scene import SceneColorizer

FIVE = Categories(
    (
        Category("people", ("person",)),
        Category("birds", ("bird",)),
        Category("cats", ("cat",)),
        Category("livestock", ("cow", "dog", "horse", "sheep")),
        Category("places", ()),
    )
)
"""The paper's, with its animals in two."""


def lightness(*size: int) -> torch.Tensor:
    torch.manual_seed(1)
    return 100 * torch.rand(*size)


def test_every_class_has_one_owner_and_the_last_owns_the_rest() -> None:
    owners = dict(zip(VOC_CLASSES, FIVE.owners(), strict=True))
    assert owners["cat"] == 2 and owners["horse"] == 3 and owners["person"] == 0
    assert {voc for voc, k in owners.items() if k == 4} >= {"background", "car", "sofa"}
    assert Categories.from_json(FIVE.to_json()) == FIVE
    assert Categories.from_json(None) == PAPER


@pytest.mark.parametrize(
    ("categories", "words"),
    [
        ((), "last category without classes"),
        ((Category("cats", ("cat",)),), "last category without classes"),
        ((Category("cats", ("kat",)), Category("rest", ())), "aeroplane.*got 'kat'"),
        ((Category("a", ("cat",)), Category("b", ("cat",)), Category("c", ())), "'cat' twice"),
        ((Category("a", ("cat",)), Category("a", ())), "'a' twice"),
    ],
)
def test_what_shares_no_classes_out_is_refused(
    categories: tuple[Category, ...], words: str
) -> None:
    with pytest.raises(ConfigError, match=words):
        Categories(categories)


def test_a_category_starts_from_the_one_of_the_paper_that_owns_its_first_class() -> None:
    own = Categories(
        (
            Category("cats", ("cat", "car")),
            Category("traffic", ("bus", "dog")),
            Category("crowd", ("person",)),
            Category("elsewhere", ()),
        )
    )
    assert [own.parent(name) for name in own.names] == ["animals", "places", "people", "places"]
    assert [PAPER.parent(name) for name in PAPER.names] == list(PAPER.names)


def test_the_starter_adds_up_the_classes_of_each_category() -> None:
    torch.manual_seed(0)
    logits = 3 * torch.randn(2, 21, 9, 7)
    classes = logits.softmax(dim=1)
    shares = by_category(logits, FIVE).exp()
    for k, name in enumerate(FIVE.names):
        own = [c for c, owner in enumerate(FIVE.owners()) if owner == k]
        torch.testing.assert_close(shares[:, k], classes[:, own].sum(dim=1), msg=name)
    four = by_category(logits).exp()
    torch.testing.assert_close(four[:, 2], shares[:, 2] + shares[:, 3])
    for k in (0, 1, -1):
        assert torch.equal(four[:, k], shares[:, k]), "who loses and gains nothing keeps its bits"


@pytest.mark.parametrize("name", ["starter", "torchvision:lraspp_mobilenet_v3_large"])
def test_the_same_weights_serve_any_categories(name: str) -> None:
    network = (
        GrayDeepLab()
        if name == "starter"
        else segmentation.lraspp_mobilenet_v3_large(
            weights=None, weights_backbone=None, num_classes=21
        )
    )
    L, state = lightness(1, 1, 64, 96), network.state_dict()
    with torch.inference_mode():
        five = build_segmenter(name, state, None, FIVE)(L)
        four = build_segmenter(name, state)(L)
    assert five.shape == (1, 5, 64, 96)
    torch.testing.assert_close(five.sum(dim=1), torch.ones(1, 64, 96))
    torch.testing.assert_close(five[:, 0], four[:, 0], atol=2e-3, rtol=0)
    torch.testing.assert_close(five[:, 2] + five[:, 3], four[:, 2], atol=2e-3, rtol=0)


@pytest.mark.parametrize("mode", ["soft", "hard"])
def test_a_category_in_two_colours_as_one_until_a_part_has_its_own_expert(
    mode: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    ones = np.ones((1, 1), np.float32)  # noise shows nothing, and stands for a photo here
    monkeypatch.setattr("colorization.merging.scene.evidence", lambda L: ones)
    torch.manual_seed(2)
    experts = {name: build_network("unet18-layer3") for name in PAPER.names}
    for network in experts.values():
        torch.nn.init.normal_(network.head.weight, std=0.5)
    L = lightness(64, 64).numpy()
    strongest = torch.zeros(1, 5, 64, 64)
    strongest[:, 0, :, :20], strongest[:, 2, :, 20:40], strongest[:, 3, :, 40:] = 0.8, 0.8, 0.8
    five = (strongest + 0.04) / (strongest + 0.04).sum(dim=1, keepdim=True)
    four = torch.cat([five[:, :2], five[:, 2:4].sum(dim=1, keepdim=True), five[:, 4:]], dim=1)
    options = {"merge": MergeOptions(mode=mode, threshold=0, temperature=1), "short_side": 64}
    options["precision"] = "fp32"
    animals = {"cats": experts["animals"], "livestock": experts["animals"]}
    parted = {name: experts[name] for name in ("people", "birds", "places")} | animals
    whole = MergedColorizer(experts, lambda L: four, **options).predict(L)  # type: ignore[arg-type]
    split = MergedColorizer(parted, lambda L: five, categories=FIVE, **options).predict(L)  # type: ignore[arg-type]
    torch.testing.assert_close(split.ab, whole.ab, atol=2e-3, rtol=0)
    assert whole.ab.abs().mean() > 1
    assert list(split.shares) == list(FIVE.names)
    parted["cats"] = experts["people"]
    other = MergedColorizer(parted, lambda L: five, categories=FIVE, **options).predict(L)  # type: ignore[arg-type]
    apart = (other.ab - whole.ab).abs().amax(dim=1)[0]
    assert apart[:, 22:38].mean() > 5 * apart[:, 48:].mean()


def test_an_expert_of_no_category_is_refused() -> None:
    network = build_network("unet18-layer3")
    with pytest.raises(ConfigError, match="people, birds, cats, livestock, places; got 'animals'"):
        MergedColorizer({"animals": network}, lambda L: L, categories=FIVE)


def test_colours_of_the_paper_stay_and_others_differ() -> None:
    names = [*PAPER.names, *(f"own{i}" for i in range(8))]
    colours = category_colours(names)
    assert {name: colours[name] for name in PAPER.names} == COLOURS
    assert len(set(colours.values())) == 12
    assert category_colours(FIVE.names)["people"] == COLOURS["people"]
    assert category_colours([f"own{i}" for i in range(9)])["own8"] == colours["own0"]


def test_heads_of_other_categories_start_from_their_parents(tmp_path) -> None:
    torch.manual_seed(4)
    four = SceneColorizer(num_heads=4)
    for value in four.state_dict().values():
        if value.is_floating_point():
            value.normal_()
    network, state = SceneColorizer(num_heads=5), four.state_dict()
    found = joint_state(network, state, {}, FIVE, tmp_path)
    network.load_state_dict(found)
    for number, head in enumerate((0, 1, 2, 2, 3)):
        own, parent = (SceneColorizer.head_of(s, k) for s, k in ((found, number), (state, head)))
        assert all(torch.equal(own[key], value) for key, value in parent.items())
    with pytest.raises(WeightsMismatchError, match="Expected a head of people"):
        joint_state(network, state, {"heads": ["a", "b", "c", "d"]}, FIVE, tmp_path)
