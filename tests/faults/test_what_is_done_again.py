"""What a run does again: what changed and no more, whatever the clocks say (R12, R13)."""

from __future__ import annotations

import os
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from conftest import MakePhoto
from engine import Outcome, done_here, run_workflow

import tasks.engine.execute
from storage.records.tables import read_rows
from storage.records.workspace import Workspace
from tasks.config.file import load_workflow
from tasks.engine.retry import Retry
from tasks.graph import build_steps, plan
from tasks.results import open_run

NUM_PHOTOS, CHUNK = 7, 2
TEN_YEARS = timedelta(days=3653).total_seconds()
CONFIG = f"""
[archive]
path = "gray"
output = "colour"
[colorize]
segmenter = "quarter_segmenter:Quarters"
short_side = 32
chunk = {CHUNK}
sheet = 0
"""


@pytest.fixture
def config(tmp_path: Path, make_photo: MakePhoto, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An archive of seven photos in four chunks, coloured once."""
    monkeypatch.setattr(tasks.engine.execute, "fan_out", done_here)
    for i in range(NUM_PHOTOS):
        make_photo(tmp_path / "gray" / f"{i}.png", seed=i, gray=True, size=(40, 36))
    path = tmp_path / "chromaflow.toml"
    path.write_text(CONFIG)
    assert computed(run(path)) == {"ingest": 1, "colorize": 4}
    return path


def run(config: Path, retry: Retry | None = None) -> Outcome:
    outcome = run_workflow(load_workflow(config), retry=retry)
    assert outcome.failures == {}
    return outcome


def computed(outcome: Outcome) -> dict[str, int]:
    return {stage: ref.computed for (stage, _), ref in outcome.refs.items()}


def colours(config: Path) -> dict[str, tuple[int, bytes]]:
    """Time and bytes of every output."""
    paths = sorted((config.parent / "colour").iterdir())
    return {path.name: (path.stat().st_mtime_ns, path.read_bytes()) for path in paths}


def exchange(path: Path, content: bytes) -> bytes:
    """Other bytes of the same length and time: ingest does not look again."""
    before, times = path.read_bytes(), path.stat()
    path.write_bytes(content)
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))
    return before


def test_a_run_of_what_is_done_computes_nothing_and_a_changed_photo_itself(
    config: Path, make_photo: MakePhoto
) -> None:
    before = colours(config)
    assert computed(run(config)) == {"ingest": 0, "colorize": 0}
    assert colours(config) == before
    make_photo(config.parent / "gray/3.png", seed=99, gray=True, size=(40, 37))
    assert computed(run(config)) == {"ingest": 1, "colorize": 1}
    after = colours(config)
    assert {name for name in before if after[name][1] != before[name][1]} == {"3.png.color.png"}
    assert sum(after[name][0] != before[name][0] for name in before) == 1, (
        "others of its chunk stay"
    )


@pytest.mark.parametrize("shift", [-TEN_YEARS, TEN_YEARS])
def test_content_decides_and_not_the_time_of_a_file(config: Path, shift: float) -> None:
    before = colours(config)
    for path in config.parent.rglob("*"):  # photos, records, outputs: all of another decade
        if path.is_file():
            moment = path.stat().st_mtime + shift
            os.utime(path, (moment, moment))
    dated = {name: content for name, (_, content) in colours(config).items()}
    planned = plan(build_steps(load_workflow(config)))
    assert {decision.action for decision in planned.values()} == {"skip"}
    assert computed(run(config)) == {"ingest": 0, "colorize": 0}
    assert {name: content for name, (_, content) in before.items()} == dated
    decisions = plan(build_steps(load_workflow(config)))
    assert {decision.action for decision in decisions.values()} == {"skip"}


def test_runs_are_in_order_when_the_clock_goes_back(config: Path) -> None:
    workspace = Workspace(load_workflow(config).workspace)
    future = datetime.now(UTC) + timedelta(seconds=TEN_YEARS)
    (workspace.runs / f"{future:%Y%m%dT%H%M%S}-aaaaaa").mkdir()
    (workspace.runs / f"{future:%Y%m%dT%H%M%S}-aaaaaa/plan.json").write_text("{}")
    ids = [open_run(workspace, {}, []).run_id for _ in range(2)]
    assert f"{future:%Y%m%dT%H%M%S}" < ids[0] < ids[1]


def test_a_chunk_that_is_made_again_keeps_what_is_known_of_its_photos(config: Path) -> None:
    """Of two photos of a chunk one lost its output, and both have become unreadable."""
    gray, first = config.parent / "gray", colours(config)
    whole = {name: exchange(gray / name, _zeros(gray / name)) for name in ("2.png", "3.png")}
    (config.parent / "colour/3.png.color.png").unlink()  # so that its chunk is made again
    assert computed(run(config)) == {"ingest": 0, "colorize": 1}
    left = {name: value for name, value in first.items() if name != "3.png.color.png"}
    assert colours(config) == left, "that of 2.png is taken over as it is"
    folder = load_workflow(config).workspace / "current/colorize/archive"
    assert [row["path"] for row in read_rows(folder / "quarantine.parquet")] == ["3.png"]
    for name, content in whole.items():
        exchange(gray / name, content)
    assert computed(run(config, Retry())) == {"ingest": 0, "colorize": 1}
    assert {n: c for n, (_, c) in colours(config).items()} == {n: c for n, (_, c) in first.items()}


def _zeros(path: Path) -> bytes:
    return bytes(path.stat().st_size)


def test_outputs_of_settings_that_were_given_up_in_the_middle_go(
    config: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A run with other names is killed after its first chunk; the settings before come back."""
    first = colours(config)
    config.write_text(CONFIG + 'format = "webp"\n')
    items = 0

    def die_after_one(*arguments: object) -> list[object]:
        nonlocal items
        cluster, job, left, on_result = arguments
        items += 1
        done_here(cluster, job, list(left)[:1], on_result)  # type: ignore[arg-type, call-overload]
        raise SystemExit

    with monkeypatch.context() as patch:
        patch.setattr(tasks.engine.execute, "fan_out", die_after_one)
        with pytest.raises(SystemExit):
            run(config)
    assert items == 1 and len(list((config.parent / "colour").glob("*.webp"))) == CHUNK
    config.write_text(CONFIG)
    run(config)
    assert colours(config).keys() == first.keys()
