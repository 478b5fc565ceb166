"""`chromaflow review` by a real server process, in Debian's chromium."""

from __future__ import annotations

import csv
import http.client
import json
import random
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from browser_window import AXE, PAYLOADS, Window, chromium, needs_chromium
from colorizing import colorize_here, local_cluster
from conftest import draw_photo
from PIL import Image
from playwright.sync_api import Browser, Page
from review_page import Server, lines, wait_for_lines

from storage.records.decisions import read_decisions
from storage.records.ledger import write_json
from tasks.config.request import ColorizeRequest

pytestmark = [
    pytest.mark.browser,
    pytest.mark.timeout(900),  # the first test colours 200 photos
    needs_chromium,
]
NUM_PLAIN = 200 - len(PAYLOADS)


def as_name(payload: str) -> str:
    """A payload as a file name: a slash becomes one that looks the same."""
    return payload.replace("/", "\u2215")


@pytest.fixture(scope="module")
def coloured(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """200 photos in four albums, payloads in names and captions, coloured; the first ones are larger."""
    photos = tmp_path_factory.mktemp("in")
    for seed in range(NUM_PLAIN):
        size = (480, 360) if seed < 3 else (96, 80)
        folder = photos / f"album {seed % 4}"
        folder.mkdir(exist_ok=True)
        gray = Image.fromarray(draw_photo(seed, *size)).convert("L")
        gray.save(folder / f"photo {seed:03d}.{'tif' if seed == 2 else 'jpg'}")
    for seed, payload in enumerate(PAYLOADS):
        exif = Image.Exif()
        exif[270], exif[315] = payload, payload
        gray = Image.fromarray(draw_photo(1000 + seed)).convert("L")
        gray.save(photos / f"{as_name(payload)}.jpg", exif=exif)
    out = tmp_path_factory.mktemp("colour")
    with local_cluster() as address:
        colorize_here(address, photos, out, settings={"short_side": 64})
    request = ColorizeRequest(archive=str(photos), settings={"short_side": 64})
    plan = {"steps": [], "request": request.to_dict()}
    write_json(out / ".chromaflow/runs/20260101T000000-abcdef/plan.json", plan)
    return out


@pytest.fixture
def output(coloured: Path) -> Iterator[Path]:
    """The same, without decisions."""
    yield coloured
    (coloured / ".chromaflow/decisions.jsonl").unlink(missing_ok=True)


@pytest.fixture
def server(output: Path) -> Iterator[Server]:
    server = Server(output)
    yield server
    server.stop()


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as browser:
        yield browser


@pytest.fixture
def window(browser: Browser, server: Server) -> Iterator[Window]:
    window = Window(browser, server.address, viewport={"width": 1400, "height": 900})
    yield window
    window.close()


@pytest.fixture
def page(window: Window) -> Page:
    return window.page


def name(page: Page) -> str:
    """Of the photo at hand."""
    return page.locator("#name").inner_text()


def go_to(page: Page, path: str) -> None:
    """Open a photo by search."""
    page.get_by_role("searchbox").fill(path)
    page.locator("#name", has_text=path).wait_for()
    page.get_by_role("searchbox").fill("")
    page.locator("#found", has_text="200 photos").wait_for()
    page.keyboard.press("Escape")


def stage_colours(page: Page) -> np.ndarray:
    """The picture that the stage shows, uint8 (h, w, 3)."""
    values = page.evaluate(
        """async () => {
            const image = document.getElementById('colour');
            await image.decode();
            const canvas = new OffscreenCanvas(image.naturalWidth, image.naturalHeight);
            const context = canvas.getContext('2d');
            context.drawImage(image, 0, 0);
            const {width, height, data} = context.getImageData(0, 0, canvas.width, canvas.height);
            return [width, height, Array.from(data)];
        }"""
    )
    width, height, data = values
    return np.array(data, np.uint8).reshape(height, width, 4)[..., :3]


def click_photo(page: Page, across: float, down: float) -> None:
    """A click on the photo at a share of its sides."""
    box = page.locator("#world").bounding_box()
    assert box is not None
    page.mouse.click(box["x"] + across * box["width"], box["y"] + down * box["height"])


def test_a_review_by_keys_alone_is_on_the_disk_and_obeyed(page: Page, output: Path) -> None:
    first = name(page)
    page.keyboard.press("a")
    page.keyboard.press("r")
    page.keyboard.press("n")
    page.keyboard.type('=HYPERLINK(0) sky "too" blue')
    page.keyboard.press("Escape")
    page.wait_for_selector("#variants .variant", timeout=60_000)
    page.keyboard.press("4")
    page.keyboard.press("a")
    found = wait_for_lines(output, 5)
    assert [line["what"] for line in found] == ["approve", "reject", "note", "palette", "approve"]
    assert found[0]["photos"][0]["path"] == first
    chosen = found[-1]["photos"][0]
    assert len(chosen["palette"]) == 16 and chosen["verdict"] == "approved" and chosen["note"]
    page.locator("#done", has_text="3 of 200 photos decided").wait_for()
    page.keyboard.press("u")
    page.keyboard.press("u")
    assert [line["what"] for line in wait_for_lines(output, 7)][-2:] == ["undo", "undo"]
    assert lines(output)[-1]["photos"][0]["palette"] == ""
    assert name(page) == chosen["path"], "undo goes to the photo"
    with page.expect_download() as download:
        page.get_by_role("link", name="CSV").click()
    with Path(download.value.path()).open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert {row["path"]: row["decision"] for row in rows} == {
        first: "approved",
        found[1]["photos"][0]["path"]: "rejected",
        chosen["path"]: "",
    }
    notes = {row["note"] for row in rows}
    assert notes == {"", '\'=HYPERLINK(0) sky "too" blue'}
    page.reload()
    page.wait_for_selector("body[data-ready=yes]")
    assert name(page) == chosen["path"], "the first that is undecided"


def test_a_click_and_a_colour_give_new_colours(page: Page, output: Path) -> None:
    go_to(page, "album 0/photo 000.jpg")
    page.wait_for_selector("#variants .variant", timeout=60_000)
    before = stage_colours(page)
    click_photo(page, 0.25, 0.25)
    assert "choose a colour" in page.locator("#how").inner_text()
    page.locator("#usual").get_by_role("button", name="red", exact=True).click()
    (hint,) = wait_for_lines(output, 1)[-1]["photos"][0]["hints"]
    assert abs(hint[0] - 120) <= 2 and abs(hint[1] - 90) <= 2 and hint[2:] == [178, 58, 58]
    page.locator("#colour[src^='blob:']").wait_for()
    page.wait_for_timeout(300)
    after = stage_colours(page)
    assert before.shape == after.shape
    near = after[85:96, 115:126].astype(int).mean(axis=(0, 1))
    was = before[85:96, 115:126].astype(int).mean(axis=(0, 1))
    assert near[0] - near[1] > was[0] - was[1] + 30, "redder where it was clicked"
    assert page.locator("#marks .hint").count() == 1
    assert "to be coloured again" in page.locator("#verdict").inner_text()
    page.keyboard.press("Backspace")
    assert wait_for_lines(output, 2)[-1]["photos"][0]["hints"] == []
    page.locator("#colour:not([src^='blob:'])").wait_for()
    page.wait_for_timeout(300)
    assert (stage_colours(page) == before).all()


def test_hints_by_keys_and_an_eyedropper_on_another_photo(page: Page, output: Path) -> None:
    go_to(page, "album 0/photo 000.jpg")
    first = name(page)
    page.wait_for_selector("#swatches button")
    page.keyboard.press("h")
    for key in ("ArrowLeft", "ArrowLeft", "Shift+ArrowUp", "Enter", "Enter"):
        page.keyboard.press(key)
    (hint,) = wait_for_lines(output, 1)[-1]["photos"][0]["hints"]
    assert 200 < hint[0] < 240 and 170 < hint[1] < 181
    page.locator("#stage").focus()
    click_photo(page, 0.5, 0.5)
    page.keyboard.press("e")
    page.keyboard.press("j")
    assert name(page) != first
    page.locator("#swatches button").first.wait_for()
    page.wait_for_timeout(500)
    seen = stage_colours(page)
    click_photo(page, 0.75, 0.75)
    hints = wait_for_lines(output, 2)[-1]["photos"][0]
    assert hints["path"] == first == name(page), "back at the photo that the colour is for"
    wanted = seen[int(0.75 * seen.shape[0]), int(0.75 * seen.shape[1])]
    assert np.abs(np.array(hints["hints"][1][2:]) - wanted).max() <= 12


def test_like_this_photo_and_the_whole_folder(page: Page, output: Path) -> None:
    go_to(page, "album 0/photo 000.jpg")
    page.wait_for_selector("#variants .variant", timeout=60_000)
    page.keyboard.press("y")
    page.locator("#copied", has_text="Copied from").wait_for()
    page.keyboard.press("j")
    second = name(page)
    page.keyboard.press("p")
    like = wait_for_lines(output, 1)[0]
    assert like["what"] == "like" and like["photos"][0]["path"] == second
    assert len(like["photos"][0]["palette"]) == 16
    page.keyboard.press("a")
    wait_for_lines(output, 2)
    page.keyboard.press("f")
    folder = wait_for_lines(output, 3)[2]
    paths = [photo["path"] for photo in folder["photos"]]
    assert folder["what"] == "folder" and second not in paths, "what is approved stays"
    assert len(paths) == NUM_PLAIN // 4 - 1 and all(p.startswith("album 0/") for p in paths)


def test_zoom_pan_and_gray(page: Page) -> None:
    def width() -> float:
        box = page.locator("#world").bounding_box()
        assert box is not None
        return float(box["width"])

    fitted = width()
    page.keyboard.press("+")
    assert width() == pytest.approx(1.5 * fitted, rel=0.01)
    page.locator("#stage").hover()
    page.mouse.wheel(0, -300)
    assert width() > 2 * fitted
    before = page.locator("#world").bounding_box()
    page.mouse.down()
    page.mouse.move(600, 400, steps=4)
    page.mouse.up()
    assert page.locator("#world").bounding_box() != before
    assert page.locator("#marks .pending").count() == 0, "a drag is no click"
    page.keyboard.press("0")
    assert width() == pytest.approx(fitted, rel=0.01)
    page.keyboard.press("b")
    page.locator("#before[src]").wait_for()
    page.evaluate("document.getElementById('before').decode()")
    gray = page.locator("#stage").screenshot()
    page.keyboard.press("b")
    assert page.locator("#stage").screenshot() != gray


def test_search_filters_and_orders(page: Page, output: Path) -> None:
    page.keyboard.press("a")
    wait_for_lines(output, 1)
    page.get_by_role("combobox", name="Show").select_option("approved")
    page.locator("#found", has_text="1 of 200").wait_for()
    page.get_by_role("combobox", name="Show").select_option("")
    page.get_by_role("searchbox").fill("album 2/photo 00")
    page.locator("#found", has_text="2 of 200").wait_for()
    page.get_by_role("searchbox").fill("")
    for order in ("doubt", "colourfulness", "dull", "faults", "faces", "disagreement"):
        page.get_by_role("combobox", name="First").select_option(order)
        page.locator("#found", has_text="200 photos").wait_for(timeout=120_000)
    page.get_by_role("combobox", name="First").select_option("colourfulness")
    page.keyboard.press("Escape")
    values = []
    for _ in range(4):
        page.locator("#list").press("ArrowDown")
        text = page.locator("#facts").inner_text()
        values.append(float(text.split("Colourfulness")[1].split()[0]))
    assert values == sorted(values, reverse=True)


def test_two_tabs_know_of_each_other(browser: Browser, server: Server, output: Path) -> None:
    one, other = (Window(browser, server.address) for _ in range(2))
    assert name(one.page) == name(other.page)
    with one.page.expect_response("**/decide"):
        one.page.keyboard.press("a")
    other.page.locator("#verdict", has_text="approved").wait_for()
    with other.page.expect_response("**/decide"):
        other.page.keyboard.press("r")
    one.page.locator("#done", has_text="1 of 200").wait_for()
    assert [line["what"] for line in lines(output)] == ["approve", "reject"]
    for window in (one, other):
        window.close()


def test_what_another_tab_said_meanwhile_is_not_overwritten(
    browser: Browser, server: Server, output: Path
) -> None:
    window = Window(browser, server.address)
    page = window.page
    page.route("**/news*", lambda route: None)  # this tab hears of nothing
    first = page.evaluate("document.querySelector('[aria-selected=true]').id")
    assert first
    listing = json.loads(ask(server, "GET", f"/{server.token}/photos")[1])
    row = listing["columns"]["path"].index(name(page))
    photo = {"id": listing["columns"]["id"][row], "seen": 0}
    asked = {"what": "approve", "photos": [{**photo, "verdict": "approved"}]}
    assert ask(server, "POST", f"/{server.token}/decide", asked)[0] == 200
    page.keyboard.press("r")
    page.locator("#said", has_text="another tab").wait_for()
    assert [line["what"] for line in lines(output)] == ["approve"]
    assert all("409" in wrong for wrong in window.wrongs)
    window.context.close()


def test_a_kill_in_the_middle_loses_nothing_that_was_confirmed(
    browser: Browser, output: Path
) -> None:
    rng = random.Random(5)
    for turn in range(3):
        server = Server(output)
        window = Window(browser, server.address)
        confirmed: list[int] = []
        window.page.on(
            "response",
            lambda r, c=confirmed: c.append(1) if r.url.endswith("decide") and r.ok else None,
        )
        before = len(lines(output))
        for _ in range(rng.randint(3, 9)):
            window.page.keyboard.press("a")
        window.page.wait_for_timeout(rng.randint(0, 120))
        server.kill()
        window.page.locator("#said.grave", has_text="server is gone").wait_for()
        assert len(lines(output)) - before >= len(confirmed)
        assert read_decisions(output).number == len(lines(output)), f"turn {turn}"
        window.context.close()


def ask(
    server: Server,
    method: str,
    path: str,
    body: object = None,
    **headers: str,
) -> tuple[int, bytes, dict[str, str]]:
    """A request by hand."""
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=10)
    own = {"Host": f"127.0.0.1:{server.port}"}
    if body is not None:
        own |= {"Content-Type": "application/json", "Origin": f"http://127.0.0.1:{server.port}"}
    own |= {key.replace("_", "-"): value for key, value in headers.items()}
    content = None if body is None else json.dumps(body).encode()
    connection.putrequest(method, path, skip_host=True)
    for key, value in own.items():
        connection.putheader(key, value)
    if content is not None:
        connection.putheader("Content-Length", str(len(content)))
    connection.endheaders(content)
    answer = connection.getresponse()
    found = answer.status, answer.read(), dict(answer.getheaders())
    connection.close()
    return found


def test_only_who_has_the_address_is_answered(server: Server, output: Path) -> None:
    start, here = f"/{server.token}", f"127.0.0.1:{server.port}"
    status, page, headers = ask(server, "GET", f"{start}/")
    assert status == 200 and b"Chromaflow review" in page
    policy = headers["content-security-policy"]
    assert "default-src 'none'" in policy and "unsafe" not in policy
    assert "frame-ancestors 'none'" in policy and headers["referrer-policy"] == "no-referrer"
    refused = [
        ("GET", "/", {}),
        ("GET", "/photos", {}),
        ("GET", f"/{'x' * 43}/photos", {}),
        ("GET", f"/{server.token[:-1]}/photos", {}),
        ("GET", f"{start}/photos", {"Host": f"evil.example:{server.port}"}),
        ("GET", f"{start}/photos", {"Host": "127.0.0.1:1"}),
        ("GET", f"{start}/photos", {"Origin": "http://evil.example"}),
        ("GET", f"{start}/photos", {"Sec_Fetch_Site": "cross-site"}),
        ("OPTIONS", f"{start}/decide", {"Origin": "http://evil.example"}),
        ("PUT", f"{start}/decide", {}),
    ]
    for method, path, changed in refused:
        status, content, _ = ask(server, method, path, **changed)
        assert (status, content) == (404, b""), (method, path, changed)
    undo = {"what": "approve"}
    for changed in (
        {"Origin": "http://evil.example"},
        {"Origin": "null"},
        {"Content_Type": "text/plain"},
        {"Content_Type": "application/x-www-form-urlencoded"},
    ):
        assert ask(server, "POST", f"{start}/undo", undo, **changed)[:2] == (404, b"")
    assert ask(server, "POST", f"{start}/undo", {}, Origin=f"http://{here}")[0] == 200
    assert lines(output) == []


def test_it_listens_on_this_machine_alone(server: Server) -> None:
    table = Path("/proc/net/tcp").read_text() + Path("/proc/net/tcp6").read_text()
    found = [line.split()[1] for line in table.splitlines() if f":{server.port:04X} " in line]
    assert "0100007F" in {place.partition(":")[0] for place in found}
    assert not any(place.startswith("0000000") for place in found)


def test_no_path_leads_out(server: Server, output: Path, tmp_path: Path) -> None:
    start = f"/{server.token}"
    listing = json.loads(ask(server, "GET", f"{start}/photos")[1])
    id_ = listing["columns"]["id"][5]
    secret = tmp_path / "secret.jpg"
    Image.new("RGB", (9, 9)).save(secret)
    for path in (
        "/page/..%2f..%2fserver.py",
        "/page/../server.py",
        "/page/%2e%2e/guard.py",
        "/colour/..%2f..%2fowner.json",
        f"/small/{id_}/..%2f..%2fafter",
        "/original/%2fetc%2fpasswd",
        "/colour//etc/passwd",
    ):
        status, content, _ = ask(server, "GET", start + path)
        assert status in (400, 404) or content[:2] == b"\xff\xd8", path
        assert b"root:" not in content and b"import" not in content
    status, whole, _ = ask(server, "GET", f"{start}/colour/{id_}")
    assert status == 200 and whole[:2] == b"\xff\xd8"
    colour = next(output.glob(f"{listing['columns']['path'][5]}*"), None) or next(
        (output / listing["columns"]["path"][5]).parent.glob(
            Path(listing["columns"]["path"][5]).name + "*"
        )
    )
    kept = colour.read_bytes()
    colour.unlink()
    colour.symlink_to(secret)
    try:
        status, content, _ = ask(server, "GET", f"{start}/colour/{id_}")
        assert status == 422 and secret.read_bytes() not in content
    finally:
        colour.unlink()
        colour.write_bytes(kept)
    for bad in (
        {"what": "approve", "photos": [{"id": "../x", "seen": 0, "verdict": "approved"}]},
        {"what": "sudo", "photos": [{"id": id_, "seen": 0}]},
        {"what": "hints", "photos": [{"id": id_, "seen": 0, "hints": [[1e9, 0, 0, 0, 0]]}]},
        {"what": "hints", "photos": [{"id": id_, "seen": 0, "hints": [[0, 0, 999, 0, 0]]}]},
        {"what": "palette", "photos": [{"id": id_, "seen": 0, "palette": "../../x"}]},
        {"what": "note", "photos": [{"id": id_, "seen": 0, "note": "x" * 5000}]},
        {"what": "note", "photos": {}},
        [],
    ):
        status, content, _ = ask(server, "POST", f"{start}/decide", bad)
        assert status == 400 and b"Expected" in content, bad
    assert lines(output) == []


def test_no_text_from_outside_becomes_markup(page: Page) -> None:
    for payload in PAYLOADS:
        page.get_by_role("searchbox").fill(as_name(payload)[:12].replace("\u202e", ""))
        page.wait_for_timeout(120)
        page.locator("#rows .cell").first.click()
        page.wait_for_timeout(60)
        page.keyboard.press("n")
        page.keyboard.type("<img src=x onerror=hacked=1>")
        page.keyboard.press("Escape")
        page.keyboard.press("y")
    page.wait_for_timeout(300)
    assert page.evaluate("typeof hacked") == "undefined"
    seen = page.evaluate(
        "[...document.querySelectorAll('*')].map(e => e.localName + ':' + "
        "[...e.attributes].filter(a => a.name.startsWith('on')).length)"
    )
    names = {one.partition(":")[0] for one in seen}
    assert names.isdisjoint({"iframe", "object", "embed", "b", "base", "svg"})
    assert {one.partition(":")[2] for one in seen} == {"0"}
    assert page.evaluate("[...document.scripts].length") == 1
    assert "\u202e" not in page.locator("body").inner_text()
    assert "hacked" in page.locator("#facts").inner_text()


def test_the_policy_stops_a_script_in_the_page(browser: Browser, server: Server) -> None:
    window = Window(browser, server.address)
    window.page.evaluate(
        "document.body.append(Object.assign(document.createElement('script'), "
        "{textContent: 'hacked = 1'}))"
    )
    assert window.page.evaluate("typeof hacked") == "undefined"
    assert any("Content Security Policy" in wrong for wrong in window.wrongs)
    window.context.close()


@pytest.mark.parametrize(
    "look", ["light", *(pytest.param(look, marks=pytest.mark.slow) for look in ("dark", "narrow"))]
)
def test_axe_finds_no_violation(browser: Browser, server: Server, look: str) -> None:
    size = {"width": 400, "height": 800} if look == "narrow" else {"width": 1400, "height": 900}
    scheme = "dark" if look == "dark" else "light"
    window = Window(browser, server.address, viewport=size, color_scheme=scheme, bypass_csp=True)
    page = window.page
    page.evaluate(AXE.read_text())
    page.wait_for_selector("#variants .variant", timeout=60_000)
    page.keyboard.press("a")
    for view in ("photo", "overview", "keys"):
        if view == "overview":
            page.keyboard.press("g")
        elif view == "keys":
            page.keyboard.press("?")
        page.wait_for_timeout(300)
        found = page.evaluate("axe.run()")
        said = [[v["id"], v["help"], v["nodes"][0]["html"]] for v in found["violations"]]
        assert not said, f"{view}: {json.dumps(said, indent=1)}"
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), "scrolls sideways"
    window.context.close()


def test_a_second_review_of_the_same_output_is_refused(server: Server, output: Path) -> None:
    with pytest.raises(AssertionError, match="the review of"):
        Server(output)


def test_the_end_says_what_was_kept_and_renews_the_report(browser: Browser, output: Path) -> None:
    server = Server(output)
    window = Window(browser, server.address)
    window.page.keyboard.press("a")
    wait_for_lines(output, 1)
    window.close()
    assert "1 decisions kept" in server.stop()
    assert "approved" in (output / ".chromaflow/report/run.js").read_text()
