"""Patterns, lists and choices of photos, on a real disk."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import zipfile
from pathlib import Path

import pytest

from storage.errors import UsageError
from storage.sources.datasets import arrange
from storage.sources.entries import Listing, Problem, SourceFile
from storage.sources.files import write_list
from storage.sources.locations import resolve_location
from storage.sources.selecting import NOT_CHOSEN, select_files
from storage.sources.source import open_source

TREE = ("1.tif", "2.jpg", "a/1.tif", "a/b/1.TIF", "a/b/c/1.tif", "x.d/1.tif", "a/.hidden.tif")


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    root = tmp_path / "photos"
    for name in TREE:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(name.encode())
    return root


def paths(location: str) -> list[str]:
    listing = open_source(location).listing()
    assert not listing.problems
    return [file.path for file in listing.files]


def problems(location: str) -> dict[str, str]:
    return {problem.path: problem.code for problem in open_source(location).listing().problems}


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("*.tif", ["1.tif"]),
        ("?.*", ["1.tif", "2.jpg"]),
        ("[12].[tj]*", ["1.tif", "2.jpg"]),
        ("*/*.tif", ["a/1.tif", "x.d/1.tif"]),
        ("**/*.tif", ["1.tif", "a/1.tif", "a/b/c/1.tif", "x.d/1.tif"]),
        ("**", ["1.tif", "2.jpg", "a/1.tif", "a/b/1.TIF", "a/b/c/1.tif", "x.d/1.tif"]),
        ("*/**/c/*", ["a/b/c/1.tif"]),
        ("./a//b*/*", ["a/b/1.TIF"]),
    ],
)
def test_a_pattern_lists_what_it_names(tree, pattern, expected):
    inside = "a/" if pattern == "./a//b*/*" else ""
    assert [inside + path for path in paths(f"{tree}/{pattern}")] == expected


def test_the_root_of_a_pattern_is_its_longest_folder_without_magic(tree, monkeypatch):
    source = open_source(f"{tree}/a/*/1.TIF")
    assert [file.path for file in source.listing().files] == ["b/1.TIF"]
    assert source.read("b/1.TIF") == b"a/b/1.TIF"
    assert source.folders() == ((tree / "a").resolve(),)
    monkeypatch.chdir(tree)
    assert paths("a/*") == ["1.tif"]
    assert paths("*.jpg") == ["2.jpg"]


def test_only_folders_that_may_hold_a_match_are_entered(tree):
    closed = tree / "closed"
    closed.mkdir()
    closed.chmod(0)
    try:
        assert paths(f"{tree}/a/*/*.TIF") == ["b/1.TIF"]
        assert paths(f"{tree}/[ax]*/*.tif") == ["a/1.tif", "x.d/1.tif"]
    finally:
        closed.chmod(0o700)


@pytest.mark.parametrize("pattern", ["*.png", "nowhere/*.tif", "a*", "**/nowhere/*", "[.tif"])
def test_a_pattern_that_matches_no_file_is_a_usage_error(tree, pattern):
    with pytest.raises(UsageError, match="found no") as caught:
        open_source(f"{tree}/{pattern}")
    assert str(tree / pattern) in str(caught.value)


def test_a_folder_or_archive_of_the_very_name_of_a_pattern_is_meant(tmp_path):
    folder = tmp_path / "scans [1-9]"
    folder.mkdir()
    (folder / "x.jpg").write_bytes(b"x")
    assert paths(str(folder)) == ["x.jpg"]
    with zipfile.ZipFile(tmp_path / "[a].zip", "w") as archive:
        archive.writestr("y.jpg", b"y")
    assert paths(str(tmp_path / "[a].zip")) == ["[a].zip/y.jpg"]


SHOWN = sorted(set(TREE) - {"a/.hidden.tif"})


def chosen(location: str, include=(), exclude=(), **options) -> tuple[list[str], dict[str, str]]:
    """The paths that are read, and the codes of what is not, as ingest has them."""
    arranged = arrange(open_source(location, **options), "plain", include, exclude)
    files = [entry.file.path for entry in arranged.entries]
    return files, {problem.path: problem.code for problem in arranged.problems}


@pytest.mark.parametrize("form", ["{}", "{}/**", "{}/**/*"])
def test_links_pipes_and_loops_are_listed_with_what_they_are(tree, form):
    (tree / "loop").symlink_to(tree)
    (tree / "a/up").symlink_to("..")
    (tree / "link.tif").symlink_to("1.tif")
    (tree / "broken.tif").symlink_to("gone.tif")
    (tree / "circle.tif").symlink_to("circle.tif")
    os.mkfifo(tree / "pipe.tif")
    with socket.socket(socket.AF_UNIX) as listening, contextlib.chdir(tree):
        listening.bind("socket.tif")
    (tree / "to-pipe.tif").symlink_to("pipe.tif")
    files, codes = chosen(form.format(tree))
    assert files == SHOWN
    irregular = ("broken.tif", "circle.tif", "pipe.tif", "socket.tif", "to-pipe.tif")
    assert codes == {
        **dict.fromkeys(("loop", "a/up", "link.tif"), "NOT_FOLLOWED"),
        **dict.fromkeys(irregular, "NOT_REGULAR"),
    }


@pytest.mark.parametrize("form", ["{}", "{}/**/*"])
def test_links_to_photos_and_folders_elsewhere_are_followed_under_their_own_paths(tree, form):
    """As git-annex keeps photos, in a hidden folder, and as albums name them."""
    annex = tree / ".git/annex/objects/x1"
    annex.mkdir(parents=True)
    (annex / "SHA256E-s3--ab.jpg").write_bytes(b"one")
    (tree / "a/annexed.jpg").symlink_to("../.git/annex/objects/x1/SHA256E-s3--ab.jpg")
    (tree / "a/twice.jpg").symlink_to("../.git/annex/objects/x1/SHA256E-s3--ab.jpg")
    away = tree.parent / "away"
    (away / "deep").mkdir(parents=True)
    (away / "deep/2.jpg").write_bytes(b"two")
    (away / "deep/back").symlink_to(tree)
    (tree / "album").symlink_to(away)
    (tree / "album2").symlink_to(away / "deep")
    files, codes = chosen(form.format(tree))
    assert set(files) - set(SHOWN) == {"a/annexed.jpg", "album/deep/2.jpg"}
    assert codes == dict.fromkeys(["a/twice.jpg", "album/deep/back", "album2"], "NOT_FOLLOWED")
    source = open_source(str(tree))
    assert source.read("album/deep/2.jpg") == b"two" and source.read("a/annexed.jpg") == b"one"


def test_a_link_counts_where_the_photo_itself_is_left_out(tree):
    (tree / "link.tif").symlink_to("a/b/1.TIF")
    assert "link.tif" in chosen(str(tree), exclude=["a/b/"])[0]
    assert "link.tif" not in chosen(str(tree))[0]
    assert chosen(str(tree), include=["link.tif"]) == (["link.tif"], {})


def test_links_are_listed_but_not_followed_on_request(tree):
    (tree / "link.tif").symlink_to(__file__)
    (tree / "linked").symlink_to("/usr")
    files, codes = chosen(str(tree), follow=False)
    assert (files, codes) == (SHOWN, dict.fromkeys(["link.tif", "linked"], "NOT_FOLLOWED"))
    listing = open_source(listed(b"link.tif\n1.tif\n", tree), follow=False).listing()
    assert [problem.code for problem in listing.problems] == ["NOT_FOLLOWED"]


def test_no_link_leads_into_the_output(tree):
    out, album = tree.parent / "out", tree.parent / "album"
    (out / "a").mkdir(parents=True)
    (out / "a/1.tif.color.tif").write_bytes(b"colour")
    album.mkdir()
    (album / "own.tif").write_bytes(b"own")
    (album / "results").symlink_to(out)
    for name, target in (("o", out), ("deep", out / "a"), ("x.tif", out / "a/1.tif.color.tif")):
        (tree / name).symlink_to(target)
    (tree / "album").symlink_to(album)
    (tree / "around").symlink_to(tree.parent)  # which holds out too
    files, codes = chosen(str(tree), avoid=[out])
    assert set(files) - set(SHOWN) == {"album/own.tif"}
    assert {"o", "deep", "x.tif", "album/results", "around/out"} <= codes.keys()
    assert set(codes.values()) == {"NOT_FOLLOWED"}


def test_what_a_name_alone_leaves_out_is_counted(tree):
    for name in (".a.jpg", "._b.jpg", "Thumbs.db", "a/desktop.ini"):
        (tree / name).write_bytes(b"x")
    arranged = arrange(open_source(str(tree)), "plain", exclude=["*.jpg"])
    assert arranged.left_out == {
        "hidden": 3,
        "system files": 2,
        "left out by include and exclude": 1,
    }


def test_a_link_to_an_archive_is_read_under_its_own_name(tree, monkeypatch):
    with zipfile.ZipFile(tree.parent / "3f7a", "w") as archive:
        archive.writestr("y.jpg", b"y")
    (tree.parent / "photos.zip").symlink_to("3f7a")
    monkeypatch.chdir(tree.parent)
    assert paths(resolve_location("photos.zip")) == ["photos.zip/y.jpg"]


def listed(lines: bytes, tree: Path) -> str:
    return write_list(lines, tree, tree.parent / "state" / "list")


@pytest.mark.parametrize(
    "lines",
    [
        b"a/1.tif\n2.jpg\n",
        b"2.jpg\r\n./a/1.tif\r\n\r\na/b/../1.tif",
        b"a/1.tif\x002.jpg\x00a/1.tif\0",
        b"\xef\xbb\xbf2.jpg\na/1.tif\n",
    ],
)
def test_a_list_names_its_files_once(tree, lines):
    location = listed(lines, tree)
    assert location == f"list:{tree.parent}/state/list"
    assert paths(location) == ["2.jpg", "a/1.tif"]
    source = open_source(location)
    assert source.read("a/1.tif") == b"a/1.tif"
    assert source.folders() == (tree.resolve(), (tree / "a").resolve())


def test_a_list_holds_in_any_working_folder(tree, monkeypatch):
    monkeypatch.chdir(tree)
    location = write_list(b"a/1.tif\n", Path(), Path("list"))
    monkeypatch.chdir("/")
    assert paths(location) == ["a/1.tif"]
    assert (tree / "list").read_text() == f"# root: {tree}\na/1.tif\n"


def test_listed_paths_outside_the_root_have_their_common_folder_as_root(tree):
    location = listed(f"{tree}/1.tif\n../a/b/1.TIF\n".encode(), tree / "x.d")
    assert paths(location) == ["1.tif", "a/b/1.TIF"]
    location = listed(f"{tree}/a/b/1.TIF\n".encode(), tree / "x.d")
    assert paths(location) == ["1.TIF"]
    location = listed(f"{tree}/a/1.tif\n".encode(), tree)
    assert paths(location) == ["a/1.tif"], "absolute, but inside"


def test_a_list_written_by_hand_starts_from_its_root_line_or_its_own_folder(tree):
    (tree / "list.txt").write_text("a/1.tif\n#1.jpg\n")
    (tree / "#1.jpg").write_bytes(b"x")
    assert paths(f"list:{tree}/list.txt") == ["#1.jpg", "a/1.tif"]
    (tree / "list.txt").write_text(f"# root: {tree}/a\nb/1.TIF\n")
    assert paths(f"list:{tree}/list.txt") == ["b/1.TIF"]
    (tree / "list.txt").write_bytes(b"# root: %b/a\nb/1.TIF\0b/c/1.tif\0" % os.fsencode(tree))
    assert paths(f"list:{tree}/list.txt") == ["b/1.TIF", "b/c/1.tif"]


def test_names_with_line_breaks_and_other_encodings_survive_a_list(tree):
    names = [b"new\nline.jpg", b"latin \xe9.jpg", b"end\r", b" space ", b".shown"]
    for name in names:
        Path(tree, os.fsdecode(name)).write_bytes(b"x")
    assert paths(listed(b"\0".join(names), tree)) == sorted(map(os.fsdecode, names))


def test_the_output_of_find_is_a_list(tree):
    found = subprocess.run(
        ["find", ".", "-name", "*.tif", "-print0"], cwd=tree, capture_output=True, check=True
    )
    assert len(paths(listed(found.stdout, tree))) == 5


def test_what_is_listed_but_no_file_is_a_problem(tree):
    (tree / "link.tif").symlink_to("1.tif")
    (tree / "linked").symlink_to("a")
    (tree / "broken.tif").symlink_to("nowhere")
    os.mkfifo(tree / "pipe.tif")
    lines = b"gone.tif\na\n.\nbroken.tif\nlink.tif\nlinked/1.tif\npipe.tif\n1.tif/x\n1.tif\n._1.tif\nThumbs.db\n"
    for clutter in ("._1.tif", "Thumbs.db"):
        (tree / clutter).write_bytes(b"x")
    location = listed(lines, tree)
    found = [file.path for file in open_source(location).listing().files]
    assert found == ["1.tif", "link.tif", "linked/1.tif"]
    assert problems(location) == {
        "gone.tif": "UNREADABLE",
        "1.tif/x": "UNREADABLE",
        **dict.fromkeys(["a", ".", "broken.tif", "pipe.tif"], "NOT_REGULAR"),
    }


def test_the_digest_of_a_list_changes_with_its_files_only(tree):
    location = listed(b"gone.tif\n1.tif\n", tree)
    before = open_source(location).digest()
    (tree / "other.tif").write_bytes(b"x")
    listed(b"1.tif\ngone.tif\n1.tif\n", tree)
    assert open_source(location).digest() == before
    (tree / "gone.tif").write_bytes(b"x")
    assert open_source(location).digest() != before


@pytest.mark.parametrize("lines", [b"", b"\n\r\n", b"\0", b"# root: /tmp\n"])
def test_a_list_without_paths_is_a_usage_error(tree, lines):
    with pytest.raises(UsageError, match="got none"):
        listed(lines, tree)
    (tree / "list").write_bytes(lines)
    with pytest.raises(UsageError, match="got none"):
        open_source(f"list:{tree}/list")


def test_a_list_that_is_missing_is_a_usage_error(tmp_path):
    with pytest.raises(UsageError, match="Expected a list"):
        open_source(f"list:{tmp_path}/nowhere")


def test_locations_hold_in_another_working_folder(tree, monkeypatch):
    monkeypatch.chdir(tree)
    assert resolve_location("a") == str(tree / "a")
    assert resolve_location("a/**/*.tif") == f"{tree}/a/**/*.tif"
    assert resolve_location("list:a/list") == f"list:{tree}/a/list"
    assert resolve_location("s3://bucket/a") == "s3://bucket/a"


def test_what_a_source_reads_is_known_for_local_ones(tree):
    assert open_source(str(tree)).folders() == (tree.resolve(),)
    with zipfile.ZipFile(tree / "a.zip", "w") as archive:
        archive.writestr("x.jpg", b"x")
    assert open_source(str(tree / "a.zip")).folders() == (tree.resolve() / "a.zip",)
    assert open_source(f"file://{tree}").folders() == ()


NAMES = [*TREE[:-1], "p.zip/q/7.tif", "p.zip/8.png", "Été/9.tif"]


@pytest.mark.parametrize(
    ("include", "exclude", "expected"),
    [
        ([], [], NAMES),
        (["*.jpg"], [], ["2.jpg"]),
        (["*.tif"], ["a/"], ["1.tif", "x.d/1.tif", "p.zip/q/7.tif", "Été/9.tif"]),
        (["*.TIF"], ["1.*"], ["p.zip/q/7.tif", "Été/9.tif"]),
        (["/1.tif"], [], ["1.tif"]),
        (["a/b/*"], [], ["a/b/1.TIF", "a/b/c/1.tif"]),
        (["b/*"], [], []),
        (["**/b/*"], [], ["a/b/1.TIF", "a/b/c/1.tif"]),
        (["a/**"], [], ["a/1.tif", "a/b/1.TIF", "a/b/c/1.tif"]),
        (["a/**/1.tif"], ["**/c/**"], ["a/1.tif", "a/b/1.TIF"]),
        (["b"], [], ["a/b/1.TIF", "a/b/c/1.tif"]),
        (["1.tif/"], [], []),
        (["./2.jpg", "8.png"], [], ["2.jpg", "p.zip/8.png"]),
        (["p.zip"], ["q"], ["p.zip/8.png"]),
        (["p.zip/q/*.tif"], [], ["p.zip/q/7.tif"]),
        (["**"], ["*.[tT]*", "*.jp?"], ["p.zip/8.png"]),
        (["e\u0301te\u0301/*"], [], ["Été/9.tif"]),
        ([], ["**"], []),
    ],
)
def test_files_are_chosen_as_gitignore_does(include, exclude, expected):
    listing = Listing([SourceFile(name, 1, "") for name in NAMES])
    chosen = select_files(listing, include, exclude)
    assert [file.path for file in chosen.files] == expected


@pytest.mark.parametrize(
    ("include", "exclude", "expected"),
    [
        (["*.jpg"], [], ["a.jpg", "a.xmp", "b.JPG", "b.JPG.XMP"]),
        (["*.jpg"], ["a.xmp"], ["a.jpg", "b.JPG", "b.JPG.XMP"]),
        (["*.tif"], [], ["in/a.tif"]),
        ([], ["*.jpg"], ["a.xmp", "b.JPG.XMP", "in/a.tif", "in/b.xmp", "xmp"]),
    ],
)
def test_an_xmp_file_goes_with_its_photo(include, exclude, expected):
    names = ["a.jpg", "a.xmp", "b.JPG", "b.JPG.XMP", "in/a.tif", "in/b.xmp", "xmp"]
    chosen = select_files(Listing([SourceFile(n, 1, "") for n in names]), include, exclude)
    assert [file.path for file in chosen.files] == expected
    assert chosen.left_out.get(NOT_CHOSEN, 0) == len(names) - len(expected)


def test_problems_go_with_their_paths_but_those_of_an_archive_stay():
    found = [Problem(path, "ARCHIVE_DAMAGED", "") for path in ("a/p.zip", "a/1.tif", "2.jpg")]
    kept = select_files(Listing([], found), ["*.tif"], [])
    assert [problem.path for problem in kept.problems] == ["a/p.zip", "a/1.tif"]
    assert not select_files(Listing([], found), [], ["a", "*.jpg"]).problems


@pytest.mark.parametrize("pattern", ["", "/", "./"])
def test_an_empty_pattern_is_a_usage_error(pattern):
    with pytest.raises(UsageError, match="Expected a pattern"):
        select_files(Listing([]), [pattern], [])
