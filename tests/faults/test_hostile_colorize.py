"""Hostile files through `chromaflow colorize`: each is coloured or has a reason, and nothing else."""

from __future__ import annotations

import csv
import hashlib
import json
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import Any

import psutil
import pytest
from command import start

from storage.errors import REASONS, is_policy
from storage.formats import FORMATS
from storage.sources.archives import is_archive_name
from storage.sources.no_photo import TABLE

HOSTILE = Path(__file__).parents[3] / "shared/data/hostile"
ROOT = Path(__file__).parents[2]
MOST_SECONDS, MOST_MB = 10, 1500
"""Processor seconds of one file; memory of any process."""
DONE, IGNORED = "done", "ignored"
_CLAIMING = {suffix for known in FORMATS.values() for suffix in known.suffixes}
READ_ALL_THE_SAME = {
    "bad/bombs/bomb_gif_65535x2730_canvas_500fr.gif": "its header says that it is animated",
    "bad/corrupt/Pillow/hopper.heif": "pi-heif reads it",
    **{
        f"bad/corrupt/jpeg-decoder/jpeg_lossless_sel{n}.jpg": "imagecodecs reads lossless JPEG"
        for n in range(4, 8)
    },
    "bad/corrupt/Pillow/hopper_webp.tif": "tifffile reads WebP in TIFF",
    "bad/corrupt/image-tiff/BigTIFFMotorola.tif": "tifffile reads big-endian BigTIFF",
    "bad/corrupt/image-tiff/flower-minisblack-06.tif": "6 bits, which tifffile unpacks",
    "bad/corrupt/image-tiff/flower-minisblack-12.tif": "12 bits, which tifffile unpacks",
    "bad/corrupt/image-tiff/flower-rgb-contig-02.tif": "2 bits, which tifffile unpacks",
    "bad/corrupt/image-tiff/flower-rgb-contig-12.tif": "12 bits, which tifffile unpacks",
    "bad/corrupt/image-tiff/flower-rgb-contig-14.tif": "14 bits, which tifffile unpacks",
    "bad/corrupt/image-tiff/flower-rgb-planar-12.tif": "12 bits, which tifffile unpacks",
}
"""Of bad/: coloured, or skipped as colour or animated though Pillow cannot read it; and why."""
BY_COMMAND = 20
"""Archives that are given to the real command, all of valid/ among them."""
_CHILD = """
import json, sys, time
from collections import defaultdict
from dataclasses import asdict
import psutil
from pathlib import Path
from colorization.categories import CATEGORY_NAMES
from storage.sources.archives import is_archive_name
from storage.errors import StorageError
from storage.records.ledger import read_json
from colorization.merging.options import MergeOptions
from storage.records.outputs import output_names
from storage.sources.files import list_files
from storage.sources.source import open_source
from tasks.config.model import ColorizeConfig, IngestConfig
from tasks.jobs.colorize import colorize_chunk
from tasks.jobs.ingest import IngestItem, ingest_chunk
from tasks.jobs.items import peak_mb
from tasks.jobs.stage_items import ColorizeItem, ModelSpec
from tasks.weights.models import expert_files, require, segmenter_file

hostile, folder, kind = Path(sys.argv[1]), sys.argv[2], sys.argv[3]
files = expert_files({}, {})
models = ModelSpec(
    experts=tuple((name, str(require(files[name]))) for name in CATEGORY_NAMES),
    segmenter="starter", segmenter_weights=str(require(segmenter_file("starter", ""))),
    classes=(), merge=MergeOptions(), uncertainty=False, short_side=256, num_threads=1, device="cpu", hashes=(),
)
ingest = asdict(IngestConfig()) | {"training": False}
if kind == "archives":
    ingest["min_side"] = 1  # their photos are tiny
colour = ColorizeConfig().output_parts() | {"version": "0"}
slowest = {}


def spent():
    # processor seconds of this process and its decoder, whose own end at a limit of theirs
    children = psutil.Process().children()
    return time.process_time() + sum(sum(child.cpu_times()[:2]) for child in children)


def one(source, output, file, name):
    # what became of a file of a source: done, ignored or a code
    photo = {"path": file.path, "offset": file.offset, "bytes": file.bytes, "stamp": "",
             "label": "", "official_split": "", "check_below": 1.0}
    started = spent()
    # another folder for each source: the job keeps sources open by location and folder
    common = {"name": "x", "folder": f"{folder}/{Path(source).name}", "source": source}
    record = Path(common["folder"], "done/x.json")
    ingest_chunk(IngestItem(photos=(photo,), config=ingest, **common))
    seen = read_json(record)["seen"]
    code = seen[0]["code"].replace("IGNORED", "ignored")
    if not code:
        row = seen[0] | {"output": name, "key": ""}
        colorize_chunk(ColorizeItem(photos=(row,), config=colour, models=models, output=output,
                                    **common))
        found = read_json(record)
        code = found["quarantined"][0]["code"] if found["quarantined"] else "done"
        assert (code == "done") == (len(found["outputs"]) == 1)
    slowest[f"{source} {file.path}"] = spent() - started
    print(json.dumps([file.path, code, slowest[f"{source} {file.path}"], peak_mb()]), flush=True)
    return code


outcome = {}
if kind != "archives":
    files = [file for file in list_files(hostile) if file.path.startswith(kind)]
    listed = [file for file in files if not is_archive_name(file.path)]
    names = output_names(file.path for file in listed)
    for file in listed:
        outcome[file.path] = one(str(hostile), f"{folder}/out", file, names[file.path])
else:
    for path in sorted(hostile.rglob("*")):
        if not (path.is_file() and is_archive_name(path.name)):
            continue
        started = spent()
        found = defaultdict(int)
        try:
            listing = open_source(str(path)).listing()
        except StorageError as error:
            outcome[str(path.relative_to(hostile))] = {type(error).__name__: 1}
            continue
        for problem in listing.problems:
            found[problem.code] += 1
        slowest[f"{path} listing"] = spent() - started
        names = output_names(file.path for file in listing.files)
        for file in listing.files:
            output = f"{folder}/out/{path.relative_to(hostile)}"
            found[one(str(path), output, file, names[file.path])] += 1
        outcome[str(path.relative_to(hostile))] = found
worst = sorted(slowest.items(), key=lambda pair: -pair[1])[:5]
print(json.dumps({"outcome": outcome, "worst": worst, "peak_mb": peak_mb()}))
"""

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(1800),
    pytest.mark.usefixtures("shared_server"),
    pytest.mark.skipif(not HOSTILE.exists(), reason="needs ../shared/data/hostile"),
]


@contextmanager
def peaks(pid: int) -> Iterator[dict[str, float]]:
    """Largest resident memory of the processes below one, by kind, MB; sampled while it runs."""
    found: dict[str, float] = {}
    stop = threading.Event()

    def watch() -> None:
        while not stop.wait(0.1):
            for process in _family(pid):
                try:
                    kind = _kind(process)
                    found[kind] = max(found.get(kind, 0.0), process.memory_info().rss / 1e6)
                except psutil.Error:
                    continue

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield found
    finally:
        stop.set()
        thread.join()


def _family(pid: int) -> list[psutil.Process]:
    try:
        process = psutil.Process(pid)
        return [process, *process.children(recursive=True)]
    except psutil.Error:
        return []


def _kind(process: psutil.Process) -> str:
    words = " ".join(process.cmdline())
    kinds = {
        "decoder_process": "decoder",
        "multiprocessing.forkserver": "worker",
        "flows.cli.app": "driver",
    }
    return next((kind for mark, kind in kinds.items() if mark in words), "other")


def hashes(folder: Path) -> dict[str, str]:
    """SHA-256 of every file below a folder, by path."""
    paths = (path for path in sorted(folder.rglob("*")) if path.is_file())
    return {str(p.relative_to(folder)): hashlib.sha256(p.read_bytes()).hexdigest() for p in paths}


def run_child(folder: Path, kind: str) -> dict[str, Any]:
    """The jobs of ingest and colorize, one file an item, in a process of their own."""
    command = [sys.executable, "-c", _CHILD, str(HOSTILE), str(folder), kind]
    process = subprocess.Popen(
        command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    with peaks(process.pid) as found:
        out, err = process.communicate(timeout=1500)
    assert process.returncode == 0, err[-3000:]
    result: dict[str, Any] = json.loads(out.splitlines()[-1])
    print(f"{kind}: slowest {result['worst']}, peak {result['peak_mb']:.0f} MB, sampled {found}")
    result["peak_mb"] = max(result["peak_mb"], *found.values())
    return result


@pytest.fixture(scope="module")
def originals() -> Iterator[dict[str, str]]:
    """Hashes of the corpus, which no test of this module may change."""
    before = hashes(HOSTILE)
    yield before
    assert hashes(HOSTILE) == before


@pytest.fixture(scope="module")
def seen(tmp_path_factory: pytest.TempPathFactory, originals: dict[str, str]) -> dict[str, Any]:
    """What the jobs make of every file, one by one; a process for each class."""
    folder = tmp_path_factory.mktemp("hostile")
    results = [run_child(folder / kind, f"{kind}/") for kind in ("valid", "bad", "either")]
    return {
        "outcome": {path: code for result in results for path, code in result["outcome"].items()},
        "worst": max((result["worst"][0] for result in results), key=lambda pair: pair[1]),
        "peak_mb": max(result["peak_mb"] for result in results),
    }


@pytest.fixture(scope="module")
def commanded(
    tmp_path_factory: pytest.TempPathFactory, originals: dict[str, str], prefect_address: str
) -> dict[str, Any]:
    """What the command makes of the folder."""
    folder = tmp_path_factory.mktemp("commanded")
    out = folder / "out"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PREFECT_API_URL", f"{prefect_address}/api")
        started = time.monotonic()
        process = start("colorize", HOSTILE, out, "--json")
        with peaks(process.pid) as found:
            printed, err = process.communicate(timeout=1500)
    print(f"the command: {time.monotonic() - started:.0f} s, peaks {found}")
    assert process.returncode == 6, err[-3000:]
    result: dict[str, Any] = json.loads(printed)
    assert [path.name for path in folder.iterdir()] == ["out"]
    return result | {"out": out, "peaks": found}


def listed(kind: str) -> list[str]:
    """Paths of one kind in the corpus's index; archives, and icons and cursors, which are no photos,
    are left out.
    """
    with (HOSTILE / "index.csv").open(newline="") as file:
        paths = [row["path"] for row in csv.DictReader(file)]
    photos = (
        path for path in paths if not is_archive_name(path) and not TABLE.why(path.split("/"))
    )
    return [path for path in photos if path.startswith(kind)]


def outputs(out: Path) -> dict[str, str]:
    """Photo → its output, by the records."""
    records = (out / ".chromaflow/current/colorize/archive/done").glob("*.json")
    found = [
        facts for record in records for facts in json.loads(record.read_bytes()).get("outputs", [])
    ]
    assert len({facts["photo"] for facts in found}) == len(found)
    return {facts["photo"]: facts["output"] for facts in found}


def test_every_valid_photo_is_coloured_or_skipped_with_a_reason(seen: dict[str, Any]) -> None:
    found = {path: seen["outcome"][path] for path in listed("valid/")}
    assert set(found.values()) <= {DONE, IGNORED, *REASONS}
    counts = Counter(found.values())
    print(counts)
    wrong = {p for p, code in found.items() if code in ("NOT_A_PHOTO", "TRUNCATED", "CRASHED")}
    assert not wrong
    damaged = {path for path, code in found.items() if code == "DAMAGED"}
    assert damaged <= {"valid/set/pngsuite/xcsn0g01.png"}, "its checksum is wrong on purpose"


def test_every_bad_file_is_quarantined(seen: dict[str, Any]) -> None:
    found = {path: seen["outcome"][path] for path in listed("bad/")}
    taken = {p for p, code in found.items() if code not in REASONS or is_policy(code)}
    ignored = {
        path for path in taken if found[path] == IGNORED
    }  # neither name nor content claims one
    assert not {path for path in ignored if PurePosixPath(path).suffix in _CLAIMING}
    assert taken - ignored == set(READ_ALL_THE_SAME)


def test_what_decodes_in_part_is_coloured_or_has_a_reason(seen: dict[str, Any]) -> None:
    found = {path: seen["outcome"][path] for path in listed("either/")}
    assert set(found.values()) <= {DONE, IGNORED, *REASONS}


def test_no_file_takes_long_or_much_memory(seen: dict[str, Any]) -> None:
    assert seen["worst"][1] < MOST_SECONDS
    assert seen["peak_mb"] < MOST_MB


def test_the_command_makes_of_the_folder_what_the_jobs_make_of_each_file(
    seen: dict[str, Any], commanded: dict[str, Any]
) -> None:
    done = outputs(commanded["out"])
    rows = commanded["quarantined"] + commanded["filtered"]
    codes = {row["path"]: row["code"] for row in rows}
    assert len(codes) == len(rows), "one reason a file"
    assert not set(codes) & set(done), "done or a reason, not both"
    archives = {path for path in codes if is_archive_name(path)}
    assert {codes[path] for path in archives} == {"NESTED_ARCHIVE"}
    found = {path: code for path, code in codes.items() if path not in archives}
    found |= dict.fromkeys(done, DONE)
    expected = {path: code for path, code in seen["outcome"].items() if code != IGNORED}
    differing = {
        path: (found.get(path), expected.get(path))
        for path in found.keys() | expected.keys()
        if found.get(path) != expected.get(path)
    }
    assert not differing
    files = {str(path.relative_to(commanded["out"])) for path in _written(commanded["out"])}
    assert files == {*done.values(), *(f for f in files if f.endswith(".xmp"))}
    assert {file.removesuffix(".xmp") for file in files} == set(done.values())
    assert max(commanded["peaks"].values()) < MOST_MB
    assert max(step["peak_mb"] for step in commanded["steps"]) < MOST_MB


def _written(out: Path) -> list[Path]:
    inside = (path for path in out.rglob("*") if path.relative_to(out).parts[0] != ".chromaflow")
    return [path for path in inside if path.is_file()]


def test_every_archive_comes_to_an_end_or_a_reason_by_the_jobs(
    tmp_path: Path, originals: dict[str, str]
) -> None:
    seen = run_child(tmp_path / "jobs", "archives")
    assert [path.name for path in tmp_path.iterdir()] == ["jobs"]
    totals: Counter[str] = Counter()
    for path, found in seen["outcome"].items():
        assert set(found) <= {DONE, IGNORED, *REASONS}, path
        totals.update(found)
        if path.startswith("valid/"):
            assert set(found) <= {DONE, "ALREADY_COLOR"}, path
    print(f"{len(seen['outcome'])} archives: {dict(totals)}")
    assert {"ARCHIVE_DAMAGED", "ARCHIVE_BOMB", "UNSAFE_NAME", "NOT_REGULAR"} <= set(totals)
    assert seen["worst"][0][1] < MOST_SECONDS
    assert seen["peak_mb"] < MOST_MB


def test_archives_by_the_command(tmp_path: Path, originals: dict[str, str]) -> None:
    paths = [path for path in sorted(HOSTILE.rglob("*")) if is_archive_name(path.name)]
    valid = [path for path in paths if "valid" in path.parts]
    others = [path for path in paths if "valid" not in path.parts]
    step = len(others) / (BY_COMMAND - len(valid))
    chosen = [*valid, *(others[int(i * step)] for i in range(BY_COMMAND - len(valid)))]
    table: Counter[str] = Counter()
    for number, path in enumerate(chosen):
        folder = tmp_path / f"{number:02d}"
        folder.mkdir()
        process = start("colorize", path, folder / "out", "--json", "--workers", 1)
        with peaks(process.pid) as found:
            printed, err = process.communicate(timeout=240)
        kind = path.relative_to(HOSTILE).parts[0]
        table[f"{kind} exit {process.returncode}"] += 1
        assert process.returncode in (0, 4, 6), f"{path.name}: {err[-2000:]}"
        assert json.loads(printed)["run_id"]
        assert [entry.name for entry in folder.iterdir()] == ["out"]
        assert max(found.values()) < MOST_MB
        done = outputs(folder / "out") if process.returncode != 4 else {}  # all under min_side
        for name in done.values():
            assert (folder / "out" / name).resolve().is_relative_to((folder / "out").resolve())
    print(f"{len(chosen)} archives by the command: {dict(table)}")


def test_table_by_class(seen: dict[str, Any]) -> None:
    table: Counter[tuple[str, str]] = Counter(
        (kind, seen["outcome"][path])
        for kind in ("valid", "bad", "either")
        for path in listed(kind)
    )
    print()
    for (kind, code), count in sorted(table.items()):
        print(f"{kind:<7} {code:<20} {count:>4}")
    assert sum(table.values()) == sum(len(listed(kind)) for kind in ("valid", "bad", "either"))
