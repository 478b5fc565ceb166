"""Cases of what lies beside photos (01), in folders of systems (02), and of members' names (04)."""

from __future__ import annotations

import shutil
import unicodedata
import zipfile
from collections.abc import Iterator
from pathlib import Path

from case import Clause
from place import Place, coloured, draw, last_line

_BESIDE = {
    "@SynoEAStream": bytes(range(32, 128)) + b"\0\1\2",
    "IMG_0001.aae": b'<?xml version="1.0"?><plist version="1.0"><dict/></plist>',
    "IMG_0001.jpg.pp3": b"[Version]\nVersion=346\n",
    "caption.txt": "Großmutter – im Garten, “Sommer” 1931".encode("cp1252"),
    "checksums.md5": b"4aded51e27a597c08fc39c319b38777b *IMG_0001.jpg\r\n",
    "index.csv": "file,caption\nIMG_0001.jpg,Käthe\n".encode("utf-16"),
    "jp.txt": "祖母の家 昭和六年 表ソ能".encode("cp932"),
    "legende.txt": "L'été à la rivière, Zoë".encode("latin-1"),
    "manifest.sha256": b"22e8b50f7f2877fe6165dc3427be6d7b  IMG_0001.jpg\n",
}
_FOLDERS = (
    *("@eaDir/IMG_001.jpg", "#recycle/1931", "$RECYCLE.BIN/S-1-5-21", "System Volume Information"),
    *("lost+found", ".Trash-1000/files", ".thumbnails/normal", "__MACOSX"),
)
_FILES = ("Thumbs.db", "ZbThumbnail.info", "desktop.ini", "digikam4.db", "._IMG_001.jpg")
_MACOS = ("Fotos/Großmütter é.jpg",)
_JAPANESE = ("写真/祖母.jpg", "写真/表ソ能.jpg")
_DOS = {"Fotos\\1931\\a.jpg": "Fotos/1931/a.jpg"}


def check_text_beside(place: Place) -> Iterator[Clause]:
    """01: captions in all encodings, sums, edits and marks beside one photo."""
    photos = _given(place, "in")
    if not photos.exists():
        draw(photos / "IMG_0001.jpg", 1)
        for name, content in _BESIDE.items():
            (photos / name).write_bytes(content)
    (photos / "Icon\r").touch()
    num_others = len(list(photos.iterdir())) - 1
    yield from _one_photo(place, "IMG_0001.jpg", num_others)


def check_system_folders(place: Place) -> Iterator[Clause]:
    """02: the folders and files of NAS boxes, Windows and macOS."""
    photos = _given(place, "in")
    if not photos.exists():
        draw(photos / "1931/IMG_001.jpg", 1)
    for seed, folder in enumerate(_FOLDERS):
        if not (photos / folder).exists():
            draw(photos / folder / "thumb.jpg", 10 + seed)
    for name in _FILES:
        (photos / "1931" / name).write_bytes(b"\0\1\2 no picture")
    yield from _one_photo(place, "1931/IMG_001.jpg")
    words = ("--include", "#recycle/**", "--include", ".thumbnails/", "--include", "1931/**")
    ran = place.run("colorize", "in", "back", "--workers", 1, *words)
    names = set(coloured(place.folder / "back"))
    folders = {name.split("/")[0] for name in names}
    yield Clause(
        got=f"--include brings back {', '.join(sorted(folders - {'1931'}))}: exit {ran.code}",
        right=ran.code == 0 and folders == {"#recycle", ".thumbnails", "1931"},
    )


def _one_photo(place: Place, photo: str, num_others: int | None = None) -> Iterator[Clause]:
    """One photo is coloured, the rest counted as ignored, twice."""
    for number in ("first", "second"):
        ran = place.run("colorize", "in", "out", "--workers", 1, "--json")
        result = ran.json()
        counts = next(s["counts"] for s in result["steps"] if s["step"] == "ingest/archive")
        left = {name: counts.get(name, 0) for name in ("hidden", "system files", "ignored")}
        names, num_left = set(coloured(place.folder / "out")), sum(left.values())
        shown = ", ".join(f"{count} {name}" for name, count in left.items() if count)
        yield Clause(
            got=f"{number} run: exit {ran.code}, {len(names)} coloured, {shown}",
            right=ran.code == 0
            and names == {f"{photo}.color.jpg"}
            and not result["quarantined"]
            and (num_left == num_others if num_others is not None else num_left > 0),
        )


class _Raw(zipfile.ZipInfo):
    """A member whose name is written as it is, without the flag of UTF-8."""

    encoding = "utf-8"

    def _encodeFilenameFlags(self) -> tuple[bytes, int]:
        return self.filename.encode(self.encoding), 0


class _Japanese(_Raw):
    encoding = "cp932"


def check_zip_names(place: Place) -> Iterator[Clause]:
    """04: zips of macOS, of Japanese Windows, of DOS."""
    macos, sjis = (_given(place, f"{name}.zip") for name in ("macos", "sjis"))
    nfd = [unicodedata.normalize("NFD", name) for name in _MACOS]
    if not macos.exists():
        _pack(place, macos, {name: _Raw(name) for name in (*nfd, "__MACOSX/Fotos/._Gro.jpg")})
    if not sjis.exists():
        _pack(place, sjis, {name: _Japanese(name) for name in _JAPANESE})
    ran = place.run("colorize", macos, "mac", "--workers", 1)
    names = [unicodedata.normalize("NFC", name) for name in coloured(place.folder / "mac")]
    yield Clause(
        got=f"macos.zip: exit {ran.code}, {', '.join(names)}",
        right=(ran.code, names) == (0, [f"macos.zip/{name}.color.jpg" for name in _MACOS]),
    )
    ran = place.run("colorize", sjis, "guess", "--workers", 1)
    said = [line for line in ran.err.splitlines() if "a guess (CP437)" in line]
    told = len(said) == 1 and "names of 2 entries" in said[0] and "--encoding" in said[0]
    yield Clause(got=f"sjis.zip: {said[0] if said else last_line(ran.err)}", right=told)
    ran = place.run("colorize", sjis, "right", "--workers", 1, "--encoding", "cp932")
    japanese = set(coloured(place.folder / "right"))
    yield Clause(
        got=f"--encoding cp932: exit {ran.code}, {', '.join(sorted(japanese))}",
        right=ran.code == 0 and japanese == {f"sjis.zip/{name}.color.jpg" for name in _JAPANESE},
    )
    dos = place.folder / "dos.zip"
    members = {name: _Raw(name) for name in _DOS}
    for member in members.values():
        member.create_system = 0
    _pack(place, dos, members)
    place.run("colorize", dos, "dos", "--workers", 1)
    found = set(coloured(place.folder / "dos"))
    yield Clause(
        got=f"backslashes of DOS: {', '.join(sorted(found))}",
        right=found == {f"dos.zip/{name}.color.jpg" for name in _DOS.values()},
    )


def _given(place: Place, name: str) -> Path:
    """The case's own input, copied to be written to, where the research data is."""
    target = place.folder / name
    source = place.given if name == "in" else place.given and place.given / name
    if source and source.is_dir():
        shutil.copytree(source, target, copy_function=shutil.copyfile)
        for folder in (target, *(path for path in target.rglob("*") if path.is_dir())):
            folder.chmod(0o755)
    elif source and source.is_file():
        shutil.copyfile(source, target)
    return target


def _pack(place: Place, path: Path, members: dict[str, _Raw]) -> None:
    drawn = place.folder / "drawn.jpg"
    with zipfile.ZipFile(path, "w") as archive:
        for seed, member in enumerate(members.values()):
            draw(drawn, seed)
            archive.writestr(member, drawn.read_bytes())
