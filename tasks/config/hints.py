"""Colour hints of a person: a CSV of photo, point and colour, checked against an archive's photos."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from PIL import ImageColor

from storage.errors import UsageError

HINTS = "hints"
"""The file's name among the inputs of the colorize step."""
COLUMNS = ("path", "x", "y", "colour")
HintRow = tuple[float, float, int, int, int]
"""x and y, pixels from the left and top of the photo as shown; R, G, B, 0..255."""


def read_hints(path: Path) -> dict[str, list[HintRow]]:
    """Hints by photo, in the order of the file.

    path: CSV, UTF-8, with the columns of COLUMNS in its first line. colour: as in HTML, #a03020 or a
    name. Raises UsageError naming the line.
    """
    hints: dict[str, list[HintRow]] = {}
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file)
            if tuple(reader.fieldnames or ()) != COLUMNS:
                raise UsageError(
                    f"Expected the columns {','.join(COLUMNS)} in the first line of {path}, got "
                    f"{','.join(reader.fieldnames or ['nothing'])}."
                )
            for row in reader:
                hints.setdefault(row["path"], []).append(_hint(row, f"{path}:{reader.line_num}"))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise UsageError(f"Expected a CSV of hints at {path}, got: {error}.") from error
    return hints


def _hint(row: Mapping[str, Any], where: str) -> HintRow:
    try:
        x, y = float(row["x"]), float(row["y"])
        red, green, blue = ImageColor.getrgb(row["colour"])[:3]
    except (TypeError, ValueError, AttributeError) as error:
        raise UsageError(
            f"Expected path, x, y as numbers and colour as #rrggbb or a name in {where}, got: {error}."
        ) from error
    return x, y, red, green, blue


def checked_hints(
    manifest: Iterable[Mapping[str, Any]],
    hints: Mapping[str, list[HintRow]],
    unusable: Iterable[str],
) -> Mapping[str, list[HintRow]]:
    """The hints, each held against its photo.

    unusable: paths of photos that were read but cannot be coloured; hints for them are left unused.
    Raises UsageError for a photo that is not there or a point outside of one.
    """
    left = set(hints) - set(unusable)
    some = "none"
    for row in manifest:
        path = some = row["path"]
        left.discard(path)
        for x, y, *_ in hints.get(path, ()):
            if not (0 <= x < row["width"] and 0 <= y < row["height"]):
                raise UsageError(
                    f"Expected hints within {path}, {row['width']} x {row['height']} pixels; got one "
                    f"at x {x:g}, y {y:g}."
                )
    for path in sorted(left):
        raise UsageError(
            f"Expected hints for photos of the archive, got some for {path!r}, which it does not hold. "
            f"Its paths look like {some!r}."
        )
    return hints
