"""Cases of what pictures are: kinds of JPEG (09), camera raw (10), blank frames (12), real colour (13)."""

from __future__ import annotations

import io
import json
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import pandas as pd
import tifffile
from case import Clause
from conftest import draw_photo
from numpy.typing import NDArray
from PIL import Image
from place import Place

from colorization.colour.lab import rgb_to_lab
from storage.photos.photo import decode

_MOST_CHROMA, _MOST_APART = 3.0, 3.0
"""Lab units: of a blank frame; of true colour that is kept."""
_ADDRESS = re.compile(r"0x[0-9a-f]{6,}|<[A-Za-z_.]+ (?:object|at)|Traceback|LibRaw[A-Z]\w+Error")


def check_jpegs(place: Place) -> Iterator[Clause]:
    """09: 12 bit, lossless and JPEG-LS, at their own depth; a kind that is not read is named."""
    gray = np.asarray(Image.fromarray(draw_photo(1)).convert("L"))
    deep = gray.astype(np.uint16) * 257
    lossless = imagecodecs.ljpeg_encode(deep, bitspersample=16)
    bits = {
        "jpegls16.jls": (imagecodecs.jpegls_encode(deep), 16),
        "jpegls8.jls": (imagecodecs.jpegls_encode(draw_photo(2)[..., 0]), 8),
        "lossless16.jpg": (lossless, 16),
        "twelve.jpg": (imagecodecs.jpeg8_encode(deep >> 4, level=95, bitspersample=12), 16),
    }
    for name, (content, _) in bits.items():
        _put(place, name, bytes(content))
    given = {path.name: 8 if path.suffix == ".jls" else 16 for path in _given(place)}
    _put(place, "hierarchical.jpg", bytes(lossless).replace(b"\xff\xc3", b"\xff\xc5", 1))
    ran = place.run("colorize", "in", "out", "--workers", 1, "--json")
    facts, refused = _facts(place), _refused(place)
    told = {name: one["bits"] for name, one in facts.items()}
    right = {name: depth for name, (_, depth) in bits.items()} | given
    yield Clause(got=f"exit {ran.code}, bits {told}", right=ran.code == 6 and told == right)
    code, detail = refused.get("hierarchical.jpg", ("", ""))
    yield Clause(
        got=f"hierarchical: {code}", right=code == "UNSUPPORTED_FORMAT" and "hierarch" in detail
    )
    yield _plain(ran.words, refused)


def check_raw(place: Place) -> Iterator[Clause]:
    """10: told by content, developed or refused; a preview is never the photo."""
    files = {
        "a.CR3": b"\0\0\0\x18ftypcrx \0\0\0\1crx isom" + bytes(range(256)) * 4,
        "b.MRW": b"\0MRM" + bytes(range(256)) * 4,
        "c.X3F": b"FOVb" + bytes(range(256)) * 4,
        "d.ARW": _with_preview("SONY", "DSLR-A100"),
        "e.PEF": _with_preview("PENTAX Corporation", "PENTAX *ist D"),
    }
    for name, content in files.items():
        _put(place, name, content)
    given = _given(place)
    ran = place.run("colorize", "in", "out", "--workers", 1, "--json")
    facts, refused = _facts(place), _refused(place)
    names = {*files, *(path.name for path in given)}
    yield Clause(
        got=f"exit {ran.code}, {len(facts)} developed, {len(refused)} refused",
        right=ran.code == 6 and {*facts, *refused} == names,
    )
    codes = {code for code, _ in refused.values()}
    made = all("camera raw (" in detail for _, detail in refused.values())
    yield Clause(got=f"{sorted(codes)}", right=codes <= {"UNSUPPORTED_FORMAT", "CODEC_MISSING"})
    yield Clause(got=f"makers {'named' if made else 'not named'}", right=made)
    small = [name for name, one in facts.items() if one["width"] <= 160 or one["bits"] != 16]
    yield Clause(got=f"previews as photos: {small or 'none'}", right=not small)
    yield _plain(ran.words, refused)


def check_blank(place: Place) -> Iterator[Clause]:
    """12: cards, fog, paper and black with noise stay gray, and the record says so."""
    rng, shape = np.random.default_rng(12), (300, 400)
    across = np.linspace(-1, 1, shape[1])
    frames = {
        "card.png": np.full(shape, 118.0),
        "vignette.png": 200 - 40 * across**2 + rng.normal(0, 4, shape),
        "noise.png": 12 + rng.normal(0, 6, shape),
        "small.png": 90 + rng.normal(0, 3, (60, 80)),
    }
    for name, pixels in frames.items():
        (place.folder / "in").mkdir(exist_ok=True)
        levels = np.clip(np.rint(pixels), 0, 255).astype(np.uint8)
        Image.fromarray(levels).save(place.folder / "in" / name)
    names = {*frames, *(path.name for path in _given(place))}
    ran = place.run("colorize", "in", "out", "--workers", 1, "--json")
    yield Clause(got=f"exit {ran.code}", right=ran.code == 0)
    facts = _facts(place)
    for name in sorted(names):
        chroma = float(np.hypot(*_ab(place.folder / "out" / facts[name]["output"])).mean())
        said = any("BLANK" in note for note in facts[name]["notes"])
        got = f"{name}: chroma {chroma:.1f}{'' if said else ', not said'}"
        yield Clause(got=got, right=chroma <= _MOST_CHROMA and said)


def check_local_colour(place: Place) -> Iterator[Clause]:
    """13: a strip, a stamp and a logo on gray photos keep their colours, and the record says so."""
    places = {"strip.png": np.s_[:, :40], "stamp.png": np.s_[180:220, 200:290]}
    for number, (name, where) in enumerate(places.items()):
        scene = np.asarray(Image.fromarray(draw_photo(number, 400, 300)).convert("L"))
        rgb = np.repeat(scene[..., None], 3, axis=2)
        rgb[where] = (30, 60, 190) if name == "stamp.png" else _patches(300, 40)
        (place.folder / "in").mkdir(exist_ok=True)
        Image.fromarray(rgb).save(place.folder / "in" / name)
    given = _given(place)
    ran = place.run("colorize", "in", "out", "--workers", 1, "--json")
    yield Clause(got=f"exit {ran.code}", right=ran.code == 0)
    facts = _facts(place)
    for path in sorted([*given, *(place.folder / "in" / name for name in places)]):
        before, after = _ab(path), _ab(place.folder / "out" / facts[path.name]["output"])
        true = np.hypot(*before) > 25
        apart = float(np.hypot(*(after - before))[true].mean())
        said = any("real colour" in note for note in facts[path.name]["notes"])
        got = f"{path.name}: ab {apart:.1f} off{'' if said else ', not said'}"
        yield Clause(got=got, right=apart <= _MOST_APART and said)
    gray = np.hypot(*_ab(place.folder / "out" / facts["stamp.png"]["output"]))[:150].mean()
    yield Clause(got=f"beside the stamp: chroma {gray:.1f}", right=float(gray) > 1)


def _patches(height: int, width: int) -> NDArray[np.uint8]:
    colours = np.array([(200, 40, 30), (20, 60, 210), (40, 170, 60), (230, 200, 30)], np.uint8)
    rows = np.arange(height) * len(colours) // height
    return np.repeat(colours[rows][:, None], width, axis=1)


def _with_preview(make: str, model: str) -> bytes:
    """A TIFF whose first picture is a preview, and below it sensor's pixels that no one can read."""
    said: list[Any] = [(271, 2, 0, make, True), (272, 2, 0, model, True)]
    file = io.BytesIO()
    with tifffile.TiffWriter(file) as writer:
        options: dict[str, Any] = {"metadata": None, "subfiletype": 1, "subifds": 1}
        writer.write(draw_photo(1, 160, 120), photometric="rgb", extratags=said, **options)
        sensor = np.arange(64 * 48, dtype=np.uint16).reshape(48, 64)
        writer.write(sensor, photometric=32803, metadata=None)
    return file.getvalue()


def _put(place: Place, name: str, content: bytes) -> None:
    path = place.folder / "in" / name
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(content)


def _given(place: Place) -> list[Path]:
    """The case's own inputs, copied beside those that are drawn."""
    found = sorted(place.given.iterdir()) if place.given and place.given.is_dir() else []
    return [Path(shutil.copy(path, place.folder / "in" / path.name)) for path in found]


def _facts(place: Place) -> dict[str, dict[str, Any]]:
    folder = place.folder / "out/.chromaflow/current/colorize/archive/done"
    records = (json.loads(path.read_text()) for path in folder.glob("*.json"))
    rows = [one for record in records for one in record.get("outputs", ())]
    return {one["photo"]: {"notes": []} | one for one in rows}


def _refused(place: Place) -> dict[str, tuple[str, str]]:
    table = pd.read_parquet(place.folder / "out/.chromaflow/report/photos.parquet")
    rows = table[table["status"] != "coloured"]
    told = zip(rows["path"], rows["reason"], rows["detail"], strict=True)
    return {str(path): (str(code), str(detail)) for path, code, detail in told}


def _plain(words: str, refused: dict[str, tuple[str, str]]) -> Clause:
    """No message shows a class name, an address or a traceback."""
    said = words + " ".join(detail for _, detail in refused.values())
    found = _ADDRESS.search(said)
    return Clause(got=f"said: {found[0]}" if found else "plain words", right=not found)


def _ab(path: Path) -> NDArray[np.float32]:
    pixels: Any = decode(path.read_bytes()).pixels
    rgb = pixels if pixels.ndim == 3 else np.repeat(pixels[..., None], 3, axis=2)
    return rgb_to_lab(rgb)[1:]
