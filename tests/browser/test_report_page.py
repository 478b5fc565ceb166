"""The run report in Debian's chromium, opened from the disk: no server, no network."""

from __future__ import annotations

import csv
import json
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from browser_window import AXE, PAYLOADS, Window, chromium, needs_chromium
from colorizing import colorize_here, local_cluster
from conftest import draw_photo
from PIL import Image
from playwright.sync_api import Browser, Page
from review_log import decide

from storage.records.ledger import write_json
from storage.records.manifest import QUARANTINE_COLUMNS
from storage.records.names import STATE_NAME
from storage.records.tables import read_rows, write_table
from storage.records.workspace import Workspace
from tasks.report.changes import compare_archives
from tasks.report.writer import write_report

pytestmark = [
    pytest.mark.browser,
    needs_chromium,
]
NUM_COLOURED, NUM_FAILED = 6 + len(PAYLOADS), 3


def as_name(payload: str) -> str:
    """A payload as a file name: a slash becomes one that looks the same."""
    return payload.replace("/", "\u2215")


@pytest.fixture(scope="module")
def workspaces(tmp_path_factory: pytest.TempPathFactory) -> tuple[Workspace, Workspace]:
    """An archive coloured, with payloads in names, EXIF and errors; and again with other settings."""
    photos = tmp_path_factory.mktemp("in")
    for seed in range(6):
        photo = Image.fromarray(draw_photo(seed, 120 + 10 * seed, 80)).convert("L")
        photo.save(photos / f"photo {seed}.jpg")
    for seed, payload in enumerate(PAYLOADS):
        exif = Image.Exif()
        exif[270], exif[315] = payload, payload
        gray = Image.fromarray(draw_photo(20 + seed)).convert("L")
        gray.save(photos / f"{as_name(payload)}.jpg", exif=exif)
    for name in ("broken.jpg", "=cmd.jpg", f"{as_name(PAYLOADS[1])}.tif"):
        (photos / name).write_bytes(b"no photo")
    out = tmp_path_factory.mktemp("colour")
    with local_cluster() as address:
        colorize_here(address, photos, out / "now", settings={"uncertainty": True})
        colorize_here(
            address, photos, out / "before", settings={"abstain": 0.5}, exclude=["photo 5.jpg"]
        )
    now, before = (Workspace(out / name / STATE_NAME) for name in ("now", "before"))
    quarantine = now.current("ingest", "archive").resolve() / "quarantine.parquet"
    rows = read_rows(quarantine)
    for row in rows:
        row["detail"] = "".join(PAYLOADS)
        if row["path"] == "broken.jpg":
            row["code"] = "UNREADABLE"
    write_table(quarantine, rows, QUARANTINE_COLUMNS)
    run = {"run_id": "20260101T000000-abcdef", "exit_code": 6, "failures": []}
    step = {"step": "colorize/archive", "error": PAYLOADS[1]}
    write_json(now.runs / run["run_id"] / "plan.json", {"steps": [], "request": None})
    write_json(now.runs / run["run_id"] / "run.json", run | {"failures": [step]})
    return now, before


@pytest.fixture(scope="module")
def report(workspaces: tuple[Workspace, Workspace]) -> Path:
    """Its page."""
    now, before = workspaces
    changes = compare_archives(now, before, "before")
    return write_report(now, output=str(now.root.parent), changes=changes).page


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as browser:
        yield browser


@pytest.fixture
def opened(browser: Browser, report: Path) -> Iterator[Window]:
    """The page, which must do nothing wrong during the test."""
    window = Window(browser, report.as_uri(), "file:", viewport={"width": 1400, "height": 900})
    yield window
    assert window.wrongs == []
    window.context.close()


@pytest.fixture
def page(opened: Window) -> Page:
    return opened.page


def shown_paths(page: Page) -> list[str]:
    """Of the cards in the grid."""
    return page.locator("#grid .card .link").all_inner_texts()


def test_counts_exit_code_and_failures_with_remedies_come_first(page: Page) -> None:
    names, numbers = (page.locator(f"#counts {tag}").all_inner_texts() for tag in ("dt", "dd"))
    counts = dict(zip(names, numbers, strict=True))
    assert counts["coloured"] == str(NUM_COLOURED) and counts["failed"] == str(NUM_FAILED)
    assert "exit 6" in page.locator("#outcome").inner_text()
    sections = [s.get_attribute("id") for s in page.locator("main > section").all()]
    assert sections == [
        *("first", "failures", "changes", "photos", "review"),
        *("training", "history", "run"),
    ]
    group = page.locator(".reason", has_text="NOT_A_PHOTO")
    assert "leave it out with --exclude NAME" in group.inner_text()
    assert "--reason NOT_A_PHOTO" in group.locator("code").last.inner_text()
    remedy = page.locator(".reason", has_text="UNREADABLE").locator(".remedy")
    assert remedy.locator("code").inner_text() == "chromaflow retry"
    assert "`" not in remedy.inner_text()
    assert page.locator("#run-body .models tbody tr").count() == 5


def test_the_slider_moves_by_mouse_and_by_key(page: Page) -> None:
    slider = page.locator("#grid img-comparison-slider").first
    slider.scroll_into_view_if_needed()
    box = slider.bounding_box()
    assert box is not None
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    page.mouse.move(x, y)
    page.mouse.down()
    page.mouse.move(x + box["width"] / 4, y, steps=5)
    page.mouse.up()
    assert 70 <= int(slider.get_attribute("aria-valuenow") or 0) <= 80
    page.keyboard.down("ArrowLeft")
    page.wait_for_timeout(300)
    page.keyboard.up("ArrowLeft")
    assert int(slider.get_attribute("aria-valuenow") or 99) < 70
    sizes = slider.locator("img").evaluate_all(
        "images => images.map(i => [i.naturalWidth, i.width])"
    )
    assert sizes[0] == sizes[1] and sizes[0][0] > 0, "before lies on after"


def test_every_coloured_picture_is_labelled(page: Page) -> None:
    page.locator("#grid .card .badge").last.wait_for()
    cards = page.locator("#grid .card", has=page.locator("img-comparison-slider"))
    assert cards.count() == page.locator("#grid .card .badge", has_text="AI colorized").count() > 0


@pytest.mark.parametrize("mode", ["Chroma only", "Segmentation", "Uncertainty"])
def test_other_pictures_are_shown_on_request(page: Page, mode: str) -> None:
    page.locator("#modes").get_by_role("button", name=mode, exact=True).click()
    picture = page.locator("#grid .picture img").first
    picture.wait_for()
    assert picture.evaluate("image => image.decode().then(() => image.naturalWidth)") > 0
    assert page.locator("#legend").is_visible() == (mode == "Segmentation")
    assert mode.split()[0] in (picture.get_attribute("alt") or "")


def test_search_and_filters_narrow_and_sorting_orders(page: Page) -> None:
    page.get_by_role("searchbox").fill("photo 3")
    page.locator("#found", has_text="1 of").wait_for()
    assert shown_paths(page) == ["photo 3.jpg"]
    page.get_by_role("button", name="Table", exact=True).click()
    whole = page.locator("#rows .hash").first.get_attribute("title")
    page.get_by_role("searchbox").fill(f"{whole}"[:12].upper())
    page.locator("#rows .hash").first.wait_for()
    assert page.locator("#found").inner_text().startswith("1 of")
    page.get_by_role("searchbox").fill("")
    page.get_by_role("combobox", name="Status").select_option("failed")
    page.get_by_role("combobox", name="Reason").select_option("NOT_A_PHOTO")
    assert page.locator("#found").inner_text().startswith(f"{NUM_FAILED - 1} of ")
    page.get_by_role("combobox", name="Reason").select_option("")
    page.get_by_role("combobox", name="Status").select_option("coloured")
    page.get_by_role("combobox", name="Sort").select_option("uncertainty")
    page.locator("#direction").click()
    page.get_by_role("button", name="Table", exact=True).click()
    values = [float(t) for t in page.locator("#rows tr td:nth-child(7)").all_inner_texts()]
    assert len(values) == NUM_COLOURED and values == sorted(values, reverse=True)
    page.locator("#heads button", has_text="Path").click()
    page.locator("#heads th[aria-sort]", has_text="Path").wait_for()
    paths = page.locator("#rows .link").all_inner_texts()
    photos = [path for path in paths if path.startswith("photo")]
    assert photos == sorted(photos)
    assert page.locator("#heads th[aria-sort]").count() == 1


def test_the_table_is_walked_by_keys_and_a_row_opens(page: Page) -> None:
    page.get_by_role("button", name="Table", exact=True).click()
    page.locator("#scroller").focus()
    for key in ("ArrowDown", "ArrowDown", "End", "Home", "ArrowDown"):
        page.keyboard.press(key)
    focused = page.evaluate("document.activeElement.closest('tr').dataset.index")
    assert focused == "1"
    page.keyboard.press("Enter")
    detail = page.get_by_role("dialog")
    assert detail.is_visible() and detail.locator("dd").count() > 3
    detail.get_by_role("button", name="Segmentation").click()
    assert "Segmentation" in (detail.locator(".picture img").get_attribute("alt") or "")
    page.keyboard.press("Escape")
    assert not detail.is_visible()
    assert page.evaluate("document.activeElement.closest('tr').dataset.index") == "1"


def test_the_first_screen_shows_the_six_photos_that_matter_most(page: Page) -> None:
    cards = page.locator("#first .card")
    assert cards.count() == 6
    why = cards.locator("strong:not(.badge)").all_inner_texts()
    assert why == ["Least certain"] * 3 + ["Largest change"] * 3
    cards.last.locator("img.second").wait_for()
    sources = cards.locator("img").evaluate_all(
        "images => Promise.all(images.map(i => i.decode().then(() => i.currentSrc.slice(0, 5))))"
    )
    assert set(sources) == {"file:"}, "large pictures are the files beside"
    box = cards.first.locator(".picture").bounding_box()
    assert box is not None and box["y"] + box["height"] < 900


def test_a_photo_leads_to_the_next_and_to_its_original(page: Page) -> None:
    page.get_by_role("combobox", name="Status").select_option("coloured")
    names = shown_paths(page)

    title = page.locator("#detail-title")

    def is_shown(name: str) -> None:
        ends = time.monotonic() + 30  # names hold what no selector takes
        while title.inner_text() != name:
            assert time.monotonic() < ends, (title.inner_text(), name)

    page.locator("#grid .link").nth(1).click()
    is_shown(names[1])
    page.locator("#detail").get_by_role("button", name="Next").click()
    is_shown(names[2])
    page.locator("#detail").get_by_role("button", name="Close").focus()
    for name in names[1::-1]:
        page.keyboard.press("ArrowLeft")
        is_shown(name)
    assert page.locator("#detail").get_by_role("button", name="Previous").is_disabled()
    original = page.locator("#detail dt", has_text="Original").locator("+ dd a")
    with page.context.expect_page() as opened:
        original.click()
    opened.value.wait_for_load_state()
    assert opened.value.evaluate("document.images[0].naturalWidth") > 0


def test_decisions_of_a_review_are_shown(
    browser: Browser, workspaces: tuple[Workspace, Workspace], tmp_path: Path
) -> None:
    now, _ = workspaces
    decide(now.root.parent, ["photo 1.jpg"], verdict="approved", note="<b>fine</b>")
    decide(now.root.parent, ["photo 2.jpg"], palette="7")
    window = Window(browser, write_report(now, folder=tmp_path / "report").page.as_uri(), "file:")
    page = window.page
    names, numbers = (page.locator(f"#counts {tag}").all_inner_texts() for tag in ("dt", "dd"))
    counts = dict(zip(names, numbers, strict=True))
    assert counts["approved"] == counts["to be coloured again"] == "1"
    page.get_by_role("combobox", name="Review").select_option("approved")
    assert shown_paths(page) == ["photo 1.jpg"]
    page.locator("#grid .link").click()
    assert "<b>fine</b>" in page.locator("#detail").inner_text()
    assert window.wrongs == []
    window.context.close()
    (now.root / "decisions.jsonl").unlink()


def test_review_by_keyboard_is_kept_and_saved_as_csv(
    opened: Window, report: Path, tmp_path: Path
) -> None:
    page = opened.page
    page.locator("#review-body").focus()
    page.keyboard.press("n")
    page.keyboard.type('=HYPERLINK(0) sky, "too" blue')
    page.keyboard.press("Escape")
    page.keyboard.press("a")
    page.keyboard.press("r")
    page.keyboard.press("j")
    page.keyboard.press("k")
    assert f"Photo 3 of {NUM_COLOURED}, 2 decided" in page.locator("#review-body").inner_text()
    opened.open(report.as_uri())
    assert f"Photo 3 of {NUM_COLOURED}, 2 decided" in page.locator("#review-body").inner_text()
    with page.expect_download() as download:
        page.get_by_role("button", name="Save decisions as CSV").click()
    download.value.save_as(tmp_path / "review.csv")
    with (tmp_path / "review.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [row["decision"] for row in rows] == ["approved", "rejected"]
    assert rows[0]["note"] == '\'=HYPERLINK(0) sky, "too" blue'
    uncertain = [float(row["uncertainty"]) for row in rows]
    assert uncertain == sorted(uncertain, reverse=True)
    assert all(len(row["output_sha256"]) == 64 for row in rows)
    page.get_by_role("combobox", name="Review").select_option("rejected")
    assert page.locator("#grid .card").count() == 1


def test_links_lead_to_the_outputs(page: Page) -> None:
    page.get_by_role("combobox", name="Status").select_option("coloured")
    page.locator("#grid .link").last.click()
    link = page.locator("#detail a").first
    with page.context.expect_page() as opened:
        link.click()
    opened.value.wait_for_load_state()
    assert opened.value.url.startswith("file:")
    assert opened.value.evaluate("document.images[0].naturalWidth") > 0


def test_no_text_from_outside_becomes_markup(page: Page) -> None:
    for view in ("Pictures", "Table"):
        page.get_by_role("button", name=view, exact=True).click()
        page.wait_for_timeout(100)
        seen = page.evaluate(
            "[...document.querySelectorAll('*')].map(e => e.localName + ':' + "
            "[...e.attributes].filter(a => a.name.startsWith('on')).length)"
        )
        names = {one.partition(":")[0] for one in seen}
        assert names.isdisjoint({"iframe", "object", "embed", "b", "base"})
        assert {one.partition(":")[2] for one in seen} == {"0"}
    for path in page.locator("#rows .link").all()[: NUM_COLOURED + NUM_FAILED]:
        path.dispatch_event("mouseover")
    page.locator("#rows .link", has_text="onerror").first.click()
    assert "hacked=1" in page.locator("#detail").inner_text()
    assert page.evaluate("typeof hacked") == "undefined"
    own = page.evaluate("[...document.scripts].map(s => s.src)")
    assert len(own) == 13 and all(source.startswith("file:") for source in own)
    links = page.evaluate("[...document.links].map(a => a.protocol)")
    assert set(links) == {"file:"}
    assert "\u202e" not in page.locator("body").inner_text()


def test_the_policy_stops_a_script_in_the_page(browser: Browser, report: Path) -> None:
    window = Window(browser, report.as_uri(), "file:")
    window.page.evaluate(
        "document.body.append(Object.assign(document.createElement('script'), "
        "{textContent: 'hacked = 1'}))"
    )
    assert window.page.evaluate("typeof hacked") == "undefined"
    assert any("Content Security Policy" in wrong for wrong in window.wrongs)
    window.context.close()


def test_changes_against_another_output_are_shown(page: Page) -> None:
    body = page.locator("#changes")
    assert "Against before" in body.inner_text()
    assert body.locator("img-comparison-slider").count() == 10
    assert "photo 5.jpg added" in body.inner_text()


@pytest.mark.parametrize(
    "look", ["light", *(pytest.param(look, marks=pytest.mark.slow) for look in ("dark", "narrow"))]
)
def test_axe_finds_no_serious_violation(browser: Browser, report: Path, look: str) -> None:
    size = {"width": 400, "height": 800} if look == "narrow" else {"width": 1400, "height": 900}
    scheme = "dark" if look == "dark" else "light"
    window = Window(
        browser, report.as_uri(), "file:", viewport=size, color_scheme=scheme, bypass_csp=True
    )
    page = window.page
    page.evaluate(AXE.read_text())
    for view in ("Pictures", "Table", "detail"):
        if view == "detail":
            page.locator("#rows .link").first.click()
        else:
            page.get_by_role("button", name=view, exact=True).click()
        page.wait_for_timeout(200)
        found = page.evaluate("axe.run()")
        grave = [v for v in found["violations"] if v["impact"] in ("serious", "critical")]
        said = json.dumps([[v["id"], v["help"], v["nodes"][0]["html"]] for v in grave], indent=1)
        assert not grave, f"{view}: {said}"
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), "scrolls sideways"
    window.context.close()
