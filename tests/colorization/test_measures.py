"""SSIM, AuC, LPIPS and Inception features against independent implementations."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import torch
from skimage import data
from skimage.metrics import structural_similarity

from colorization.errors import WeightsMismatchError
from colorization.metrics.accuracy import accuracy_auc
from colorization.metrics.inception import inception_features
from colorization.metrics.lpips import LPIPS
from colorization.metrics.measures import Truth
from colorization.metrics.scores import photo_scores
from colorization.metrics.ssim import ssim


def pictures(seed: int = 0, shape: tuple[int, int] = (60, 71)) -> tuple[np.ndarray, np.ndarray]:
    """A smooth picture and the same with noise, uint8 (H, W, 3)."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[: shape[0], : shape[1]]
    clean = 128 + 90 * np.sin(np.stack([x / 9, y / 7, (x + y) / 11], -1))
    noisy = clean + rng.normal(0, 25, clean.shape)
    return np.clip(noisy, 0, 255).astype(np.uint8), clean.astype(np.uint8)


@pytest.mark.parametrize("shape", [(60, 71), (11, 11), (256, 256)])
def test_ssim_equals_scikit_image(shape: tuple[int, int]) -> None:
    noisy, clean = pictures(1, shape)
    expected = structural_similarity(
        noisy,
        clean,
        channel_axis=2,
        data_range=255,
        gaussian_weights=True,
        sigma=1.5,
        use_sample_covariance=False,
    )
    assert ssim(noisy, clean) == pytest.approx(expected, abs=2e-4)
    assert ssim(clean, clean) == pytest.approx(1)


def test_ssim_of_flat_pictures_by_hand() -> None:
    one, other = (np.full((20, 20, 3), value, np.uint8) for value in (100, 150))
    C1 = (0.01 * 255) ** 2
    expected = (2 * 100 * 150 + C1) / (100**2 + 150**2 + C1)
    assert ssim(one, other) == pytest.approx(expected, abs=1e-3)


def test_ssim_refuses_other_sizes() -> None:
    noisy, clean = pictures()
    with pytest.raises(ValueError, match="one size"):
        ssim(noisy, clean[:-1])
    with pytest.raises(ValueError, match="11 pixels"):
        ssim(noisy[:10], clean[:10])


def test_auc_equals_the_area_under_a_sampled_curve() -> None:
    ab, truth = np.random.default_rng(0).uniform(-110, 110, (2, 2, 40, 50))
    distance = np.sqrt(((ab - truth) ** 2).sum(axis=0))
    thresholds = np.linspace(0, 150, 15001)
    curve = [(distance <= t).mean() for t in thresholds]
    assert accuracy_auc(ab, truth) == pytest.approx(np.trapezoid(curve, thresholds) / 150, abs=1e-4)


def test_auc_by_hand() -> None:
    truth = np.zeros((2, 1, 4))
    ab = np.array([[[0, 30, 90, 200]], [[0, 40, 120, 0]]])  # distances 0, 50, 150, 200
    assert accuracy_auc(ab, truth) == pytest.approx((1 + 2 / 3 + 0 + 0) / 4)


def alexnet_state(seed: int = 0) -> dict[str, torch.Tensor]:
    """Random features of torchvision's alexnet."""
    from torchvision.models import alexnet

    torch.manual_seed(seed)
    return dict(alexnet(weights=None).features.state_dict(prefix="features."))


def package_lpips(state: dict[str, torch.Tensor]) -> torch.nn.Module:
    """The package's own LPIPS 0.1 with its heads, on these features."""
    package = pytest.importorskip("lpips")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it asks torchvision and torch.load by old names
        model = package.LPIPS(net="alex", pnet_rand=True, verbose=False).eval()
    trunk = model.net
    for part in (trunk.slice1, trunk.slice2, trunk.slice3, trunk.slice4, trunk.slice5):
        part.load_state_dict({key: state[f"features.{key}"] for key in part.state_dict()})
    return model


@torch.inference_mode()
def test_lpips_equals_the_authors_package() -> None:
    state = alexnet_state()
    package = package_lpips(state)
    ours = LPIPS(state, package.state_dict())
    noisy, clean = pictures(2, (96, 80))
    tensors = [
        torch.from_numpy(p / 127.5 - 1).float().permute(2, 0, 1)[None] for p in (noisy, clean)
    ]
    expected = float(package(*tensors))
    assert expected > 1e-3
    assert ours.distance(ours.look(noisy), ours.look(clean)) == pytest.approx(expected, rel=1e-4)
    assert ours.distance(ours.look(clean), ours.look(clean)) == 0


@pytest.mark.parametrize(
    ("name", "expected"),
    [("astronaut", 0.1038769), ("coffee", 0.6789826), ("chelsea", 0.6214040)],
)
def test_lpips_of_gray_photos_is_what_the_package_says(name: str, expected: float) -> None:
    """Golden values of lpips 0.1.4 with the same weights; it need not be installed here."""
    shapes = [
        (64, 3, 11, 11),
        (192, 64, 5, 5),
        (384, 192, 3, 3),
        (256, 384, 3, 3),
        (256, 256, 3, 3),
    ]
    rng = np.random.default_rng(8)
    features, heads = {}, {}
    for number, shape in zip((0, 3, 6, 8, 10), shapes, strict=True):
        spread = np.sqrt(2 / np.prod(shape[1:]))
        features[f"{number}.weight"] = rng.normal(0, spread, shape).astype(np.float32)
        features[f"{number}.bias"] = rng.normal(0, 0.1, shape[0]).astype(np.float32)
    for number, shape in enumerate(shapes):
        head = rng.uniform(0, 1, (1, shape[0], 1, 1)).astype(np.float32)
        heads[f"lin{number}.model.1.weight"] = torch.from_numpy(head)
    lpips = LPIPS({key: torch.from_numpy(value) for key, value in features.items()}, heads)
    photo = getattr(data, name)()[:256, :256]
    gray = np.repeat(photo.mean(axis=2, keepdims=True).astype(np.uint8), 3, axis=2)
    assert lpips.distance(lpips.look(gray), lpips.look(photo)) == pytest.approx(expected, rel=1e-4)


def test_lpips_refuses_other_weights() -> None:
    with pytest.raises(WeightsMismatchError, match="alexnet"):
        LPIPS({"features.0.weight": torch.zeros(1)}, {})
    with pytest.raises(WeightsMismatchError, match="lin0"):
        LPIPS(alexnet_state(), {})


def test_inception_features_come_in_order_whatever_the_size() -> None:
    def mean_colour(x: torch.Tensor) -> torch.Tensor:
        assert x.shape[1:] == (3, 299, 299)
        return x.mean(dim=(2, 3))

    shades = [np.full((40, 30 + i, 3), 10 * i, np.uint8) for i in range(11)]
    features = inception_features(mean_colour, shades)
    np.testing.assert_allclose(features[:, 0], np.arange(11) * 10 / 127.5 - 1, atol=1e-5)


def test_measures_are_the_stage_s_scores_and_more() -> None:
    rng = np.random.default_rng(3)
    L = rng.uniform(20, 80, (1, 32, 40)).astype(np.float32)
    ab = rng.uniform(-20, 20, (2, 32, 40)).astype(np.float32)
    truth = Truth(L, ab)
    measured = truth.measure(0 * ab)
    assert photo_scores(L, 0 * ab, ab).items() <= measured.items()
    assert measured["ssim"] == ssim(truth.colours(0 * ab), truth.colours(ab))
    assert set(measured) - set(photo_scores(L, ab, ab)) == {"ssim", "auc"}
    assert truth.own_colourfulness()["colourfulness_truth"] > measured["colourfulness"]
