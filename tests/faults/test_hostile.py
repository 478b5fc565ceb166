"""Hostile files that are drawn here, through the command: each ends as an output or with its reason."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from command import chromaflow
from hostile_files import DONE, IGNORED, write_photos, write_tar, write_zip

from storage.photos.photo import inspect

pytestmark = pytest.mark.usefixtures("shared_server")

MOST_MB = 1500
OF_A_DATASET = {DONE: "NEAR_GRAY", "BILEVEL": "NEAR_GRAY", "ALREADY_COLOR": DONE}
"""What colorize makes of a photo → what a dataset, which learns from colours, makes of it."""


def hashes(folder: Path) -> dict[str, str]:
    """SHA-256 of every file below a folder that can be read, by path."""
    paths = (path for path in folder.rglob("*") if path.is_file() and os.access(path, os.R_OK))
    return {str(p.relative_to(folder)): hashlib.sha256(p.read_bytes()).hexdigest() for p in paths}


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, dict[str, str]]]:
    """The folder of photos, which no command may change, and what must become of each."""
    folder = tmp_path_factory.mktemp("hostile") / "photos"
    outcomes = write_photos(folder)
    before = hashes(folder)
    yield folder, outcomes
    assert hashes(folder) == before


def run(*words: object) -> dict[str, Any]:
    """What a command that met failures prints; no process of it took much memory."""
    code, out, err = chromaflow(*words, "--workers", 1, "--json")
    assert code == 6, err
    result: dict[str, Any] = json.loads(out)
    assert max(step["peak_mb"] for step in result["steps"]) < MOST_MB
    return result


def codes(result: dict[str, Any]) -> dict[str, str]:
    """Path → why it is not done."""
    rows = result["quarantined"] + result["filtered"]
    found = {row["path"]: row["code"] for row in rows}
    assert len(found) == len(rows), "one reason a file"
    return found


def test_colorize_makes_an_output_or_gives_the_reason(
    tmp_path: Path, drawn: tuple[Path, dict[str, str]]
) -> None:
    source, expected = drawn
    result = run("colorize", source, tmp_path / "out")
    records = (tmp_path / "out/.chromaflow/current/colorize/archive/done").glob("*.json")
    made = [made for path in records for made in json.loads(path.read_bytes()).get("outputs", [])]
    done = {facts["photo"]: facts["output"] for facts in made}
    found = codes(result) | dict.fromkeys(done, DONE)
    ignored = [path for path, outcome in expected.items() if outcome == IGNORED]
    assert found | dict.fromkeys(ignored, IGNORED) == expected
    assert not found.keys() & set(ignored)
    written = {name for name in hashes(tmp_path) if not name.startswith("out/.chromaflow/")}
    sidecars = {name for name in written if name.endswith(".xmp")}
    assert written - sidecars == {f"out/{name}" for name in done.values()}
    for photo, name in done.items():
        before, after = (inspect(p.read_bytes()) for p in (source / photo, tmp_path / "out" / name))
        assert (after.width, after.height) == (before.width, before.height), photo


def test_ingest_makes_a_row_or_gives_the_reason_of_photos_and_members(
    tmp_path: Path, drawn: tuple[Path, dict[str, str]]
) -> None:
    source, outcomes = drawn
    archives = {
        "members.zip": write_zip(tmp_path / "members.zip"),
        "cut.tar": write_tar(tmp_path / "cut.tar", cut=True, packed=False),
        "packed.tar": write_tar(tmp_path / "packed.tar", cut=False, packed=True),
    }
    config = tmp_path / "chromaflow.toml"
    places = [*archives, str(source)]
    rows = zip(("people", "birds", "animals", "places"), places, strict=True)
    config.write_text("\n".join(["[datasets]", *(f'{name} = "{place}"' for name, place in rows)]))
    result = run("ingest", "--config", config)
    photos = {path: OF_A_DATASET.get(outcome, outcome) for path, outcome in outcomes.items()}
    members = {
        f"{name}/{path}".removesuffix("/."): outcome
        for name, outcomes in archives.items()
        for path, outcome in outcomes.items()
    }
    expected = photos | members
    assert codes(result) == {p: o for p, o in expected.items() if o not in (DONE, IGNORED)}
    num_done = [step["counts"]["done"] for step in result["steps"]]
    wanted = [list(made.values()).count(DONE) for made in (*archives.values(), photos)]
    assert num_done == wanted and min(num_done) > 0
