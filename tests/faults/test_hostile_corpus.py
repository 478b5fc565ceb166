"""The corpus of hostile files: each ends as a row or a reason, none hangs, none takes the memory."""

from __future__ import annotations

import csv
import json
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from storage.errors import REASONS
from storage.sources.archives import is_archive_name
from storage.sources.no_photo import TABLE

HOSTILE = Path(__file__).parents[3] / "shared/data/hostile"
ROOT = Path(__file__).parents[2]
READ_BY_TIFFFILE = {
    "bad/corrupt/Pillow/hopper_webp.tif",
    "bad/corrupt/image-tiff/BigTIFFMotorola.tif",
    "bad/corrupt/image-tiff/flower-rgb-contig-02.tif",
    "bad/corrupt/image-tiff/flower-rgb-contig-12.tif",
    "bad/corrupt/image-tiff/flower-rgb-contig-14.tif",
    "bad/corrupt/image-tiff/flower-rgb-planar-12.tif",
}
"""Listed as bad because Pillow cannot read them; tifffile does, and their pictures are right."""
READ_BY_PI_HEIF = {"bad/corrupt/Pillow/hopper.heif"}
"""The same, with the extra `heif`."""
_CHILD = """
import json, sys, time
from dataclasses import asdict
from storage.sources.files import list_files
from pathlib import Path
from tasks.config.model import IngestConfig
from tasks.jobs.ingest import IngestItem, ingest_chunk
from tasks.jobs.items import peak_mb
from storage.records.ledger import read_json

hostile, folder = sys.argv[1:]
config = asdict(IngestConfig()) | {"training": True}
outcome, slowest = {}, 0.0
for file in list_files(Path(hostile)):
    photo = {"path": file.path, "offset": -1, "bytes": file.bytes, "stamp": "", "label": "",
             "official_split": "", "check_below": 1.0}
    item = IngestItem(name="x", folder=folder, source=hostile, photos=(photo,), config=config)
    started = time.monotonic()
    ingest_chunk(item)
    slowest = max(slowest, time.monotonic() - started)
    seen = read_json(Path(folder, "done/x.json"))["seen"]
    outcome[file.path] = seen[0]["code"].replace("IGNORED", "ignored") or "ok"
print(json.dumps({"outcome": outcome, "slowest": slowest, "peak_mb": peak_mb()}))
"""
_ARCHIVES_CHILD = """
import json, sys, time
from collections import Counter
from pathlib import Path
from storage.sources.archives import is_archive_name
from storage.errors import PhotoError
from storage.sources.source import open_source
from tasks.jobs.items import peak_mb

codes, slowest, unsafe, wrong_size, valid_refused = Counter(), 0.0, [], [], []
for path in sorted(Path(sys.argv[1]).rglob("*")):
    if not (path.is_file() and is_archive_name(path.name)):
        continue
    started = time.monotonic()
    source = open_source(str(path))
    listing = source.listing()
    bad = {problem.code for problem in listing.problems}
    for file in listing.files:
        if ".." in file.path.split("/") or file.path.startswith("/"):
            unsafe.append(file.path)
        try:
            if len(source.read(file.path, file.offset, file.bytes)) != file.bytes:
                wrong_size.append(file.path)
        except PhotoError as error:
            bad.add(error.code)
    codes.update(bad)
    if "valid/" in str(path) and (bad or not listing.files):
        valid_refused.append(str(path))
    slowest = max(slowest, time.monotonic() - started)
print(json.dumps({"codes": codes, "slowest": slowest, "unsafe": unsafe, "wrong_size": wrong_size,
                  "valid_refused": valid_refused, "peak_mb": peak_mb()}))
"""

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not HOSTILE.exists(), reason="needs ../shared/data/hostile"),
]


@pytest.fixture(scope="module")
def seen(tmp_path_factory: pytest.TempPathFactory) -> dict:
    return run_child(_CHILD, str(HOSTILE), str(tmp_path_factory.mktemp("hostile")))


def run_child(program: str, *words: str) -> dict:
    """Run in a process of its own, whose memory is then that of the program alone."""
    command = [sys.executable, "-c", program, *words]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=250)
    assert done.returncode == 0, done.stderr[-2000:]
    return json.loads(done.stdout.splitlines()[-1])


def kinds(seen: dict, kind: str) -> dict[str, str]:
    with (HOSTILE / "index.csv").open(newline="") as file:
        listed = {row["path"] for row in csv.DictReader(file) if row["path"].startswith(kind)}
    photos = (path for path in listed if not is_archive_name(path))
    return {path: seen["outcome"][path] for path in photos if not TABLE.why(path.split("/"))}


def test_every_valid_photo_is_read_or_has_a_reason(seen: dict) -> None:
    outcome = kinds(seen, "valid/")
    assert set(outcome.values()) <= {"ok", *REASONS}
    counts = Counter(outcome.values())
    assert counts["ok"] > 150 and counts["NOT_A_PHOTO"] == counts["TRUNCATED"] == 0
    damaged = {path for path, code in outcome.items() if code == "DAMAGED"}
    assert damaged <= {"valid/set/pngsuite/xcsn0g01.png"}, "its checksum is wrong on purpose"


def test_every_bad_file_has_a_reason(seen: dict) -> None:
    outcome = kinds(seen, "bad/")
    taken = {path for path, code in outcome.items() if code not in (*REASONS, "ignored")}
    assert taken == READ_BY_TIFFFILE | READ_BY_PI_HEIF


def test_no_file_takes_ten_seconds_or_more_than_a_gigabyte_and_a_half(seen: dict) -> None:
    assert seen["slowest"] < 10
    assert seen["peak_mb"] < 1500


def test_every_archive_is_listed_and_read_to_an_end_or_a_reason() -> None:
    seen = run_child(_ARCHIVES_CHILD, str(HOSTILE))
    assert set(seen["codes"]) <= set(REASONS)
    assert {"ARCHIVE_DAMAGED", "ARCHIVE_BOMB", "UNSAFE_NAME", "NOT_REGULAR"} <= set(seen["codes"])
    assert seen["unsafe"] == seen["wrong_size"] == seen["valid_refused"] == []
    assert seen["slowest"] < 10
    assert seen["peak_mb"] < 1500
