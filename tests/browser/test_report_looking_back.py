"""Runs and trainings on the report's page, in Debian's chromium."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from browser_window import AXE, PAYLOADS, Window, chromium, needs_chromium
from playwright.sync_api import Browser, Page
from published_training import publish_training
from report import write_archive

from storage.records.ledger import write_json
from storage.records.names import EVENTS_NAME, STATE_NAME
from storage.records.workspace import Workspace
from tasks.engine.events import EventLog
from tasks.report.writer import write_report

pytestmark = [pytest.mark.browser, needs_chromium]
NEWEST, EARLIER = "20260101T000000-abcdef", "20250101T000000-abcdef"


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The page of records of 20 photos, with two runs and two trainings."""
    out = tmp_path_factory.mktemp("looking") / "out"
    write_archive(out, 20)
    workspace = Workspace(out / STATE_NAME)
    for run_id in (NEWEST, EARLIER):
        write_json(workspace.runs / run_id / "plan.json", {"steps": [], "request": None})
    run = {"run_id": NEWEST, "exit_code": 6, "failures": []}
    write_json(workspace.runs / NEWEST / "run.json", run)
    write_events(workspace.runs / NEWEST / EVENTS_NAME)
    publish_training(workspace, "people", "1" * 12, expert=9.5, learning_rate=1e-3)
    publish_training(workspace, "people", "2" * 12, learning_rate=1e-4)
    return write_report(workspace, output=str(out)).page


def write_events(path: Path) -> None:
    """Of two steps, one after the other; the second fails."""
    steps = ("ingest/archive", "colorize/archive")
    with EventLog(path) as log:
        log.write("run_begun", version=1, run="", pid=1, host="here")
        for step in steps:
            time.sleep(0.02)
            log.write("step_decided", step=step, action="run", reasons=[PAYLOADS[0]])
            time.sleep(0.02)
            log.write("step_begun", step=step, items=1, photos=3)
            time.sleep(0.02)
            if step == steps[0]:
                facts = {"computed": 1, "counts": {"done": 3}, "seconds": 0.1}
                log.write("step_published", step=step, **facts)
            else:
                log.write("step_failed", step=step, error=PAYLOADS[1], kind="OutputError")
        log.write("run_ended", state="done", exit_code=6, computed=1)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as browser:
        yield browser


@pytest.fixture
def page(browser: Browser, report: Path) -> Iterator[Page]:
    """The page, which must do nothing wrong during the test."""
    window = Window(browser, report.as_uri(), "file:", viewport={"width": 1400, "height": 900})
    yield window.page
    window.close()


def test_trainings_are_drawn_with_scores_and_earlier_ones(page: Page) -> None:
    training = page.locator("#training")
    assert training.locator(".chart polyline").count() == 3
    said = [one.get_attribute("aria-label") for one in training.locator(".chart svg").all()]
    assert said[1] == "Validation ΔE00: from 9.00 to 8.20 over 3 epochs", "of five two were not"
    assert training.locator(".chart .level").count() == 2
    rows = training.get_by_role("region", name="Scores").locator("tbody tr").all_inner_texts()
    names = ("gray", "constant", "photo mean", "starter", "expert")
    assert [row.startswith(name) for row, name in zip(rows, names, strict=True)] == [True] * 5
    earlier = training.get_by_role("region", name="Earlier").locator("tbody").inner_text()
    assert "9.50" in earlier and "learning_rate 0.001, now 0.0001" in earlier
    sheet = training.locator(".samples img")
    sheet.scroll_into_view_if_needed()
    assert sheet.evaluate("image => image.decode().then(() => image.naturalWidth)") == 90


def test_runs_are_listed_with_a_timeline_and_two_are_compared_by_a_command(page: Page) -> None:
    runs = page.locator("#history .run")
    assert runs.count() == 2 and "finished with failures" in runs.first.inner_text()
    bars = runs.first.locator(".timeline rect").evaluate_all(
        "bars => bars.map(b => [b.className.baseVal, b.x.baseVal.value, b.width.baseVal.value])"
    )
    kinds = ["waiting", "preparing", "working", "waiting", "preparing", "failing"]
    assert [bar[0] for bar in bars] == kinds
    for left, right in zip(bars[:2] + bars[3:5], bars[1:3] + bars[4:], strict=True):
        assert abs(left[1] + left[2] - right[1]) < 1, "one begins where the other ends"
    assert bars[4][1] > bars[2][1] + bars[2][2], "the second step after the first"
    runs.last.locator("summary").click()
    runs.last.get_by_text(EARLIER).first.wait_for()
    command = page.locator("#history .command code")
    assert command.inner_text().endswith(f"--run {NEWEST} --against {EARLIER}")
    page.get_by_label("Run", exact=True).select_option(EARLIER)
    assert "Choose two" in page.locator("#history").inner_text()


def test_a_workspace_that_only_trains_has_its_page(browser: Browser, tmp_path: Path) -> None:
    workspace = Workspace(tmp_path / "workspace")
    workspace.create()
    publish_training(workspace, "birds", "3" * 12)
    window = Window(browser, write_report(workspace).page.as_uri(), "file:")
    assert window.page.locator("#training .chart").count() == 3
    assert not window.page.locator("#photos").is_visible()
    assert window.page.locator("nav.sections a:visible").all_inner_texts() == [
        *("Failures", "Training", "Runs", "Run")
    ]
    window.close()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_no_serious_violation(browser: Browser, report: Path, scheme: str) -> None:
    size = {"width": 400, "height": 800}
    window = Window(
        browser, report.as_uri(), "file:", viewport=size, color_scheme=scheme, bypass_csp=True
    )
    window.page.evaluate(AXE.read_text())
    found = window.page.evaluate("axe.run(document.querySelector('main'))")
    grave = [v["id"] for v in found["violations"] if v["impact"] in ("serious", "critical")]
    assert not grave
    assert window.page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    window.context.close()
