"""`chromaflow colorize` and `verify OUT` as a user meets them: every kind of IN, every option.

The commands that colour take seconds each, so that most of this looks at three of them; the other
kinds of IN go through the same stages in this process.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import shutil
import subprocess
import tarfile
import time
import unicodedata
import warnings
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import bagit
import numpy as np
import psutil
import pytest
import tifffile
import zstandard
from colorizing import colorize_here
from command import COMMAND, chromaflow, start
from conftest import draw_photo
from PIL import Image

from storage.errors import REASONS, explain_reason
from storage.formats import FORMATS, formats_page
from storage.sources.files import write_list
from tasks.queries.outputs_check import verify_outputs

pytestmark = pytest.mark.usefixtures("shared_server")

ROOT = Path(__file__).parents[2]
CLUTTER = ("album/._0001.jpg", "album/Thumbs.db", "desktop.ini", ".hidden/x.png", ".x.png")
SKIPPED = {"bilevel.png": "BILEVEL", "colour.png": "ALREADY_COLOR"}
TWINS = ("caf\u00e9.png", "cafe\u0301.png", "a.PNG", "A.png")
"""Pairs that some disks take for one."""
NUM_DONE = 10


def gray(seed: int) -> Image.Image:
    return Image.fromarray(draw_photo(seed, 64, 48)).convert("L")


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A tree with names that collide, files that are none, and photos to skip; never changed."""
    root = tmp_path_factory.mktemp("archive") / "photos"
    for folder in ("album/deep", ".hidden"):
        (root / folder).mkdir(parents=True)
    for seed, name in enumerate(TWINS):
        gray(seed).save(root / name, "PNG")
    gray(5).save(root / "album/0001.jpg")
    gray(6).save(root / "album/0001.png")
    tifffile.imwrite(root / "album/0001.tif", np.asarray(gray(7)).astype(np.uint16) * 257)
    gray(8).save(root / "album/deep/scan.webp", lossless=True)
    sepia = np.clip(np.asarray(gray(9))[..., None] * [1.0, 0.85, 0.65], 0, 255)
    Image.fromarray(sepia.astype(np.uint8)).save(root / "sepia.png")
    gray(10).save(root / "map.pgm")
    colour = np.zeros((48, 64, 3), np.uint8)
    colour[:, :32], colour[:, 32:], colour[::9] = (200, 40, 30), (20, 60, 210), (40, 190, 60)
    Image.fromarray(colour).save(root / "colour.png")
    gray(11).convert("1").save(root / "bilevel.png")
    for name in CLUTTER:
        (root / name).write_bytes((root / "A.png").read_bytes())
    (root / "album/notes.txt").write_text("Found in the attic.")
    before = hashes(root)
    yield root
    assert hashes(root) == before, "originals are never touched"


def hashes(folder: Path) -> dict[str, str]:
    """SHA-256 of every file below a folder but its state, by path."""
    paths = [path.relative_to(folder) for path in sorted(folder.rglob("*")) if path.is_file()]
    shown = [path for path in paths if path.parts[0] != ".chromaflow"]
    return {str(p): hashlib.sha256((folder / p).read_bytes()).hexdigest() for p in shown}


def results(out: Path, root: str = "") -> dict[str, str]:
    """Photo, relative to `root` in the source → SHA-256 of its output, as the records say."""
    records = (out / ".chromaflow/current/colorize/archive/done").glob("*.json")
    facts = [row for path in records for row in json.loads(path.read_bytes()).get("outputs", [])]
    base = out / "data" if (out / "data").is_dir() else out
    written = [(base / row["output"]).read_bytes() for row in facts]
    names = [row["photo"].removeprefix(root) for row in facts]
    assert len(set(names)) == len(names)
    return {
        name: hashlib.sha256(content).hexdigest()
        for name, content in zip(names, written, strict=True)
    }


def watched(process: subprocess.Popen[str]) -> tuple[int, str, float]:
    """Wait for a command. Returns exit code, stderr and processor seconds."""
    seconds = 0.0
    while process.poll() is None:
        try:
            times = psutil.Process(process.pid).cpu_times()
            seconds = max(seconds, times.user + times.system)
        except psutil.Error:
            break
        time.sleep(0.02)
    _, err = process.communicate()
    return process.returncode, err, seconds


@pytest.fixture(scope="module", autouse=True)
def server(prefect_address: str) -> Iterator[None]:
    """Fixtures of the whole module run commands too."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PREFECT_API_URL", f"{prefect_address}/api")
        yield


@pytest.fixture(scope="module")
def made(photos: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The folder colorized by the command, and what a second run on the same OUT did meanwhile."""
    out = tmp_path_factory.mktemp("folder") / "colour"
    first = start("colorize", photos, out, "--json")
    begun = out / ".chromaflow/stages/ingest"
    deadline = time.monotonic() + 120
    while not begun.exists():  # it holds the lock by then
        assert first.poll() is None and time.monotonic() < deadline
        time.sleep(0.05)
    second = start("colorize", photos, out)
    code, refusal, seconds = watched(second)
    alive = first.poll() is None
    printed, err = first.communicate(timeout=240)
    assert first.returncode == 0, err
    return json.loads(printed) | {
        "out": out,
        "second": (code, refusal, seconds, alive),
    }


def test_a_folder_is_mirrored_and_nothing_in_it_is_overwritten_or_lost(
    made: dict[str, Any], photos: Path
) -> None:
    out = made["out"]
    assert {row["path"]: row["code"] for row in made["filtered"]} == SKIPPED
    assert made["quarantined"] == []
    done = results(out)
    wanted = {str(path.relative_to(photos)) for path in photos.rglob("*") if path.is_file()}
    assert set(done) == wanted - {*CLUTTER, *SKIPPED, "album/notes.txt"}
    assert len(done) == NUM_DONE
    written = hashes(out)
    sidecars = {name for name in written if name.endswith(".xmp")}
    assert len(written) - len(sidecars) == NUM_DONE, "one output a photo, and nothing else"
    assert len(sidecars) == 1, "PPM holds no metadata"
    assert len(set(done.values())) == NUM_DONE, "all photos differ"
    plain = {unicodedata.normalize("NFC", name).casefold() for name in written}
    assert len(plain) == len(written), "no two names that some disks take for one"
    for suffix in ("jpg", "png", "tif"):
        assert f"album/0001.{suffix}.color.{suffix}" in written
    assert "album/deep/scan.webp.color.webp" in written


def test_a_second_run_on_the_same_output_is_refused_at_once(made: dict[str, Any]) -> None:
    code, err, seconds, first_alive = made["second"]
    assert code == 8, err
    assert "works there" in err
    assert seconds < 5
    assert first_alive, "and the first one went on"


@pytest.fixture(scope="module")
def zipped(
    photos: Path, made: dict[str, Any], tmp_path_factory: pytest.TempPathFactory
) -> dict[str, Any]:
    """A zip of the same photos, one of them twice, made a bag with sidecars by the command."""
    folder = tmp_path_factory.mktemp("zipped")
    with zipfile.ZipFile(folder / "photos.zip", "w") as file, warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # of the duplicate
        for path in sorted(photos.rglob("*")):
            if path.is_file():
                file.write(path, str(path.relative_to(photos)))
        file.write(photos / "sepia.png", "A.png")
    code, printed, err = chromaflow(
        "colorize", folder / "photos.zip", folder / "out", "--bag", "--sidecar", "--json"
    )
    assert code == 6, err
    return json.loads(printed) | {"out": folder / "out", "zip": folder / "photos.zip"}


def test_a_zip_gives_the_same_bytes_and_a_member_of_the_same_name_is_reported(
    zipped: dict[str, Any], made: dict[str, Any]
) -> None:
    assert results(zipped["out"], "photos.zip/") == results(made["out"])
    codes = {row["path"]: row["code"] for row in zipped["quarantined"]}
    assert codes == {"photos.zip/A.png": "DUPLICATE_NAME"}


def test_the_output_is_a_bag_with_sidecars_that_verifies(zipped: dict[str, Any]) -> None:
    out = zipped["out"]
    bag = bagit.Bag(str(out))
    assert bag.validate()
    written = set(hashes(out / "data"))
    assert written == {path.removeprefix("data/") for path in bag.payload_files()}
    pictures = {name for name in written if not name.endswith(".xmp")}
    assert {f"{name}.xmp" for name in pictures} == written - pictures
    assert len(pictures) == NUM_DONE
    code, printed, err = chromaflow("verify", out, "--originals", zipped["zip"], "--json")
    assert code == 0, err
    report = json.loads(printed)
    assert report["num_outputs"] == report["num_compared"] == NUM_DONE
    assert report["max_codes"] <= 1 and 0 < report["mean_L"] < 1


def run_on_list(
    content: bytes, cwd: Path, out: Path, *words: object
) -> subprocess.CompletedProcess[bytes]:
    """`chromaflow colorize - OUT` with a list on stdin."""
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    command = [*COMMAND, "colorize", "-", str(out), *map(str, words)]
    return subprocess.run(
        command, input=content, cwd=cwd, env=environment, capture_output=True, timeout=240
    )


def test_a_list_on_stdin_with_patterns_format_label_toning_and_accept(
    photos: Path, tmp_path: Path
) -> None:
    names = ["a.PNG", "A.png", "sepia.png", "bilevel.png", "map.pgm", ".x.png", "album/0001.png"]
    names += ["gone.png", "album/._0001.jpg", "a.PNG", "colour.png"]
    words = ("--include", "*.png", "--exclude", "album/", "--format", "tiff", "--label", "border")
    words += ("--toning", "keep", "--accept", "BILEVEL", "--accept", "ALREADY_COLOR", "--json")
    content = b"\0".join(name.encode() for name in names)
    done = run_on_list(content, photos, tmp_path / "out", *words)
    assert done.returncode == 6, done.stderr.decode()
    result = json.loads(done.stdout)
    rows = {row["path"]: row["code"] for row in result["quarantined"] + result["filtered"]}
    assert rows == {"gone.png": "UNREADABLE"}
    wanted = {"a.PNG", "A.png", "sepia.png", "bilevel.png", ".x.png", "colour.png"}
    assert set(results(tmp_path / "out")) == wanted, "a hidden file that is named was meant"
    written = hashes(tmp_path / "out")
    assert len(written) == len(wanted)
    assert all(name.endswith(".tif") for name in written)
    with tifffile.TiffFile(tmp_path / "out/sepia.png.color.tif") as file:
        pixels = file.pages[0].asarray()
    assert pixels.shape == (48 + 12, 64, 3), "a border below"
    bare = np.asarray(Image.open(photos / "sepia.png")).astype(int)
    kept = pixels[:48].astype(int)
    warmer = (kept[..., 0] - kept[..., 2]).mean()
    assert warmer > 0.3 * (bare[..., 0] - bare[..., 2]).mean(), "the toning is still there"
    code, printed, err = chromaflow("verify", tmp_path / "out", "--originals", photos, "--json")
    assert code == 0, err
    assert json.loads(printed)["num_compared"] == len(wanted)


@pytest.mark.slow
def test_tar_zstd_bag_pattern_and_list_give_the_bytes_that_the_folder_gives(
    photos: Path, made: dict[str, Any], cluster: str, tmp_path: Path
) -> None:
    expected = results(made["out"])
    sources: dict[str, tuple[object, str]] = {}
    plain = tmp_path / "photos.tar"
    with tarfile.open(plain, "w") as file:
        file.add(photos, ".")
    sources["tar"] = (plain, "photos.tar/")
    packed = tmp_path / "photos.tar.zst"
    packed.write_bytes(zstandard.ZstdCompressor().compress(plain.read_bytes()))
    sources["tar.zst"] = (packed, "photos.tar.zst/")
    shutil.copytree(photos, tmp_path / "bag")
    bagit.make_bag(str(tmp_path / "bag"))
    sources["bag"] = (tmp_path / "bag", "")
    sources["pattern"] = (photos / "**", "")
    lines = "\r\n".join(f"photos/{name}" for name in expected).encode()
    sources["list"] = (write_list(lines, photos.parent, tmp_path / "list.txt"), "photos/")
    for kind, (source, root) in sources.items():
        colorize_here(cluster, source, tmp_path / "out" / kind)
        assert results(tmp_path / "out" / kind, root) == expected, kind


def test_a_bag_is_whole_after_a_photo_was_removed(cluster: str, tmp_path: Path) -> None:
    for seed in range(2):
        gray(seed).save(_folder(tmp_path / "in") / f"{seed}.png")
    colorize_here(cluster, tmp_path / "in", tmp_path / "out", bag=True)
    assert bagit.Bag(str(tmp_path / "out")).validate()
    (tmp_path / "in/1.png").unlink()
    assert colorize_here(cluster, tmp_path / "in", tmp_path / "out", bag=True)["done"] == 1
    assert bagit.Bag(str(tmp_path / "out")).is_valid()


def test_a_bag_without_its_manifest_is_found_and_mended(cluster: str, tmp_path: Path) -> None:
    gray(1).save(_folder(tmp_path / "in") / "1.png")
    colorize_here(cluster, tmp_path / "in", tmp_path / "out", bag=True)
    (tmp_path / "out/manifest-sha256.txt").unlink()
    damaged = verify_outputs(tmp_path / "out").damaged
    colorize_here(cluster, tmp_path / "in", tmp_path / "out", bag=True)
    assert damaged and bagit.Bag(str(tmp_path / "out")).is_valid()


def _folder(path: Path) -> Path:
    path.mkdir(exist_ok=True)
    return path


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("kind", ["tar", "tar.zst", "bag", "pattern", "newlines", "NULs"])
def test_every_source_by_the_command(
    kind: str, photos: Path, made: dict[str, Any], tmp_path: Path
) -> None:
    expected, out, root = results(made["out"]), tmp_path / "out", ""
    if kind in ("newlines", "NULs"):
        end = "\n" if kind == "newlines" else "\0"
        lines = "".join(f"photos/{name}{end}" for name in expected).encode()
        done = run_on_list(lines, photos.parent, out)
        assert done.returncode == 0, done.stderr.decode()
        root = "photos/"
    elif kind in ("tar", "tar.zst"):
        buffer = io.BytesIO()
        with tarfile.open(fileobj=buffer, mode="w") as file:
            file.add(photos, ".")
        content = buffer.getvalue()
        packed = content if kind == "tar" else zstandard.ZstdCompressor().compress(content)
        (tmp_path / f"photos.{kind}").write_bytes(packed)
        assert chromaflow("colorize", tmp_path / f"photos.{kind}", out)[0] == 0
        root = f"photos.{kind}/"
    elif kind == "bag":
        shutil.copytree(photos, tmp_path / "bag")
        bagit.make_bag(str(tmp_path / "bag"))
        before = hashes(tmp_path / "bag")
        assert chromaflow("colorize", tmp_path / "bag", out)[0] == 0
        assert hashes(tmp_path / "bag") == before
    else:
        assert chromaflow("colorize", photos / "**", out)[0] == 0
    assert results(out, root) == expected


@pytest.fixture(scope="module")
def refused_bag(
    photos: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[int, str, dict[str, str]]:
    """A bag of which one byte changed: exit code, stderr, what was written."""
    folder = tmp_path_factory.mktemp("refused")
    shutil.copytree(photos, folder / "bag")
    bagit.make_bag(str(folder / "bag"))
    damaged = folder / "bag/data/A.png"
    damaged.write_bytes(damaged.read_bytes()[:-1] + b"x")
    code, _, err = chromaflow("colorize", folder / "bag", folder / "out")
    return code, err, hashes(folder / "out")


def test_a_damaged_bag_exits_7_and_nothing_is_coloured(
    refused_bag: tuple[int, str, dict[str, str]],
) -> None:
    code, err, written = refused_bag
    assert code == 7, err
    last = err.splitlines()[-4:]
    assert any("data/A.png" in line for line in last), "the last lines say what and what to do"
    assert written == {}


def test_a_refusal_is_told_without_a_traceback(
    refused_bag: tuple[int, str, dict[str, str]], made: dict[str, Any]
) -> None:
    assert "Traceback" not in refused_bag[1] + made["second"][1]


def test_an_output_inside_the_input_is_refused_and_nothing_is_written_there(photos: Path) -> None:
    inside = photos / "album" / "out"
    for source in (photos, photos / "**", photos / "album" / "*"):
        code, _, err = chromaflow("colorize", source, inside)
        assert code == 2 and "outside" in err, err
        assert not inside.exists()


def test_an_output_beside_listed_photos_is_no_photo_of_the_list(
    photos: Path, tmp_path: Path
) -> None:
    shutil.copytree(photos, tmp_path / "photos")
    before = {
        path: path.read_bytes() for path in (tmp_path / "photos").rglob("*") if path.is_file()
    }
    inside = tmp_path / "photos/album/out"
    for said in (b"1 coloured", b"0 computed in run"):
        done = run_on_list(b"photos/album/0001.jpg\n", tmp_path, inside)
        assert done.returncode == 0 and said in done.stderr, done.stderr
    assert [path.name for path in inside.rglob("*.jpg")] == ["0001.jpg.color.jpg"]
    assert {path: path.read_bytes() for path in before} == before


WRONG = {
    ("--toning", "sepia"): ("neutral", "keep"),
    ("--accept", "TRUNCATED"): ("ALREADY_COLOR", "BILEVEL", "MASK", "ANIMATED"),
    ("--range", "all"): ("declared", "auto"),
    ("--format", "gif"): ("jpeg", "png", "tiff", "webp"),
    ("--label", "top"): ("corner", "border"),
    ("--merge", "mean"): ("soft", "hard"),
    ("--segmenter", "nope"): ("starter", "torchvision:"),
}


@pytest.mark.parametrize(
    "words",
    list(WRONG),
    ids=" ".join,
)
def test_a_wrong_value_names_the_allowed_ones_in_under_a_second(
    words: tuple[str, str], photos: Path, tmp_path: Path
) -> None:
    code, err, seconds = watched(start("colorize", photos, tmp_path / "out", *words))
    assert code == 2, err
    assert all(name in err for name in WRONG[words]) and words[1] in err, err
    assert seconds < 1
    assert not (tmp_path / "out").exists()


def test_verify_by_the_command_finds_what_was_deleted_altered_and_stripped(
    made: dict[str, Any], photos: Path
) -> None:
    out = made["out"]
    names = ("A.png.color.png", "sepia.png.color.png", "map.pgm.color.ppm")
    kept = {name: (out / name).read_bytes() for name in names}
    (out / names[0]).unlink()
    with Image.open(out / names[1]) as image:
        image.convert("RGB").save(out / names[1])
    raw = kept[names[2]]
    (out / names[2]).write_bytes(raw[:-1] + bytes([raw[-1] ^ 3]))
    try:
        code, printed, err = chromaflow("verify", out, "--originals", photos, "--json")
        assert code == 7, err
        problems = {row["item"]: row["problem"] for row in json.loads(printed)["damaged"]}
        assert {names[0], names[1]} <= set(problems)
        assert any(item.isdigit() for item in problems), "an item, by its hashes"
        assert "Run the same command" in err or printed
    finally:
        for name, content in kept.items():
            (out / name).write_bytes(content)
    code, printed, err = chromaflow("verify", out)
    assert code == 0, err
    assert f"{NUM_DONE} outputs decoded" in printed


def test_verify_of_a_folder_that_was_not_colorized_is_a_usage_error(photos: Path) -> None:
    code, _, err = chromaflow("verify", photos)
    assert code == 2 and "to be an OUT" in err
    code, _, err = chromaflow("verify", "--originals", photos)
    assert code == 2 and "OUT" in err


def test_every_code_is_explained_and_every_format_listed() -> None:
    for code in REASONS:
        reason = explain_reason(code)
        assert reason.code == code and reason.meaning.endswith(".") and reason.remedy.endswith(".")
    code, said, _ = chromaflow("explain", "nested_archive")
    assert code == 0 and REASONS["NESTED_ARCHIVE"].remedy in said
    code, said, _ = chromaflow("formats")
    assert code == 0 and all(name in said for name in FORMATS)
    code, printed, _ = chromaflow("formats", "--markdown")
    assert code == 0 and printed == formats_page()


def test_the_page_of_formats_is_the_one_that_the_command_prints() -> None:
    page = ROOT / "docs/formats.md"
    if not page.exists():
        pytest.skip("docs/formats.md is not written yet")
    assert page.read_text(encoding="utf-8") == formats_page()
