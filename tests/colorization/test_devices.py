"""What runs on a GPU, against the kernels that CUDA has: by a list of them here, on a GPU itself there."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from colorization.categories import CATEGORY_NAMES
from colorization.merging.deeplab import GrayDeepLab
from colorization.merging.hinting import Hint
from colorization.merging.inference import MergedColorizer, single_expert_segmenter
from colorization.merging.options import MergeOptions
from colorization.merging.segmentation import StarterSegmenter
from colorization.networks import NETWORK_NAMES, build_network
from colorization.networks.iizuka16 import Iizuka16Colorizer
from colorization.training.feeding import PhotoBatch, augment
from colorization.training.loop import Trainer
from colorization.training.objective import needs_statistics
from colorization.training.perceptual import PerceptualDistance
from colorization.training.recipes import RECIPES, build_recipe
from colorization.training.statistics import colour_statistics

_ANY_TYPE = frozenset(
    [
        "_to_copy",
        "_unsafe_view",
        "alias",
        "as_strided",
        "cat",
        "clone",
        "copy_",
        "detach",
        "empty",
        "empty_like",
        "empty_strided",
        "expand",
        "eq",
        "fill_",
        "flip",
        "index",
        "lift_fresh",
        "new_empty",
        "new_empty_strided",
        "permute",
        "select",
        "set_",
        "slice",
        "split",
        "squeeze",
        "stack",
        "t",
        "transpose",
        "unbind",
        "unsqueeze",
        "view",
        "zero_",
    ]
)
"""Operators whose CUDA kernels take bytes, as ATen's dispatch macros say (AT_DISPATCH_V2 over all
types). What resizes, pools, convolves or counts is none of them."""


class OnlyKernelsOfCuda(TorchDispatchMode):
    """Raises where bytes reach an operator that CUDA may have no kernel for."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = func.overloadpacket.__name__
        if name not in _ANY_TYPE and torch.uint8 in _types([*args, *(kwargs or {}).values()]):
            raise AssertionError(f"{name} is given bytes: convert before it, round behind it")
        return func(*args, **(kwargs or {}))


def _types(values: Any) -> Iterator[torch.dtype]:
    for value in values:
        if isinstance(value, torch.Tensor):
            yield value.dtype
        elif isinstance(value, list | tuple):
            yield from _types(value)


def batch(side: int = 64, photos: int = 4) -> PhotoBatch:
    stored = np.random.default_rng(1).integers(60, 200, (photos, 3, side, side), np.uint8)
    return PhotoBatch(torch.from_numpy(stored), torch.arange(photos) % 2)


def vgg16() -> dict[str, torch.Tensor]:
    """Weights of the right shapes for the perceptual distance."""
    widths = {0: (3, 64), 2: (64, 64), 5: (64, 128), 7: (128, 128), 10: (128, 256), 12: (256, 256)}
    widths |= {14: (256, 256), 17: (256, 512), 19: (512, 512), 21: (512, 512)}
    state = {}
    for number, (before, after) in widths.items():
        state[f"{number}.weight"] = torch.randn(after, before, 3, 3) / (3 * before**0.5)
        state[f"{number}.bias"] = torch.zeros(after)
    return state


def trainer(recipe_name: str, device: str, **overrides: Any) -> Trainer:
    torch.manual_seed(0)
    recipe = build_recipe(recipe_name, {"batch": 4, "crop": 32, "epochs": 1} | overrides)
    objective, photos = recipe.objective, batch()
    statistics = colour_statistics([(photos.stored.numpy(), photos.labels.numpy())], 2)
    return Trainer(
        build_network(recipe.network, num_classes=2 if objective.scene else 0),
        recipe,
        num_photos=8,
        device=device,
        statistics=statistics if needs_statistics(objective) else None,
        perceptual=PerceptualDistance(vgg16()) if objective.perceptual else None,
    )


def train(recipe_name: str, device: str, **overrides: Any) -> list[float]:
    trained = trainer(recipe_name, device, **overrides)
    photos, losses = batch(), []
    if isinstance(trained.network, Iizuka16Colorizer):
        photos = batch(photos=2)
    on_device = PhotoBatch(photos.stored.to(device), photos.labels.to(device))
    trained.train_epoch([on_device, on_device], losses.append)
    return losses


def colorizer(device: str, **options: Any) -> MergedColorizer:
    torch.manual_seed(0)
    experts = {name: build_network("unet18-stride4") for name in CATEGORY_NAMES}
    segmenter = options.pop("segmenter", None) or StarterSegmenter(GrayDeepLab())
    return MergedColorizer(experts, segmenter, device=device, short_side=64, **options)


TERMS: dict[str, dict[str, Any]] = {
    "l2": {"loss": "l2"},
    "l1": {"loss": "l1"},
    "classification": {"loss": "classification", "network": "eccv16"},
    "semantic prior": {"semantic_prior": 0.1},
    "colourfulness": {"colourfulness": 0.1},
    "adversarial": {"adversarial": 0.1},
    "perceptual": {"perceptual": 0.1},
    "scene": {"scene": 0.1, "network": "iizuka16"},
    "hints": {"hints": 2.0, "network": "siggraph17"},
    "jitter": {"lightness_jitter": 0.3, "smallest_crop": 0.5, "horizontal_flip": 0.5},
    "moving average": {"ema": 0.9, "clip_norm": 1.0},
    "wear": {"wear": 1.0},
    "palettes": {"network": "unet-scene", "palette_view": 1.0},
}
LOOKS: dict[str, dict[str, Any]] = {
    "soft": {"merge": MergeOptions()},
    "hard": {"merge": MergeOptions(mode="hard")},
    "warm, floored": {"merge": MergeOptions(temperature=2.0, floor=0.1)},
    "abstaining": {"merge": MergeOptions(abstain=10.0), "uncertainty": True},
    "one expert": {"segmenter": single_expert_segmenter},
}
HINTS = (Hint(across=0.3, down=0.6, ab=(20.0, -30.0)),)


@pytest.mark.parametrize("recipe", sorted(RECIPES))
def test_bytes_reach_no_kernel_that_cuda_has_not_got_when_a_recipe_trains(recipe: str) -> None:
    with OnlyKernelsOfCuda():
        assert np.isfinite(train(recipe, "cpu")).all()


@pytest.mark.parametrize("term", TERMS)
def test_bytes_reach_no_kernel_that_cuda_has_not_got_whatever_the_loss(term: str) -> None:
    with OnlyKernelsOfCuda():
        assert np.isfinite(train("default", "cpu", **TERMS[term])).all()


@pytest.mark.parametrize("look", LOOKS)
def test_bytes_reach_no_kernel_that_cuda_has_not_got_when_photos_are_coloured(look: str) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (90, 70), np.uint8)
    colours = colorizer("cpu", **LOOKS[look])
    with OnlyKernelsOfCuda():
        assert colours.look(pixels, hints=HINTS).ab.shape[1] == 2


def test_crops_of_another_size_are_resized_as_pillow_does_within_one_code_value() -> None:
    from PIL import Image

    recipe = build_recipe("default", {"crop": 64, "smallest_crop": 1.0, "horizontal_flip": 0.0})
    photos = batch(side=100)
    resized = augment(photos, recipe, np.random.default_rng(0)).stored
    assert resized.dtype == torch.uint8 and resized.shape == (4, 3, 64, 64)
    for photo, found in zip(photos.stored, resized, strict=True):
        for plane, plane_found in zip(photo, found, strict=True):
            image = Image.fromarray(plane.numpy()).resize((64, 64), Image.Resampling.BILINEAR)
            assert np.abs(np.asarray(image, int) - plane_found.numpy()).max() <= 1


@pytest.mark.gpu
@pytest.mark.parametrize("recipe", sorted(RECIPES))
def test_every_recipe_trains_on_a_gpu_as_on_the_processor(recipe: str) -> None:
    own, other = (train(recipe, device, precision="fp32") for device in ("cuda", "cpu"))
    assert own == pytest.approx(other, rel=0.02)


@pytest.mark.gpu
@pytest.mark.parametrize("term", TERMS)
def test_every_loss_is_on_a_gpu_what_it_is_on_the_processor(term: str) -> None:
    options = TERMS[term] | {"precision": "fp32"}
    own, other = (train("default", device, **options) for device in ("cuda", "cpu"))
    assert own == pytest.approx(other, rel=0.02)


@pytest.mark.gpu
@pytest.mark.parametrize("precision", ["bf16", "fp16"])
@pytest.mark.parametrize("network", NETWORK_NAMES)
def test_every_network_trains_on_a_gpu_in_half_precision(network: str, precision: str) -> None:
    assert np.isfinite(train("default", "cuda", network=network, precision=precision)).all()


@pytest.mark.gpu
def test_training_is_saved_and_resumed_on_a_gpu() -> None:
    first, second = (trainer("starter", "cuda", precision="fp16") for _ in range(2))
    first.train_epoch([batch()], lambda loss: None)
    second.load_state_dict(first.state_dict())
    assert (second.predict(batch().stored.numpy()) == first.predict(batch().stored.numpy())).all()


@pytest.mark.gpu
@pytest.mark.parametrize("look", LOOKS)
def test_photos_are_coloured_on_a_gpu_as_on_the_processor(look: str) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (90, 70), np.uint8)
    own, other = (
        colorizer(device, precision="fp32", **LOOKS[look]).look(pixels, hints=HINTS)
        for device in ("cuda", "cpu")
    )
    assert torch.allclose(own.ab.cpu(), other.ab, atol=0.1)


@pytest.mark.gpu
def test_a_segmenter_that_is_no_module_works_beside_a_gpu() -> None:
    def processor_only(L: torch.Tensor) -> torch.Tensor:
        assert L.device.type == "cpu"
        return single_expert_segmenter(torch.from_numpy(L.numpy()))

    pixels = np.zeros((64, 64), np.uint8)
    assert colorizer("cuda", segmenter=processor_only).look(pixels).ab.is_cuda


@pytest.mark.gpu
def test_a_photo_that_a_gpu_has_no_room_for_is_coloured_by_the_processor() -> None:
    colours = colorizer("cuda")
    own = colours._predict

    def full(L: Any, hints: Any) -> Any:
        if colours.device == "cuda":
            torch.empty(1 << 50, device="cuda")
        return own(L, hints)

    colours._predict = full  # type: ignore[method-assign]
    found = colours.look(np.zeros((64, 64), np.uint8))
    assert not found.ab.is_cuda and colours.device == "cuda"
