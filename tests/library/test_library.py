"""`import chromaflow`: light, the same colours as the command's, any kind of image, plain refusals."""

from __future__ import annotations

import doctest
import importlib
import io
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import tifffile
from command import chromaflow as command
from conftest import draw_photo
from PIL import Image

import chromaflow

ROOT = Path(__file__).parents[2]


def gray(seed: int, width: int = 96, height: int = 80) -> np.ndarray:
    return np.asarray(Image.fromarray(draw_photo(seed, width, height)).convert("L"))


def deep(seed: int) -> np.ndarray:
    return gray(seed).astype(np.uint16) * 257 + np.uint16(seed)


def sepia(seed: int) -> np.ndarray:
    level = gray(seed).astype(float)[..., None] / 255
    return np.rint(255 * level ** np.array([0.8, 1.0, 1.35])).astype(np.uint8)


def with_alpha(seed: int) -> np.ndarray:
    alpha = np.full((80, 96), 255, np.uint8)
    alpha[:20] = 90
    return np.dstack([gray(seed)] * 3 + [alpha])


ARRAYS = {
    "gray.png": gray(1),
    "deep.png": deep(2),
    "sepia.png": sepia(3),
    "alpha.png": with_alpha(4),
    "large.png": gray(5, 700, 420),
}


def write_photos(folder: Path) -> Path:
    folder.mkdir()
    for name, array in ARRAYS.items():
        Image.fromarray(array).save(folder / name)
    Image.fromarray(gray(6)).save(folder / "photo.jpg", quality=92)
    tifffile.imwrite(folder / "scan.tif", gray(7), description="a caption")
    return folder


@pytest.fixture(scope="module")
def by_command(
    prefect_address: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Path, Path]]:
    """Photos, and what `chromaflow colorize` makes of them."""
    folder = tmp_path_factory.mktemp("command")
    photos = write_photos(folder / "in")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PREFECT_API_URL", f"{prefect_address}/api")
        code, _, err = command("colorize", photos, folder / "out", cwd=folder)
    assert code == 0, err
    yield photos, folder / "out"


def pixels_of(path: Path) -> np.ndarray:
    """As stored; Pillow reads 8 bits of a 16-bit RGB PNG only."""
    from storage.photos.photo import decode

    photo = decode(path.read_bytes())
    return photo.pixels if photo.alpha is None else np.dstack([photo.pixels, photo.alpha])


@pytest.mark.parametrize("name", ARRAYS)
def test_an_array_gets_the_pixels_that_the_command_writes(
    by_command: tuple[Path, Path], name: str
) -> None:
    found = chromaflow.colorize(ARRAYS[name])
    expected = pixels_of(by_command[1] / f"{name}.color.png")
    assert found.dtype == ARRAYS[name].dtype and np.array_equal(found, expected)
    assert np.ptp(found[..., :3].astype(int), axis=2).max() > 3


def test_a_picture_comes_back_as_one(by_command: tuple[Path, Path]) -> None:
    photos, out = by_command
    for name, mode in (("gray.png", "RGB"), ("alpha.png", "RGBA"), ("sepia.png", "RGB")):
        with Image.open(photos / name) as picture:
            found = chromaflow.colorize(picture)
        assert isinstance(found, Image.Image) and found.mode == mode
        assert np.array_equal(np.asarray(found), pixels_of(out / f"{name}.color.png"))
    deep_picture = chromaflow.colorize(Image.open(photos / "deep.png"))
    apart = np.asarray(deep_picture).astype(int) * 257 - pixels_of(out / "deep.png.color.png")
    assert np.abs(apart).max() <= 129


@pytest.mark.parametrize(
    "name",
    ["gray.png.color.png", "deep.png.color.png", "photo.jpg.color.jpg", "scan.tif.color.tif"],
)
def test_a_file_becomes_the_file_that_the_command_writes(
    by_command: tuple[Path, Path], tmp_path: Path, name: str
) -> None:
    photos, out = by_command
    written = chromaflow.colorize(photos / name.partition(".color")[0], output=tmp_path)
    assert written == tmp_path / name
    assert written.read_bytes() == (out / name).read_bytes()


@pytest.mark.slow
def test_palette_variants_and_uncertainty_are_the_commands(tmp_path: Path) -> None:
    photos = write_photos(tmp_path / "in")
    words = ("--palette", "likely", "--variants", 2, "--uncertainty", "--workers", 1)
    code, _, err = command("colorize", photos, tmp_path / "out", *words)
    assert code == 0, err
    colorizer = chromaflow.Colorizer(palette="likely")
    for name in ("gray.png", "large.png"):
        out = tmp_path / "out" / name
        likely = colorizer.colorize(ARRAYS[name])
        assert np.array_equal(likely, pixels_of(out.with_name(f"{name}.color.png")))
        ways = colorizer.variants(ARRAYS[name], 2)
        for number, way in enumerate(ways, 1):
            expected = pixels_of(out.with_name(f"{name}.v{number}.color.png"))
            assert np.array_equal(way.image, expected)
            again = colorizer.colorize(ARRAYS[name], palette=way.palette)
            apart = np.abs(again.astype(int) - expected)  # a code rounds its numbers
            assert apart.max() <= 3 and apart.mean() < 0.5
        (at_network_size,) = (tmp_path / "out").glob(f"{name}*uncertainty*")
        with Image.open(at_network_size) as levels:
            shown = np.asarray(levels, float) / 4
        found = colorizer.uncertainty(ARRAYS[name])
        assert found.shape == ARRAYS[name].shape and found.dtype == np.float32
        assert found.mean() == pytest.approx(shown.mean(), rel=0.05)


def test_many_are_coloured_as_each_alone() -> None:
    images = [gray(n, 96 if n % 3 else 300, 80) for n in range(20)]
    colorizer = chromaflow.Colorizer()
    for image, found in zip(images, colorizer.colorize_many(iter(images)), strict=True):
        assert np.array_equal(found, colorizer.colorize(image))


def test_hints_colour_their_surroundings_and_a_colour_photo_gives_its_palette() -> None:
    colorizer = chromaflow.Colorizer()
    photo = np.full((64, 96), 90, np.uint8)
    photo[16:48, 30:70] = 190
    red = colorizer.colorize(photo, hints=[(50, 32, "#c03020")]).astype(int)
    green = colorizer.colorize(photo, hints=[(50, 32, (40, 160, 40))]).astype(int)
    assert red[32, 50, 0] - red[32, 50, 1] > 60 and green[32, 50, 1] - green[32, 50, 0] > 40
    assert len(colorizer.palette_of(draw_photo(3, 128, 96))) == 16


def test_pages_that_are_in_colour_are_copied(tmp_path: Path) -> None:
    path = tmp_path / "pages.tif"
    with tifffile.TiffWriter(path) as writer:
        writer.write(gray(1))
        writer.write(draw_photo(2), photometric="rgb")
    written = chromaflow.colorize(path)
    assert written == tmp_path / "pages.tif.color.tif"
    with tifffile.TiffFile(written) as tiff:
        first, second = (page.asarray() for page in tiff.pages)
    assert first.shape == (80, 96, 3) and np.ptp(first.astype(int), axis=2).max() > 3
    assert np.array_equal(second, draw_photo(2))


def test_a_bitmap_gets_its_provenance_beside_it(tmp_path: Path) -> None:
    Image.fromarray(gray(1)).save(tmp_path / "a.bmp")
    written = chromaflow.colorize(tmp_path / "a.bmp")
    beside = written.with_name(f"{written.name}.xmp").read_text()
    assert "compositeWithTrainedAlgorithmicMedia" in beside and "Chromaflow" in beside


@pytest.mark.parametrize(
    ("image", "words"),
    [
        (np.zeros((8, 8)), "(255 * array)"),
        (np.zeros((2, 8, 8, 3), np.uint8), "2 × 8 × 8 × 3"),
        (np.zeros((8, 8, 2), np.uint8), "RGB or RGBA"),
        (np.zeros((0, 8), np.uint8), "0 × 8"),
        (42, "numpy array, a Pillow image, or the path"),
        ("nowhere.png", "nowhere.png"),
    ],
)
def test_what_is_no_photo_is_refused_in_words(image: object, words: str) -> None:
    with pytest.raises(chromaflow.UsageError) as caught:
        chromaflow.colorize(image)  # type: ignore[call-overload]
    assert words in str(caught.value) and "Expected" in str(caught.value)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"palette": "vivid"}, "mean, likely"),
        ({"toning": "sepia"}, "neutral, keep, replace"),
        ({"accept": ["COLOR"]}, "ALREADY_COLOR"),
        ({"models": "nowhere"}, "current/train"),
        ({"models": {"horses": "a.safetensors"}}, "people, birds, animals, places"),
        ({"models": {"birds": "a.safetensors"}}, "a.safetensors"),
        ({"short_side": 8}, "32 or more"),
    ],
)
def test_wrong_arguments_name_what_is_allowed(options: dict[str, object], words: str) -> None:
    with pytest.raises(chromaflow.ChromaflowError) as caught:
        chromaflow.Colorizer(**options)  # type: ignore[arg-type]
    assert words in str(caught.value)


@pytest.mark.parametrize(
    "hint", [(96, 0, "red"), (0, -1, "red"), (1, 1, "reddish"), (1, 1, (0, 300, 0)), 7]
)
def test_hints_that_are_none_are_refused(hint: object) -> None:
    with pytest.raises(chromaflow.UsageError, match="Expected"):
        chromaflow.colorize(gray(1), hints=[hint])  # type: ignore[list-item]


def test_a_colour_photo_is_refused_unless_it_is_accepted(tmp_path: Path) -> None:
    photo = draw_photo(1)
    for given in (photo, Image.fromarray(photo)):
        with pytest.raises(chromaflow.PhotoError) as caught:
            chromaflow.colorize(given)
        assert caught.value.code == "ALREADY_COLOR"
    Image.fromarray(photo).save(tmp_path / "a.png")
    with pytest.raises(chromaflow.PhotoError):
        chromaflow.colorize(tmp_path / "a.png")
    assert list(tmp_path.iterdir()) == [tmp_path / "a.png"]
    again = chromaflow.Colorizer(accept=["ALREADY_COLOR"]).colorize(photo)
    assert again.shape == photo.shape and not np.array_equal(again, photo)


def test_no_file_is_written_over_unasked(tmp_path: Path) -> None:
    original = tmp_path / "a.png"
    Image.fromarray(gray(1)).save(original)
    before = original.read_bytes()
    written = chromaflow.colorize(original)
    made = written.read_bytes()
    with pytest.raises(chromaflow.UsageError, match="overwrite=True"):
        chromaflow.colorize(original)
    with pytest.raises(chromaflow.UsageError, match="the photo itself"):
        chromaflow.colorize(original, output=original, overwrite=True)
    with pytest.raises(chromaflow.UsageError, match="ends in .png"):
        chromaflow.colorize(original, output=tmp_path / "a.jpg")
    with pytest.raises(chromaflow.UsageError, match="path of a photo only"):
        chromaflow.colorize(gray(1), output=tmp_path / "b.png")  # type: ignore[call-overload]
    assert chromaflow.colorize(original, overwrite=True).read_bytes() == made
    assert original.read_bytes() == before


def test_pictures_of_other_modes_and_turned_ones_are_read_as_seen(tmp_path: Path) -> None:
    upright = Image.fromarray(gray(1))
    exif = Image.Exif()
    exif[0x0112] = 6
    stored = io.BytesIO()
    upright.rotate(90, expand=True).save(stored, "PNG", exif=exif)
    expected = np.asarray(chromaflow.colorize(upright))
    assert np.array_equal(np.asarray(chromaflow.colorize(Image.open(stored))), expected)
    for mode in ("P", "LA", "RGBA", "CMYK"):
        found = chromaflow.colorize(upright.convert(mode))
        assert found.size == upright.size and found.mode[:3] == "RGB"
    with pytest.raises(chromaflow.PhotoError, match="BILEVEL"):
        chromaflow.colorize(upright.convert("1"))


def test_importing_takes_no_torch_along_and_colouring_no_prefect() -> None:
    script = (
        "import sys, time; started = time.perf_counter(); import chromaflow;"
        "print(time.perf_counter() - started, 'torch' in sys.modules, chromaflow.__version__);"
        "import numpy; chromaflow.colorize(numpy.full((40, 40), 9, 'uint8'));"
        "print([n for n in ('prefect', 'dask', 'distributed', 'tasks', 'flows') if n in sys.modules])"
    )
    started = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True, cwd=ROOT
    )
    first, second = done.stdout.splitlines()
    seconds, torch_is_there, _ = first.split()
    assert float(seconds) < 1.5 and torch_is_there == "False"
    assert second == "[]"
    assert time.monotonic() - started < 120


def test_everything_that_is_public_is_there_and_documented() -> None:
    for name in chromaflow.__all__:
        value = getattr(chromaflow, name)
        assert name in dir(chromaflow)
        assert name.startswith("__") or value.__doc__
    with pytest.raises(AttributeError, match="nothing"):
        _ = chromaflow.nothing  # type: ignore[attr-defined]
    assert (ROOT / "chromaflow/py.typed").is_file()


@pytest.mark.parametrize("module", ["chromaflow", "chromaflow.library.colorizer"])
def test_the_examples_of_docstrings_are_true(module: str) -> None:
    found = doctest.testmod(importlib.import_module(module))
    assert found.attempted > 3 and found.failed == 0
