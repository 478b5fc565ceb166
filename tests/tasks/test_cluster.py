"""Photos that kill their worker process: they alone are marked, their neighbours are done."""

from __future__ import annotations

import importlib
import math
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

from storage.records.ledger import read_json
from tasks.compute.cluster import fan_out, run_clusters
from tasks.compute.slots import Slots
from tasks.config.model import ComputeConfig
from tasks.jobs import apart
from tasks.jobs.items import ItemResult, PhotoItem

JOBS = """
import os, signal, time
from storage.records.manifest import Quarantined
from tasks.jobs.items import commit_item, quarantine_into, read_photo

def job(item):
    quarantined = []
    for photo in item.photos:
        with quarantine_into(quarantined, photo["path"], "ingest"):
            content = read_photo(item, photo)
            if content == b"exits...":
                os._exit(1)
            if content == b"is ended":
                os.kill(os.getpid(), signal.SIGKILL)
            if content == b"in pairs" and len(item.photos) == 2:
                os.abort()
            if content == b"is large":
                taken = b"x" * 800_000_000
                time.sleep(60)
    return commit_item(item, files=[], num_photos=len(item.photos), quarantined=quarantined)

def hopeless(item):
    os.abort()

def faulty(item):
    raise LookupError(item.name)
"""


@pytest.fixture
def jobs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    (tmp_path / "deadly_jobs.py").write_text(JOBS)
    monkeypatch.syspath_prepend(str(tmp_path))
    yield importlib.import_module("deadly_jobs")
    del sys.modules["deadly_jobs"]


def write_items(folder: Path, *contents: dict[str, bytes]) -> list[PhotoItem]:
    """An item of photos for each set of files."""
    for files in contents:
        for name, content in files.items():
            (folder / name).write_bytes(content)
    return [
        PhotoItem(
            name=f"{number}",
            folder=str(folder / "ingest/people/step"),
            source=str(folder),
            photos=tuple({"path": name, "offset": -1, "bytes": 8} for name in files),
            config={},
        )
        for number, files in enumerate(contents)
    ]


def quarantine_of(item: PhotoItem) -> dict[str, str]:
    record = read_json(Path(item.folder, f"done/{item.name}.json"))
    assert record is not None
    return {row["path"]: row["code"] for row in record["quarantined"]}


def test_deadly_photos_are_found_and_their_neighbours_survive(
    tmp_path: Path, jobs: ModuleType
) -> None:
    fine = b"harmless"
    items = write_items(
        tmp_path,
        {"a": fine, "b": fine},
        {"c": b"exits...", "d": fine, "e": b"is ended"},
        {"f": b"in pairs", "g": fine},
    )
    with run_clusters(ComputeConfig()) as clusters:
        cluster = clusters.of(Slots(1, 1, "cpu"))
        results = fan_out(cluster, jobs.job, items, lambda result: None)
    assert sorted(result.name for result in results) == ["0", "1", "2"]
    assert quarantine_of(items[0]) == {}
    assert quarantine_of(items[1]) == {"c": "CRASHED", "e": "OUT_OF_MEMORY"}
    assert quarantine_of(items[2]) == {"f": "CRASHED", "g": "CRASHED"}
    assert not list(tmp_path.glob("**/*.partial"))


def test_items_are_made_as_they_are_sent(tmp_path: Path, jobs: ModuleType) -> None:
    """An archive's items are never there at a time, nor its futures."""
    made, ended = [], []

    def items() -> Iterator[PhotoItem]:
        for number in range(300):
            made.append(number)
            yield PhotoItem(
                name=str(number), folder=str(tmp_path), source=str(tmp_path), photos=(), config={}
            )

    def note(result: ItemResult) -> None:
        ended.append(result.name)
        assert len(made) - len(ended) <= 64

    with run_clusters(ComputeConfig()) as clusters:
        results = fan_out(clusters.of(Slots(1, 1, "cpu")), jobs.job, items(), note)
    assert len(made) == 300
    assert {result.name for result in results} == set(ended) == set(map(str, range(300)))


def test_what_takes_more_memory_than_a_worker_may(
    tmp_path: Path, jobs: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(apart, "memory_limit", lambda: 5e8)
    (item,) = write_items(tmp_path, {"a": b"harmless", "b": b"is large"})
    assert apart.do_apart(jobs.job, item).num_photos == 2
    assert quarantine_of(item) == {"b": "OUT_OF_MEMORY"}


def test_what_no_photo_is_the_cause_of_is_said(
    tmp_path: Path, jobs: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(apart, "memory_limit", lambda: math.inf)
    (item,) = write_items(tmp_path, {"a": b"harmless"})
    with pytest.raises(apart.ItemDiesError, match="of ingest/people to be done.*SIGABRT"):
        apart.do_apart(jobs.hopeless, item)
    with pytest.raises(LookupError, match="0"):
        apart.do_apart(jobs.faulty, item)
