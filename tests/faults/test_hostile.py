"""Hostile files: each ends as a row or a reason, none hangs, none takes the memory."""

from __future__ import annotations

import csv
import json
import resource
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest

from storage.archives import is_archive_name
from storage.errors import REASONS, PhotoError
from storage.sources import open_source

HOSTILE = Path(__file__).parents[3] / "shared/data/hostile"
ROOT = Path(__file__).parents[2]
READ_BY_TIFFFILE = {
    "bad/corrupt/Pillow/hopper_webp.tif",
    "bad/corrupt/image-tiff/BigTIFFMotorola.tif",
}
"""Listed as bad because Pillow cannot read them; tifffile does, and their pictures are right."""
_CHILD = """
import json, resource, sys, time
from dataclasses import asdict
from storage.sources import list_files
from pathlib import Path
from tasks.config import IngestConfig
from tasks.jobs.ingest import IngestItem, ingest_chunk
from storage.ledger import read_json

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
    outcome[file.path] = seen[0]["code"] or "ok" if seen else "ignored"
peak_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3
print(json.dumps({"outcome": outcome, "slowest": slowest, "peak_mb": peak_mb}))
"""

pytestmark = pytest.mark.skipif(not HOSTILE.exists(), reason="needs ../shared/data/hostile")


@pytest.fixture(scope="module")
def seen(tmp_path_factory: pytest.TempPathFactory) -> dict:
    words = [sys.executable, "-c", _CHILD, str(HOSTILE), str(tmp_path_factory.mktemp("hostile"))]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, timeout=250, check=True)
    return json.loads(done.stdout.splitlines()[-1])


def kinds(seen: dict, kind: str) -> dict[str, str]:
    with (HOSTILE / "index.csv").open(newline="") as file:
        listed = {row["path"] for row in csv.DictReader(file) if row["path"].startswith(kind)}
    return {path: seen["outcome"][path] for path in listed if not is_archive_name(path)}


def test_every_valid_photo_is_read_or_has_a_reason(seen: dict) -> None:
    outcome = kinds(seen, "valid/")
    assert set(outcome.values()) <= {"ok", *REASONS}
    counts = Counter(outcome.values())
    assert counts["ok"] > 150 and counts["NOT_A_PHOTO"] == counts["TRUNCATED"] == 0
    damaged = {path for path, code in outcome.items() if code == "DAMAGED"}
    assert damaged <= {"valid/set/pngsuite/xcsn0g01.png"}, "its checksum is wrong on purpose"


def test_every_bad_file_has_a_reason(seen: dict) -> None:
    outcome = kinds(seen, "bad/")
    taken = {path for path, code in outcome.items() if code not in REASONS}
    assert taken == READ_BY_TIFFFILE


def test_no_file_takes_ten_seconds_or_more_than_a_gigabyte_and_a_half(seen: dict) -> None:
    assert seen["slowest"] < 10
    assert seen["peak_mb"] < 1500


def test_every_archive_is_listed_and_read_to_an_end_or_a_reason() -> None:
    codes: Counter[str] = Counter()
    for path in sorted(HOSTILE.rglob("*")):
        if not (path.is_file() and is_archive_name(path.name)):
            continue
        started = time.monotonic()
        source = open_source(str(path))
        listing = source.listing()
        bad = {problem.code for problem in listing.problems}
        for file in listing.files:
            assert ".." not in file.path.split("/") and not file.path.startswith("/")
            try:
                assert len(source.read(file.path, file.offset, file.bytes)) == file.bytes
            except PhotoError as error:
                bad.add(error.code)
        assert bad <= set(REASONS)
        codes.update(bad)
        if "valid/" in str(path):
            assert listing.files and not bad, path
        assert time.monotonic() - started < 10, path
    assert {"ARCHIVE_DAMAGED", "ARCHIVE_BOMB", "UNSAFE_NAME", "NOT_REGULAR"} <= set(codes)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3 < 2500
