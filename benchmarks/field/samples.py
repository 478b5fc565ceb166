"""Cases of what TIFFs hold: samples with a declared range (05), pages that are not alike (06)."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import tifffile
from case import Clause
from conftest import draw_photo, with_masks
from numpy.typing import NDArray
from PIL import Image
from place import Place

from colorization.colour.lightness import gray_codes

_SMIN, _SMAX, _MAX = 340, 341, 281
_UNDECLARED = "undeclared.tif"


def check_ranges(place: Place) -> Iterator[Clause]:
    """05: 12 bits in 16 and 6 in 8, declared in both ways, or not at all."""
    scene = _gray(1).astype(np.uint16)
    twelve, six = scene * 16 + (scene >> 4), (scene >> 2).astype(np.uint8)
    means = {
        "smax.tif": _draw(place, "smax.tif", twelve, {_SMIN: 0, _SMAX: 4095}),
        "max.tif": _draw(place, "max.tif", twelve, {_MAX: 4095}),
        "eight.tif": _draw(place, "eight.tif", six, {_SMIN: 0, _SMAX: 63}),
        _UNDECLARED: _draw(place, _UNDECLARED, twelve, {}),
    } | {path.name: 149.0 for path in _given(place)}
    ran = place.run("colorize", "in", "out", "--workers", 1, "--json")
    yield Clause(got=f"exit {ran.code}", right=ran.code == 0)
    for name, mean in means.items():
        if name != _UNDECLARED:
            got = _mean(place.folder / "out", name)
            yield Clause(got=f"{name}: mean {got:.0f} of {mean:.0f}", right=abs(got - mean) < 2)
    said = [
        "under 1/8" in "; ".join(_facts(place, "out")[_UNDECLARED]["notes"]),
        "under 1/8" in _noted(place, "out", _UNDECLARED),
    ]
    yield Clause(
        got=f"undeclared: in the record {said[0]}, in the report {said[1]}", right=all(said)
    )
    ran = place.run("colorize", "in", "wide", "--range", "auto", "--workers", 1)
    got, mean = _mean(place.folder / "wide", _UNDECLARED), means[_UNDECLARED]
    right = ran.code == 0 and abs(got - mean) < 2
    yield Clause(got=f"--range auto: mean {got:.0f} of {mean:.0f}", right=right)
    yield from _verified(place, "out")
    yield from _verified(place, "wide")


def check_pages(place: Place) -> Iterator[Clause]:
    """06: gray pages beside bilevel, colour and infrared ones and a thumbnail, in any order."""
    scene = _gray(2)
    deep, colour, back = scene.astype(np.uint16) * 257, draw_photo(3, 64, 48), _gray(4) > 128
    files: dict[str, list[tuple[NDArray[Any], int, str]]] = {
        "back.tif": [(scene, 0, ""), (back, 0, "BILEVEL")],
        "target.tif": [(_patches(colour), 0, "ALREADY_COLOR"), (scene, 0, "")],
        "infrared.tif": [(deep, 0, ""), (deep[::-1], 2, "MASK"), (scene[::4, ::4], 1, "THUMBNAIL")],
    }
    for name, pages in files.items():
        _write(place.folder / "in" / name, pages)
    given = {path.name for path in _given(place)}
    ran = place.run("colorize", "in", "out", "--workers", 1, "--json")
    names = set(_facts(place, "out"))
    yield Clause(
        got=f"exit {ran.code}, {len(names)} files", right=not ran.code and names == given | {*files}
    )
    for name, pages in files.items():
        yield _paged(place, name, pages)
    reasons = {"photo_and_bilevel": "BILEVEL", "photo_and_color": "ALREADY_COLOR"}
    for name in sorted(given):
        reason = reasons.get(Path(name).stem, "MASK")
        told = [(page["output"], page["reason"]) for page in _facts(place, "out")[name]["pages"]]
        yield Clause(got=f"{name}: {told}", right=told == [(2, reason)])
    yield from _verified(place, "out")


def _paged(place: Place, name: str, pages: list[tuple[NDArray[Any], int, str]]) -> Clause:
    """Gray pages are in colour, the others as they were, record and report name page and reason."""
    facts, noted = _facts(place, "out")[name], _noted(place, "out", name)
    told = {page["page"]: page["reason"] for page in facts["pages"]}
    expected = {number: reason for number, (_, _, reason) in enumerate(pages, 1) if reason}
    shown = [page for page in pages if page[2] != "THUMBNAIL"]
    with tifffile.TiffFile(place.folder / "out" / f"{name}.color.tif") as file:
        found = [page.asarray() for page in file.pages]
    kept = len(found) == len(shown) and all(
        np.array_equal(one, was) if reason else one.shape == (*was.shape, 3)
        for one, (was, _, reason) in zip(found, shown, strict=True)
    )
    in_report = all(f"page {number} " in noted and why in noted for number, why in expected.items())
    got = f"{name}: {'pages right' if kept else 'pages wrong'}, {told or 'no page named'}"
    return Clause(got=got, right=kept and told == expected and in_report)


def _gray(seed: int) -> NDArray[np.uint8]:
    return np.asarray(Image.fromarray(draw_photo(seed, 64, 48)).convert("L"))


def _patches(rgb: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """A target of strong colours."""
    target = rgb.copy()
    target[:, :32], target[:, 32:], target[::7] = (200, 40, 30), (20, 60, 210), (40, 190, 60)
    return target


def _draw(place: Place, name: str, pixels: NDArray[Any], tags: dict[int, int]) -> float:
    """Write a TIFF with these tags. Returns the mean of its scene, of 255."""
    code = "H" if pixels.dtype == np.uint16 else "B"
    extra = [(tag, code, 1, value, True) for tag, value in tags.items()]
    path = place.folder / "in" / name
    path.parent.mkdir(exist_ok=True)
    tifffile.imwrite(path, pixels, photometric="minisblack", metadata=None, extratags=extra)
    return float(pixels.mean() / (4095 if pixels.dtype == np.uint16 else 63) * 255)


def _write(path: Path, pages: list[tuple[NDArray[Any], int, str]]) -> None:
    path.parent.mkdir(exist_ok=True)
    with tifffile.TiffWriter(path) as writer:
        for pixels, kind, _ in pages:
            photometric = "rgb" if pixels.ndim == 3 else "minisblack"
            writer.write(pixels, photometric=photometric, subfiletype=kind, metadata=None)
    path.write_bytes(with_masks(path.read_bytes()))


def _given(place: Place) -> list[Path]:
    """The case's own inputs, copied beside those that are drawn."""
    found = sorted(place.given.glob("*.tif")) if place.given else []
    return [Path(shutil.copy(path, place.folder / "in" / path.name)) for path in found]


def _facts(place: Place, out: str) -> dict[str, dict[str, Any]]:
    folder = place.folder / out / ".chromaflow/current/colorize/archive/done"
    records = (json.loads(path.read_text()) for path in folder.glob("*.json"))
    return {one["photo"]: one for record in records for one in record.get("outputs", ())}


def _noted(place: Place, out: str, name: str) -> str:
    table = pd.read_parquet(place.folder / out / ".chromaflow/report/photos.parquet")
    return str(table.set_index("path").loc[name, "notes"])


def _mean(out: Path, name: str) -> float:
    path = out / f"{name}.color.tif"
    return float(gray_codes(tifffile.imread(path), np.uint8).mean()) if path.exists() else -1.0


def _verified(place: Place, out: str) -> Iterator[Clause]:
    ran = place.run("verify", out, "--originals", "in")
    yield Clause(got=f"verify {out}: exit {ran.code}", right=ran.code == 0)
