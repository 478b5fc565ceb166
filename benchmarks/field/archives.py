"""Cases of what an archive holds: links (11), a web page saved as a zip (18)."""

from __future__ import annotations

import os
import socket
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from case import Clause
from place import Place, coloured, draw, last_line

_PAGE = b"<!DOCTYPE html><html><head><title>Quota exceeded</title></head></html>"
_LEFT = {"broken.png": "NOT_REGULAR", "pipe": "NOT_REGULAR", "plug": "NOT_REGULAR"}
_NOT_FOLLOWED = {"loop": "NOT_FOLLOWED", "twin.png": "NOT_FOLLOWED"}


def check_links(place: Place) -> Iterator[Clause]:
    """11: links, loops, doubles, broken links, FIFO and socket."""
    photos = place.folder / "in"
    _draw_links(photos)
    ran = place.run("colorize", "in", "out", "--workers", 1, "--json")
    result = ran.json()
    names = set(coloured(place.folder / "out"))
    wanted = {"album/2.png", "annexed.png", "own.png"}
    got = {name.removesuffix(".color.png") for name in names}
    linked = got & {"linked.png", "once more.png"}
    yield Clause(
        got=f"coloured by the link's path: {', '.join(sorted(got))}",
        right=got == wanted | linked and len(linked) == 1,
    )
    codes = _codes(result)
    double = {"linked.png", "once more.png"} - linked
    expected = _LEFT | _NOT_FOLLOWED | dict.fromkeys(double, "NOT_FOLLOWED")
    yield Clause(
        got=f"listed: {', '.join(f'{n} {c}' for c, n in sorted(Counter(codes.values()).items()))}",
        right=codes == expected and ran.code == 6,
    )
    num_entries, num_counted = len(list(photos.iterdir())) - 1, len(names) + len(codes)  # -1: .git
    yield Clause(
        got=f"{num_counted} of {num_entries} entries counted", right=num_counted == num_entries
    )
    yield from _status_says(place, "out", expected)
    yield from _not_followed(place)
    yield from _annex_of_nothing(place)


def _draw_links(photos: Path) -> None:
    """Ten entries, and a hidden folder as git-annex keeps it."""
    attic = photos.parent / "attic"
    for seed, path in enumerate((attic / "1.png", attic / "album/2.png", photos / "own.png")):
        draw(path, seed)
    key = photos / ".git/annex/objects/ab/SHA256E-s1--1.png"
    draw(key, 3)
    links: dict[str, str | Path] = {
        "linked.png": "../attic/1.png",
        "once more.png": "../attic/1.png",
        "album": "../attic/album",
        "annexed.png": key.relative_to(photos),
        "loop": ".",
        "twin.png": "own.png",
        "broken.png": ".git/annex/objects/cd/not-here.png",
    }
    for name, target in links.items():
        (photos / name).symlink_to(target)
    os.mkfifo(photos / "pipe")
    here = Path.cwd()
    with socket.socket(socket.AF_UNIX) as plug:
        plug.bind(os.path.relpath(photos / "plug", here))  # a long path is no socket's name


def _codes(result: dict[str, list[dict[str, str]]]) -> dict[str, str]:
    rows = [*result.get("quarantined", ()), *result.get("filtered", ())]
    return {row["path"]: row["code"] for row in rows}


def _status_says(place: Place, out: str, expected: dict[str, str]) -> Iterator[Clause]:
    said = _codes(place.asked("status", out))
    yield Clause(got="status names them all", right=said == expected)


def _not_followed(place: Place) -> Iterator[Clause]:
    """`--no-follow`: no link is read, each is named."""
    ran = place.run("colorize", "in", "plain", "--no-follow", "--workers", 1, "--json")
    codes = _codes(ran.json())
    links = {path.name for path in (place.folder / "in").iterdir() if path.is_symlink()}
    named = {name for name in codes if name in links}
    names = set(coloured(place.folder / "plain"))
    yield Clause(
        got=f"--no-follow: {len(names)} coloured, {len(named)} of {len(links)} links named",
        right=names == {"own.png.color.png"} and named == links and len(codes) == len(links) + 2,
    )


def _annex_of_nothing(place: Place) -> Iterator[Clause]:
    """An annex whose photos are elsewhere says so, and status says why."""
    annex = place.folder / "annex"
    annex.mkdir()
    for number in range(2):
        (annex / f"{number}.jpg").symlink_to(f".git/annex/objects/{number}")
    ran = place.run("colorize", "annex", "nothing")
    told = "2 NOT_REGULAR" in ran.err and "a link to nothing" in ran.err
    yield Clause(
        got=f"an annex of broken links: exit {ran.code}, {'2 NOT_REGULAR' if told else last_line(ran.err)}",
        right=ran.code == 4 and told and "Traceback" not in ran.err,
    )
    yield from _status_says(place, "nothing", {f"{n}.jpg": "NOT_REGULAR" for n in range(2)})


def check_web_page(place: Place) -> Iterator[Clause]:
    """18: an archive by name whose bytes are something else."""
    name = "img_align_celeba.zip"
    given = place.given / name if place.given else None
    page = given.read_bytes() if given and given.is_file() else _PAGE
    (place.folder / name).write_bytes(page)
    config = place.folder / "chromaflow.toml"
    config.write_text(f'workspace = "w"\n[datasets]\npeople = "{name}"\n')
    said = f"{name} is no zip but a web page (HTML); download it again"
    for words in (("plan", "--config", config), ("colorize", name, "out")):
        yield _refused(place, said, *words)
    for other, content, what in (
        ("photos.tar.gz", page, "a web page (HTML)"),
        ("photos.tar", b"%PDF-1.7\n" + bytes(600), "a PDF"),
        ("photos.zip", b"Rar!\x1a\x07\x01\x00" + bytes(600), "a RAR archive"),
    ):
        (place.folder / other).write_bytes(content)
        yield _refused(place, what, "colorize", other, "out")


def _refused(place: Place, said: str, *words: object) -> Clause:
    ran = place.run(*words)
    shown = said if said in ran.err else last_line(ran.err)
    right = ran.code == 2 and said in ran.err and "Traceback" not in ran.err
    return Clause(got=f"{words[0]}: exit {ran.code}, {shown}", right=right)
