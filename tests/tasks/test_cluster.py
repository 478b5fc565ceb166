"""A photo that kills its worker process: it alone is marked, its neighbours are done."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from storage.ledger import read_json
from tasks.cluster import fan_out, run_clusters
from tasks.config import ComputeConfig
from tasks.jobs.items import PhotoItem
from tasks.slots import Slots

KILLER = """
import os
from storage.manifest import Quarantined
from tasks.jobs.items import commit_item, quarantine_into, read_photo

def probe(item):
    if read_photo(item, item.photos[0]) == b"deadly":
        os._exit(1)

def job(item):
    quarantined = []
    for photo in item.photos:
        with quarantine_into(quarantined, photo["path"], "ingest"):
            if read_photo(item, photo) == b"deadly":
                os._exit(1)
    return commit_item(item, files=[], num_photos=len(item.photos), quarantined=quarantined)
"""


def test_a_deadly_photo_is_found_and_its_neighbours_survive(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "killer_job.py").write_text(KILLER)
    monkeypatch.syspath_prepend(str(tmp_path))
    import killer_job  # type: ignore[import-not-found]

    for name in ("a", "b", "c", "d"):
        (tmp_path / name).write_bytes(b"deadly" if name == "c" else b"harmless")
    items = [
        PhotoItem(
            name=f"{number}",
            folder=str(tmp_path / "step"),
            source=str(tmp_path),
            photos=tuple({"path": name, "offset": -1, "bytes": 8} for name in names),
            config={},
        )
        for number, names in enumerate(("ab", "cd"))
    ]
    with run_clusters(ComputeConfig()) as clusters:
        cluster = clusters.of(Slots(1, 1, "cpu"))
        results = fan_out(cluster, killer_job.job, items, lambda result: None, killer_job.probe)
    assert sorted(result.name for result in results) == ["0", "1"]
    assert read_json(tmp_path / "step/done/0.json")["quarantined"] == []
    rows = read_json(tmp_path / "step/done/1.json")["quarantined"]
    assert [(row["path"], row["code"]) for row in rows] == [("c", "CRASHED")]
    del sys.modules["killer_job"]
