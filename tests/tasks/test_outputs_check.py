"""`verify_outputs`, on outputs that the stages make in this process: no Prefect, no Dask worker."""

from __future__ import annotations

import io
import json
import shutil
from dataclasses import replace
from pathlib import Path

import imagecodecs
import numpy as np
import pytest
import tifffile
from colorizing import colorize_here
from conftest import draw_photo, with_masks
from PIL import Image

from storage.errors import CodecMissingError, UsageError
from storage.metadata.content_credentials import read_manifest
from storage.metadata.embedding import embed
from storage.metadata.extraction import read_metadata
from storage.photos.encoding import srgb_profile
from storage.records.ledger import read_json, record_file, write_json
from storage.records.names import STATE_NAME
from storage.records.workspace import Workspace
from tasks.engine.verification import read_success, write_success
from tasks.queries.outputs_check import OutputsReport, verify_outputs


def gray(seed: int, width: int = 96, height: int = 80) -> np.ndarray:
    """uint8 (H, W)."""
    return np.asarray(Image.fromarray(draw_photo(seed, width, height)).convert("L"))


def write_originals(folder: Path) -> dict[str, str]:
    """One photo of each kind that is compared in its own way. Returns photo → output."""
    folder.mkdir()
    deep = gray(1).astype(np.uint16) * 257
    Image.fromarray(gray(2)).save(folder / "eight.png")
    Image.fromarray(gray(3)).save(folder / "eight.pgm")
    (folder / "deep.pgm").write_bytes(b"P5\n96 80\n65535\n" + deep.astype(">u2").tobytes())
    tifffile.imwrite(folder / "deep.tif", deep)
    tifffile.imwrite(folder / "pages.tif", np.stack([gray(4), gray(5)]), photometric="minisblack")
    with tifffile.TiffWriter(folder / "mixed.tif") as writer:  # the first page is copied
        for seed, kind in ((14, 2), (15, 0), (16, 2)):
            writer.write(gray(seed), photometric="minisblack", subfiletype=kind)
    (folder / "mixed.tif").write_bytes(with_masks((folder / "mixed.tif").read_bytes()))
    Image.fromarray(gray(6)).save(folder / "lossy.jpg")
    Image.fromarray(gray(7)).save(folder / "lossy.webp")
    Image.fromarray(gray(8)).save(folder / "exact.webp", lossless=True)
    alpha = np.tile(np.linspace(0, 255, 96).astype(np.uint8), (80, 1))
    Image.fromarray(np.dstack([gray(9), alpha])).save(folder / "alpha.png")
    sepia = np.clip(gray(10)[..., None] * [1.0, 0.85, 0.65], 0, 255).astype(np.uint8)
    Image.fromarray(sepia).save(folder / "sepia.png")
    colour = np.zeros((80, 96, 3), np.uint8)
    colour[:, :48], colour[:, 48:], colour[::9] = (200, 40, 30), (20, 60, 210), (40, 190, 60)
    Image.fromarray(colour).save(folder / "colour.png")
    Image.fromarray(gray(12)).convert("1").save(folder / "bilevel.png")
    Image.fromarray(gray(13)).rotate(90, expand=True).save(folder / "turned.jpg", exif=_turned())
    suffixes = {path.name: path.suffix.replace(".pgm", ".ppm") for path in sorted(folder.iterdir())}
    return {name: f"{name}.color{suffix}" for name, suffix in suffixes.items()}


def _turned() -> Image.Exif:
    exif = Image.Exif()
    exif[0x0112] = 6
    return exif


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory, cluster: str) -> tuple[Path, dict[str, str]]:
    """Colorized once; tests work on copies. Returns the folder of `in` and `out`, and the names."""
    folder = tmp_path_factory.mktemp("made")
    names = write_originals(folder / "in")
    options = {"accept": ["ALREADY_COLOR", "BILEVEL"]}
    counts = colorize_here(cluster, folder / "in", folder / "out", settings=options)
    assert counts == {"done": len(names), "quarantined": 0}
    return folder, names


@pytest.fixture
def out(tmp_path: Path, made: tuple[Path, dict[str, str]]) -> Path:
    """OUT at a place of its own."""
    shutil.copytree(made[0] / "out", tmp_path / "out", symlinks=True)
    return tmp_path / "out"


@pytest.fixture
def originals(made: tuple[Path, dict[str, str]]) -> str:
    return str(made[0] / "in")


def _step(out: Path) -> Path:
    return Workspace(out / STATE_NAME).current("colorize", "archive")


def forge(out: Path) -> None:
    """Make all records say what lies there now, so that fixity finds nothing."""
    success = read_success(_step(out))
    assert success is not None
    digests = {}
    for name in success.items:
        path = _step(out) / "done" / f"{name}.json"
        record = read_json(path)
        assert record is not None
        there = [file["path"] for file in record["files"] if (out / file["path"]).exists()]
        record["files"] = [record_file(out, out / name).to_dict() for name in there]
        write_json(path, record)
        digests[name] = record_file(path.parent, path).sha256
    write_success(_step(out), replace(success, items=digests))


def problems(report: OutputsReport) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for row in report.damaged:
        found.setdefault(row["item"], []).append(row["problem"])
    return found


def test_whole_outputs_have_no_problem_and_the_lightness_of_their_originals(
    out: Path, originals: str, made: tuple[Path, dict[str, str]]
) -> None:
    names = made[1]
    written = {path.name for path in out.iterdir() if path.name != STATE_NAME}
    assert {name for name in written if not name.endswith(".xmp")} == set(names.values())
    report = verify_outputs(out)
    assert report.damaged == [] and report.num_outputs == len(names) and report.num_compared == 0
    report = verify_outputs(out, originals)
    assert report.damaged == [] and report.num_compared == len(names)
    assert report.max_codes <= 1
    assert 0 < report.mean_L < 1
    assert report.to_dict()["steps"] == ["colorize/archive", "ingest/archive"]


@pytest.mark.parametrize("kind", ["corner", "border"])
def test_a_visible_label_is_left_out_of_the_comparison(
    kind: str, tmp_path: Path, originals: str, cluster: str
) -> None:
    counts = colorize_here(
        cluster, originals, tmp_path / "labelled", settings={"label": kind, "toning": "keep"}
    )
    report = verify_outputs(tmp_path / "labelled", originals)
    assert counts["done"] == report.num_compared == 12
    assert report.damaged == []
    assert report.max_codes <= 1 and 0 < report.mean_L < 1


def brighten_raw(path: Path) -> None:
    """The last pixel of a PPM, by 3 code values of its depth."""
    content = path.read_bytes()
    dtype = np.dtype(">u2") if b"\n65535\n" in content[:20] else np.dtype("u1")
    pixel = np.frombuffer(content[-3 * dtype.itemsize :], dtype).astype(int)
    changed = (pixel + (3 if pixel.max() < 200 else -3)).astype(dtype)
    path.write_bytes(content[: -3 * dtype.itemsize] + changed.tobytes())


def brighten_png(path: Path) -> None:
    """One pixel by 3 code values; its metadata stays."""
    content = path.read_bytes()
    with Image.open(io.BytesIO(content)) as image:
        pixels = np.asarray(image).copy()
    pixel = pixels[20, 30].astype(int)
    pixels[20, 30] = pixel + (3 if pixel.max() < 200 else -3)
    metadata = read_metadata("PNG", content)
    encoded = bytes(imagecodecs.png_encode(pixels, level=6))
    path.write_bytes(embed("PNG", encoded, metadata, profile=srgb_profile()))


def test_a_pixel_three_codes_off_is_found_by_its_hash_and_without_it_by_its_lightness(
    out: Path, originals: str, made: tuple[Path, dict[str, str]]
) -> None:
    changes = {"eight.png": brighten_png, "eight.pgm": brighten_raw, "deep.pgm": brighten_raw}
    changed = {made[1][photo] for photo in changes}
    for photo, change in changes.items():
        change(out / made[1][photo])
    (problem,) = problems(verify_outputs(out)).values()
    assert "has changed" in problem[0], "the first of the item's files that is not as recorded"
    forge(out)
    assert verify_outputs(out).damaged == [], "the records say the same: only lightness can tell"
    report = verify_outputs(out, originals)
    wanted = ["expected gray within 1 code value, got 3"]
    assert problems(report) == dict.fromkeys(changed, wanted)
    assert report.max_codes == 3


def test_a_lossy_output_that_is_darker_is_found(
    out: Path, originals: str, made: tuple[Path, dict[str, str]]
) -> None:
    name = made[1]["lossy.jpg"]
    metadata = read_metadata("JPEG", (out / name).read_bytes())
    with Image.open(out / name) as image:
        dark = np.asarray(image) // 10 * 9
    buffer = io.BytesIO()
    Image.fromarray(dark).save(buffer, "JPEG", quality=95)
    (out / name).write_bytes(embed("JPEG", buffer.getvalue(), metadata, profile=srgb_profile()))
    forge(out)
    assert verify_outputs(out).damaged == []
    (problem,) = problems(verify_outputs(out, originals))[name]
    assert problem.startswith("expected L within 2 on average, got ")


def test_what_is_missing_stripped_cut_or_of_another_size_is_found(
    out: Path, made: tuple[Path, dict[str, str]]
) -> None:
    names = made[1]
    (out / names["sepia.png"]).unlink()
    (out / (names["eight.pgm"] + ".xmp")).unlink()
    with Image.open(out / names["eight.png"]) as image:
        image.convert("RGB").save(out / names["eight.png"])
    (out / names["lossy.jpg"]).write_bytes((out / names["lossy.jpg"]).read_bytes()[:-400])
    content = (out / names["colour.png"]).read_bytes()
    small = bytes(imagecodecs.png_encode(np.zeros((40, 40, 3), np.uint8)))
    metadata = read_metadata("PNG", content)
    (out / names["colour.png"]).write_bytes(embed("PNG", small, metadata, profile=srgb_profile()))
    forge(out)
    found = problems(verify_outputs(out))
    assert "No such file" in found.pop(names["sepia.png"])[0]
    assert "No such file" in found.pop(names["eight.pgm"])[0]
    assert found.pop(names["eight.png"]) == [
        "its XMP lacks DigitalSourceType",
        "its XMP lacks OriginalSHA256",
    ]
    assert "TRUNCATED" in found.pop(names["lossy.jpg"])[0]
    assert found.pop(names["colour.png"]) == ["expected 96×80 pixels, got 40×40"]
    assert found == {}


def test_a_lost_page_is_found(out: Path, originals: str, made: tuple[Path, dict[str, str]]) -> None:
    name = made[1]["pages.tif"]
    with tifffile.TiffFile(out / name) as file:
        first = file.pages[0]
        tags = [(700, 1, len(first.tags[700].value), first.tags[700].value, True)]
        pixels = first.asarray()
    tifffile.imwrite(out / name, pixels, photometric="rgb", metadata=None, extratags=tags)
    forge(out)
    assert problems(verify_outputs(out)) == {name: ["expected 2 pages, got 1"]}
    assert problems(verify_outputs(out, originals)) == {name: ["expected 2 pages, got 1"]}


def test_a_changed_original_and_a_missing_one_are_named(
    out: Path, originals: str, tmp_path: Path, made: tuple[Path, dict[str, str]]
) -> None:
    other = tmp_path / "other"
    shutil.copytree(originals, other)
    Image.fromarray(gray(99)).save(other / "eight.png")
    (other / "deep.tif").unlink()
    found = problems(verify_outputs(out, str(other)))
    assert set(found) == {made[1]["eight.png"], made[1]["deep.tif"]}
    assert "not the one that was colorized" in found[made[1]["eight.png"]][0]
    assert "No such file" in found[made[1]["deep.tif"]][0]


def test_an_output_moved_elsewhere_is_still_verified(
    made: tuple[Path, dict[str, str]], tmp_path: Path
) -> None:
    shutil.copytree(made[0] / "out", tmp_path / "moved", symlinks=True)
    brighten_png(tmp_path / "moved" / made[1]["eight.png"])
    assert problems(verify_outputs(tmp_path / "moved")), "it looks at the copy that was named"


def test_a_folder_that_was_not_colorized_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="to be an OUT of"):
        verify_outputs(tmp_path)
    (tmp_path / STATE_NAME).mkdir()
    (tmp_path / STATE_NAME / "x.json").write_text(json.dumps({}))
    with pytest.raises(UsageError, match="a finished `chromaflow colorize`"):
        verify_outputs(tmp_path)


def test_signed_outputs_verify_and_a_borrowed_manifest_does_not(
    tmp_path: Path, cluster: str, made: tuple[Path, dict[str, str]]
) -> None:
    pytest.importorskip("c2pa", reason="c2pa-python is not installed")
    from test_content_credentials import made as certificate
    from test_content_credentials import pem, stored

    one = certificate()
    stored(tmp_path, one.chain, pem(one.key))
    files = {"certificates": str(tmp_path / "chain.pem"), "key": str(tmp_path / "key.pem")}
    out = tmp_path / "out"
    counts = colorize_here(cluster, made[0] / "in", out, settings=files)
    report = verify_outputs(out, str(made[0] / "in"))
    assert (counts["done"], report.damaged) == (report.num_outputs, [])
    facts = {
        one["output"]: one
        for path in (_step(out) / "done").glob("0*.json")
        for one in json.loads(path.read_bytes())["outputs"]
    }
    signed = {name for name, one in facts.items() if one["signed"]}
    assert set(facts) - signed == {
        "deep.pgm.color.ppm",
        "eight.pgm.color.ppm",
        "mixed.tif.color.tif",
        "pages.tif.color.tif",
    }
    first, second = out / "eight.png.color.png", out / "alpha.png.color.png"
    manifest = read_manifest(first.read_bytes(), "PNG")
    assert manifest["valid"]
    assert manifest["colorization"]["original"]["sha256"] == facts[first.name]["sha256"]
    first.write_bytes(second.read_bytes())
    problems = {row["problem"] for row in verify_outputs(out).damaged}
    assert "its C2PA manifest names another original" in problems


def test_a_certificate_that_is_not_there_stops_the_run_before_the_first_photo(
    tmp_path: Path, cluster: str, made: tuple[Path, dict[str, str]]
) -> None:
    files = {"certificates": str(tmp_path / "chain.pem"), "key": str(tmp_path / "key.pem")}
    with pytest.raises((UsageError, CodecMissingError), match="chain.pem|c2pa"):
        colorize_here(cluster, made[0] / "in", tmp_path / "out", settings=files)
    assert not list(tmp_path.glob("out/*.png"))
