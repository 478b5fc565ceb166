"""Networks and recipes: sizes, contract, pretrained encoder, allowed names."""

from __future__ import annotations

import pytest
import torch
from torchvision.models import resnet18

from colorization.errors import ConfigError, WeightsMismatchError
from colorization.networks import NETWORK_NAMES, build_network
from colorization.networks.encoder import ResNet18Encoder
from colorization.recipes import build_recipe
from colorization.training import scheduled_rate


@pytest.mark.parametrize(
    ("name", "millions"), [("resnet18", 13.96), ("unet18", 12.71), ("unet18-layer3", 3.40)]
)
def test_networks_have_the_documented_number_of_parameters(name, millions):
    total = sum(p.numel() for p in build_network(name).parameters())
    assert round(total / 1e6, 2) == millions


@pytest.mark.parametrize("name", NETWORK_NAMES)
@pytest.mark.parametrize("size", [(40, 70), (33, 65), (32, 32)])
def test_networks_answer_odd_sizes_at_the_same_size(name, size):
    with torch.inference_mode():
        ab = build_network(name)(torch.rand(1, 1, *size) - 0.5)
    assert ab.shape == (1, 2, *size)
    assert ab.isfinite().all()


def test_an_unknown_network_is_refused_with_the_allowed_names():
    with pytest.raises(ConfigError, match="resnet18, unet18, unet18-layer3; got 'vgg'"):
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
    rates = [scheduled_rate(build_recipe("paper"), step, 200) for step in range(200)]
    expected = [rate for rate in (1e-2, 1e-3, 1e-4, 1e-5) for _ in range(50)]
    assert rates == pytest.approx(expected)


def test_the_cosine_runs_from_the_first_to_the_final_rate():
    recipe = build_recipe("default")
    rates = [scheduled_rate(recipe, step, 100) for step in (0, 50, 100, 101)]
    assert rates == pytest.approx([1e-3, (1e-3 + 1e-6) / 2, 1e-6, 1e-6])


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ({"learnig_rate": 1}, "learning_rate.*got 'learnig_rate'"),
        ({"network": "vgg"}, "unet18"),
        ({"loss": "l3"}, "loss of l2, l1, huber; got 'l3'"),
        ({"crop": 50}, "multiple of 32"),
        ({"epochs": 0}, "epochs of 1 or more"),
        ({"final_learning_rate": 1.0}, "final_learning_rate <= learning_rate"),
    ],
)
def test_a_wrong_recipe_override_is_refused(overrides, message):
    with pytest.raises(ConfigError, match=message):
        build_recipe("paper", overrides)


def test_an_unknown_recipe_is_refused_with_the_known_ones():
    with pytest.raises(ConfigError, match="paper, default, starter; got 'best'"):
        build_recipe("best")
