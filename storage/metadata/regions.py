"""Regions of a photo in its XMP, moved with its pixels: turned upright, and above a label.

Metadata Working Group 2.0 (mwg-rs:Regions), Microsoft's people tags (MP:RegionInfo) and IPTC Photo
Metadata 2025.1 (Iptc4xmpExt:ImageRegion). All count in the stored picture, before EXIF's
orientation: 0..1 of its sides, or pixels.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from xml.etree.ElementTree import Element

from storage.containers.parsing import Losses

_MWG = "{http://www.metadataworkinggroup.com/schemas/regions/}"
_AREA = "{http://ns.adobe.com/xmp/sType/Area#}"
_SIDES = "{http://ns.adobe.com/xap/1.0/sType/Dimensions#}"
_RECTANGLE = "{http://ns.microsoft.com/photo/1.2/t/Region#}Rectangle"
_IPTC = "{http://iptc.org/std/Iptc4xmpExt/2008-02-29/}"
_ROTATION = f"{_MWG}Rotation"
_SAME_SHAPE = 0.02
"""Of the ratio of two pictures' sides: what rounding makes of it."""

_MOST = 1e9
"""Of any coordinate."""

_Sides = tuple[float, float]


@dataclass(frozen=True, kw_only=True, slots=True)
class Placement:
    """Where the pixels of a photo are in its derivative."""

    orientation: int
    """EXIF's, 1..8, that was applied to the stored pixels."""
    photo: tuple[int, int]
    """Width and height of the photo, upright, pixels."""
    size: tuple[int, int]
    """Width and height of the derivative, pixels: a label may have added rows below."""

    @property
    def stored(self) -> _Sides:
        """Width and height before the orientation was applied."""
        return self._turned(self.photo)

    def _turned(self, sides: _Sides) -> _Sides:
        return (sides[1], sides[0]) if self.orientation > 4 else sides

    def grown(self, sides: _Sides) -> _Sides:
        """What becomes of the sides of the stored picture, if it is counted in these."""
        width, height = self._turned(sides)
        return width * self.size[0] / self.photo[0], height * self.size[1] / self.photo[1]

    def box(self, box: list[float], pixels_of: _Sides | None = None) -> list[float]:
        """Left, top, width and height after; before and after 0..1 of the sides.

        pixels_of: sides of the stored picture in which the box counts instead, and then counts
        in those of the derivative.
        """
        left, top, width, height = box
        before, after = (1.0, 1.0), (1.0, 1.0)
        if pixels_of:
            before, after = pixels_of, self.grown(pixels_of)
        (x0, y0), (x1, y1) = (
            self._point(x / before[0], y / before[1])
            for x, y in ((left, top), (left + width, top + height))
        )
        moved = min(x0, x1), min(y0, y1), abs(x1 - x0), abs(y1 - y0)
        return [value * after[number % 2] for number, value in enumerate(moved)]

    def _point(self, x: float, y: float) -> tuple[float, float]:
        """By CIPA DC-008, tag 274; 0..1 of the sides."""
        if self.orientation > 4:
            x, y = y, x
        if self.orientation in (2, 3, 6, 7):
            x = 1 - x
        if self.orientation in (3, 4, 7, 8):
            y = 1 - y
        return x * self.photo[0] / self.size[0], y * self.photo[1] / self.size[1]


def move_regions(rdf: Element, placement: Placement, losses: Losses) -> None:
    """Move every region of a packet; one whose numbers cannot be read stays, and is noted."""
    if placement.orientation == 1 and placement.size == placement.photo:
        return
    errors: list[str] = []
    for regions in rdf.iter(f"{_MWG}Regions"):
        with _into(errors):
            _move_mwg(regions, placement, errors)
    for region in _having(rdf, _RECTANGLE):
        with _into(errors):
            numbers = _field(region, _RECTANGLE)
            box = [_number(part) for part in numbers.split(",")]
            if len(box) != 4:
                raise ValueError(f"expected x, y, w, h, got {numbers!r}")
            _put(region, _RECTANGLE, ", ".join(map(_text, placement.box(box))))
    for boundary in rdf.iter(f"{_IPTC}RegionBoundary"):
        with _into(errors):
            _move_boundary(boundary, placement)
    if errors:
        losses.note("XMP", f"{len(errors)} of its regions not moved with the picture: {errors[0]}")


@contextmanager
def _into(errors: list[str]) -> Iterator[None]:
    """Collect what says that there are no numbers where there should be some."""
    try:
        yield
    except ValueError as error:
        errors.append(str(error))


def _move_mwg(regions: Element, placement: Placement, errors: list[str]) -> None:
    """The size that they name, and each area: the centre x and y, w and h; a circle's diameter stays.

    Regions that name the size of the upright picture count in that, by habit; but Lightroom's,
    which have a Rotation, count in the stored one all the same.
    """
    size = next(iter(_having(regions, f"{_SIDES}w")), None)
    sides = placement.stored
    if size is not None:
        sides = _number(_field(size, f"{_SIDES}w")), _number(_field(size, f"{_SIDES}h"))
        if min(sides) < 1:
            raise ValueError(f"expected sides of 1 pixel or more, got {sides[0]:g} × {sides[1]:g}")
        if not _alike(sides, placement.stored) and _alike(sides, placement.photo):
            if _having(regions, _ROTATION):
                sides = sides[::-1]
            else:
                placement = replace(placement, orientation=1)
        for name, side in zip("wh", placement.grown(sides), strict=True):
            _put(size, _SIDES + name, str(round(side)))
    for area in _having(regions, f"{_AREA}x"):
        with _into(errors):
            is_pixels = _has(area, f"{_AREA}unit") and _field(area, f"{_AREA}unit") == "pixel"
            _move_box(area, _AREA, placement, sides if is_pixels else None, centred=True)
    for region in _having(regions, _ROTATION):
        with _into(errors):
            if abs(math.sin(2 * _number(_field(region, _ROTATION)))) < _SAME_SHAPE:
                _put(region, _ROTATION, "0")  # quarter turns: they were the orientation's


def _move_boundary(boundary: Element, placement: Placement) -> None:
    """A rectangle from its corner, a circle from its centre, a polygon's vertices: rbX, rbY and rest."""
    units = [_field(element, f"{_IPTC}rbUnit") for element in _having(boundary, f"{_IPTC}rbUnit")]
    sides = placement.stored if "pixel" in units else None
    for element in _having(boundary, f"{_IPTC}rbX"):
        _move_box(element, _IPTC + "rb", placement, sides, centred=False)
    for circle in _having(boundary, f"{_IPTC}rbRx"):
        if sides is None:  # of the width, which may be another now
            radius = _number(_field(circle, f"{_IPTC}rbRx"))
            _put(circle, f"{_IPTC}rbRx", _text(radius * placement.stored[0] / placement.size[0]))


def _move_box(
    element: Element, prefix: str, placement: Placement, sides: _Sides | None, *, centred: bool
) -> None:
    """A structure with x, y and perhaps w and h; capital in names that end in lower case."""
    names = [prefix + (name.upper() if prefix.endswith("rb") else name) for name in "xywh"]
    held = [name for name in names if _has(element, name)]
    x, y, width, height = (_number(_field(element, n)) if n in held else 0.0 for n in names)
    share = 0.5 if centred else 0.0
    moved = placement.box([x - share * width, y - share * height, width, height], sides)
    moved[:2] = moved[0] + share * moved[2], moved[1] + share * moved[3]
    for name, value in zip(names, moved, strict=True):
        if name in held:
            _put(element, name, _text(value))


def _alike(one: _Sides, other: _Sides) -> bool:
    """Whether they have the same shape, at whatever scale."""
    return abs(one[0] * other[1] / (one[1] * other[0]) - 1) < _SAME_SHAPE


def _having(root: Element, name: str) -> list[Element]:
    """The structures with that field."""
    return [element for element in root.iter() if _has(element, name)]


def _has(element: Element, name: str) -> bool:
    """Whether a structure has a field, as an attribute or an element."""
    return name in element.attrib or element.find(name) is not None


def _field(element: Element, name: str) -> str:
    return (element.get(name) or element.findtext(name) or "").strip()


def _put(element: Element, name: str, text: str) -> None:
    child = element.find(name)
    if child is not None:
        child.text = text
    if name in element.attrib:
        element.set(name, text)


def _number(text: str) -> float:
    number = float(text)
    if not abs(number) < _MOST:
        raise ValueError(f"expected a number, got {text!r}")
    return number


def _text(number: float) -> str:
    """With six decimals, those that say something."""
    return f"{round(number, 6) + 0.0:.6f}".rstrip("0").rstrip(".")
