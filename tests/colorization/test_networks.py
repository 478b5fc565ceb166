"""Networks and recipes: sizes, contract, pretrained encoder, allowed names."""

from __future__ import annotations

import csv
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from torchvision.models import resnet18

from colorization.colour.bins import bin_centres, rebalancing, soft_codes
from colorization.colour.lab import L_CENTRE, L_SPREAD, gray_to_L, rgb_to_lab
from colorization.errors import ConfigError, WeightsMismatchError
from colorization.networks import (
    BINS,
    ENCODER,
    HINTS,
    LABELS,
    NETWORK_NAMES,
    build_network,
    networks_that,
)
from colorization.networks.cost import network_cost
from colorization.networks.encoder import (
    IMAGENET_GRAY_MEAN,
    IMAGENET_GRAY_STD,
    ResNet18Encoder,
)
from colorization.networks.resnet18_trunk import gray_luma
from colorization.training.optimization import scheduled_rate
from colorization.training.recipes import build_recipe

RELEASES = Path(__file__).parent / "releases"
COSTS = {
    "resnet18": (13.96, 5.9),
    "resnet18-trunk": (0.95, 4.2),
    "unet18": (12.71, 9.3),
    "unet18-layer3": (3.40, 7.9),
    "unet18-stride4": (12.64, 6.7),
    "unet-scene": (13.70, 7.4),
    "eccv16": (32.24, 83.6),  # published
    "siggraph17": (34.19, 150.5),  # published; 34.05 without the 529-bin head
    "iizuka16": (42.17, 29.1),
    "hypercolumn": (11.68, 6.7),
}


def test_the_encoder_is_torchvisions_resnet18_without_its_head():
    theirs, ours = resnet18(weights=None).eval(), ResNet18Encoder().eval()
    theirs.conv1 = torch.nn.Conv2d(1, 64, kernel_size=7, stride=2, padding=3, bias=False)
    state = {key: value for key, value in theirs.state_dict().items() if "fc" not in key}
    drawn = ours.state_dict()
    assert [(k, v.shape) for k, v in drawn.items()] == [(k, v.shape) for k, v in state.items()]
    for key in ("layer1.0.conv1.weight", "layer4.1.conv2.weight", "layer3.0.downsample.0.weight"):
        assert drawn[key].std().item() == pytest.approx(state[key].std().item(), rel=0.05)
    ours.load_state_dict(state)
    L_norm = torch.rand(2, 1, 64, 96) - 0.5
    x = (L_norm + L_CENTRE / L_SPREAD - IMAGENET_GRAY_MEAN) / IMAGENET_GRAY_STD
    x = theirs.relu(theirs.bn1(theirs.conv1(x)))
    expected = [x]
    x = theirs.maxpool(x)
    for layer in (theirs.layer1, theirs.layer2, theirs.layer3, theirs.layer4):
        x = layer(x)
        expected.append(x)
    found = ours(L_norm)
    assert len(found) == len(expected)
    assert all(torch.equal(one, other) for one, other in zip(found, expected, strict=True))


def test_colouring_starts_without_torchvision_and_scipy():
    code = (
        "import sys, tasks.jobs.colorize; from colorization.networks import build_network\n"
        "build_network('unet18'); print([m for m in ('torchvision', 'scipy') if m in sys.modules])"
    )
    command = [sys.executable, "-P", "-c", code]
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])}
    said = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    assert said.stdout == "[]\n"


def test_every_network_has_a_known_cost():
    assert set(COSTS) == set(NETWORK_NAMES)


@pytest.mark.parametrize("name", NETWORK_NAMES)
def test_networks_have_the_documented_parameters_and_operations(name):
    millions, gflops = COSTS[name]
    network = build_network(name)
    cost = network_cost(network)
    assert cost.parameters == pytest.approx(1e6 * millions, abs=1e4)
    assert cost.gflops == pytest.approx(gflops, rel=0.02)
    described = " ".join(str(type(network).__doc__).split())
    if name == "siggraph17":
        head = sum(p.numel() for p in network.model_class.parameters())
        assert cost.parameters - head == pytest.approx(34.05e6, abs=1e4)
        millions = 34.05
    assert f"{millions:.1f}" in described or f"{millions:.2f}" in described
    assert f"{gflops} G" in described


@pytest.mark.parametrize("name", ["eccv16", "siggraph17"])
def test_released_networks_have_the_keys_and_shapes_of_their_releases(name):
    with (RELEASES / f"{name}.keys.csv").open() as lines:
        published = [(row["key"], row["shape"]) for row in csv.DictReader(lines)]
    state = build_network(name).state_dict()
    assert [(k, "x".join(map(str, v.shape))) for k, v in state.items()] == published


def test_the_papers_published_state_dict_loads_by_key():
    """Keys as the authors' code writes them: a ResNet cut after layer2, then a Sequential."""
    backbone = resnet18(weights=None)
    backbone.conv1.weight = torch.nn.Parameter(backbone.conv1.weight.sum(dim=1, keepdim=True))
    trunk = torch.nn.Sequential(*list(backbone.children())[:6])
    state = {f"midlevel_resnet.{key}": value for key, value in trunk.state_dict().items()}
    decoder = ((0, 128, 128), (4, 128, 64), (7, 64, 64), (11, 64, 32), (14, 32, 2))
    for number, before, after in decoder:
        layers = {number: torch.nn.Conv2d(before, after, 3)}
        if after > 2:
            layers[number + 1] = torch.nn.BatchNorm2d(after)
        for i, layer in layers.items():
            state |= {f"upsample.{i}.{key}": value for key, value in layer.state_dict().items()}
    network = build_network("resnet18-trunk")
    network.load_state_dict(state)
    assert sum(p.numel() for p in network.parameters()) == 954_722


def test_the_trunk_sees_the_gamma_luma_that_the_authors_fed_it():
    gray = np.arange(256, dtype=np.uint8)[None]
    luma = gray_luma(torch.from_numpy(gray_to_L(gray)))
    np.testing.assert_allclose(luma.numpy(), gray / 255, atol=2e-4)


def test_siggraphs_hints_change_the_colours_and_none_is_zeros():
    torch.manual_seed(0)
    network = build_network("siggraph17")
    L_norm = torch.rand(1, 1, 40, 48) - 0.5
    hints = torch.zeros(1, 3, 40, 48)
    with torch.inference_mode():
        without = network(L_norm)
        torch.testing.assert_close(network(L_norm, hints), without)
        hints[:, :, 20, 20] = torch.tensor([40.0, 30.0, 1.0])
        assert (network(L_norm, hints) - without).abs().max() > 0


def test_bins_are_the_centres_nearest_to_srgb_and_codes_reproduce_the_colour():
    gamut, grid = bin_centres("gamut313"), bin_centres("grid529")
    assert (len(gamut), len(grid)) == (313, 529)
    in_grid = {tuple(centre) for centre in grid.tolist()}
    assert {tuple(centre) for centre in gamut.tolist()} < in_grid
    assert tuple(np.rint(rgb_to_lab(np.array([[[0, 0, 255]]], np.uint8))[1:, 0, 0] / 10) * 10) in {
        tuple(centre) for centre in gamut.tolist()
    }
    index, share = soft_codes("gamut313")
    stored = 256 * (128 + 23) + (128 - 14)
    assert share[stored].sum() == pytest.approx(1)
    assert gamut[index[stored, 0]].tolist() == [20, -10]
    np.testing.assert_allclose(
        (gamut[index[stored]] * share[stored, :, None]).sum(0), (23, -14), atol=2
    )


def test_rebalancing_lifts_rare_bins_and_keeps_the_mean():
    prior = np.array([0.9, 0.09, 0.01])
    weight = rebalancing(prior, 0.5)
    assert weight[2] > weight[1] > weight[0]
    assert (prior * weight).sum() == pytest.approx(1)
    np.testing.assert_allclose(rebalancing(prior, 1.0), 1)


@pytest.mark.parametrize("name", networks_that(ENCODER))
def test_encoders_start_from_torchvisions_weights(name):
    state = resnet18(weights=None).state_dict()
    network = build_network(name)
    network.load_encoder(state)
    key = (
        "midlevel_resnet.4.1.conv2.weight"
        if name == "resnet18-trunk"
        else "encoder.layer1.1.conv2.weight"
    )
    torch.testing.assert_close(network.state_dict()[key], state["layer1.1.conv2.weight"])
    first = "midlevel_resnet.0.weight" if name == "resnet18-trunk" else "encoder.conv1.weight"
    torch.testing.assert_close(
        network.state_dict()[first], state["conv1.weight"].sum(dim=1, keepdim=True)
    )


def test_a_network_without_an_encoder_refuses_encoder_weights():
    with pytest.raises(ConfigError, match="ResNet-18 encoder"):
        build_network("eccv16").load_encoder(resnet18(weights=None).state_dict())


@pytest.mark.parametrize("name", NETWORK_NAMES)
@pytest.mark.parametrize("size", [(40, 70), (33, 65), (32, 32)])
def test_networks_answer_odd_sizes_at_the_same_size(name, size):
    with torch.inference_mode():
        ab = build_network(name)(torch.rand(1, 1, *size) - 0.5)
    assert ab.shape == (1, 2, *size)
    assert ab.isfinite().all()


@pytest.mark.parametrize("name", NETWORK_NAMES)
def test_the_registry_says_of_a_network_what_its_class_does(name):
    network = build_network(name, num_classes=3)
    outputs = network.outputs(torch.zeros(1, 1, 64, 64))
    does = {
        BINS: network.bins is not None,
        HINTS: network.takes_hints,
        ENCODER: "load_encoder" in vars(type(network)) or hasattr(network, "encoder"),
        LABELS: outputs.scene_logits is not None,
    }
    assert does == {can: name in networks_that(can) for can in does}


def test_an_unknown_network_is_refused_with_the_allowed_names():
    with pytest.raises(ConfigError, match="resnet18, resnet18-trunk, unet18, .*; got 'vgg'"):
        build_network("vgg")


def test_the_encoder_on_gray_equals_torchvisions_on_gray_as_rgb():
    torch.manual_seed(0)
    backbone = resnet18(weights=None).eval()
    encoder = ResNet18Encoder(depth=4).eval()
    encoder.load_backbone(backbone.state_dict())
    luma = torch.rand(2, 1, 64, 96)
    rgb = ((luma - 0.449) / 0.226).expand(-1, 3, -1, -1)
    with torch.inference_mode():
        x = backbone.maxpool(backbone.relu(backbone.bn1(backbone.conv1(rgb))))
        for layer in (backbone.layer1, backbone.layer2, backbone.layer3, backbone.layer4):
            x = layer(x)
        torch.testing.assert_close(encoder(luma - 0.5)[-1], x, rtol=1e-3, atol=1e-3)


def test_the_encoder_takes_a_backbone_without_head_and_counters():
    state = resnet18(weights=None).state_dict()
    state = {k: v for k, v in state.items() if "fc" not in k and "num_batches" not in k}
    encoder = ResNet18Encoder(depth=2)
    encoder.load_backbone(state)
    torch.testing.assert_close(
        encoder.state_dict()["layer2.1.conv2.weight"], state["layer2.1.conv2.weight"]
    )


def test_a_backbone_without_a_layer_is_refused_by_its_key():
    state = resnet18(weights=None).state_dict()
    del state["layer3.0.conv1.weight"]
    with pytest.raises(WeightsMismatchError, match=r"layer3\.0\.conv1\.weight .*no such key"):
        ResNet18Encoder().load_backbone(state)


def test_the_papers_schedule_has_four_equal_plateaus():
    rates = [scheduled_rate(build_recipe("paper").optimization, step, 200) for step in range(200)]
    expected = [rate for rate in (1e-2, 1e-3, 1e-4, 1e-5) for _ in range(50)]
    assert rates == pytest.approx(expected)


def test_the_cosine_runs_from_the_first_to_the_final_rate():
    cosine = build_recipe("default").optimization
    rates = [scheduled_rate(cosine, step, 100) for step in (0, 50, 100, 101)]
    assert rates == pytest.approx([1e-3, (1e-3 + 1e-6) / 2, 1e-6, 1e-6])


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ({"learnig_rate": 1}, "learning_rate.*got 'learnig_rate'"),
        ({"network": "vgg"}, "unet18"),
        ({"loss": "l3"}, "loss of l2, l1, huber, classification; got 'l3'"),
        ({"crop": 50}, "multiple of 32"),
        ({"epochs": -1}, "epochs of 0 or more"),
        ({"final_learning_rate": 1.0}, "final_learning_rate <= learning_rate"),
        ({"loss": "classification"}, "eccv16, siggraph17, hypercolumn for loss"),
        ({"scene": 0.1}, "network of iizuka16 for scene"),
        ({"hints": 2}, "network of siggraph17 for hints"),
        ({"ema": 1.0}, "ema of 0 or more and under 1"),
        ({"patience": -1}, "patience of 0 or more"),
        ({"rebalance": 0}, "rebalance over 0"),
        ({"wear": 1.5}, r"wear of 0\.\.1, got 1\.5"),
        ({"known": -1}, "known of 0 or more"),
        ({"palette_noise": -0.1}, "palette_noise of 0 or more"),
        ({"palette_view": 2}, r"palette_view of 0\.\.1"),
        ({"palette_part": 0}, "palette_part over 0, up to 1"),
        ({"network": "unet-scene"}, "loss = \"huber\" for network unet-scene, got 'l2'"),
        (
            {"network": "unet-scene", "loss": "huber", "perceptual": 1, "compile": True},
            "adversarial, compile for network unet-scene, got perceptual, compile",
        ),
        ({"network": "unet-scene", "loss": "huber", "batch": 1}, "batch of 2 or more"),
    ],
)
def test_a_wrong_recipe_override_is_refused(overrides, message):
    with pytest.raises(ConfigError, match=message):
        build_recipe("paper", overrides)


def test_an_unknown_recipe_is_refused_with_the_known_ones():
    with pytest.raises(ConfigError, match="paper, authors, default, scene, starter; got 'best'"):
        build_recipe("best")
