"""Regions move with the pixels: a bright patch is looked for in the picture that Pillow decodes."""

from __future__ import annotations

import io
import re
import time
from xml.etree import ElementTree

import numpy as np
import pytest
from PIL import Image

from storage.metadata.derivative import Metadata, Placement, Provenance, derivative
from storage.photos.photo import decode

PROVENANCE = Provenance(system="Chromaflow", version="1", original_sha256="ab" * 32, checkpoints=())
WIDTH, HEIGHT = 240, 180
BOX = (48, 36, 60, 72)
"""Left, top, width and height of the patch in the stored picture, pixels."""
MWG = "{http://www.metadataworkinggroup.com/schemas/regions/}"
AREA = "{http://ns.adobe.com/xmp/sType/Area#}"
SIDES = "{http://ns.adobe.com/xap/1.0/sType/Dimensions#}"
IPTC = "{http://iptc.org/std/Iptc4xmpExt/2008-02-29/}"
RECTANGLE = "{http://ns.microsoft.com/photo/1.2/t/Region#}Rectangle"
START = """<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF
 xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#"
 xmlns:mwg-rs="http://www.metadataworkinggroup.com/schemas/regions/"
 xmlns:stArea="http://ns.adobe.com/xmp/sType/Area#"
 xmlns:stDim="http://ns.adobe.com/xap/1.0/sType/Dimensions#"
 xmlns:MP="http://ns.microsoft.com/photo/1.2/"
 xmlns:MPRI="http://ns.microsoft.com/photo/1.2/t/RegionInfo#"
 xmlns:MPReg="http://ns.microsoft.com/photo/1.2/t/Region#"
 xmlns:ext="http://iptc.org/std/Iptc4xmpExt/2008-02-29/"><rdf:Description rdf:about="">"""
END = "</rdf:Description></rdf:RDF></x:xmpmeta>"
R = 'rdf:parseType="Resource"'
PIXELS = (1.0, 1.0)


def shares() -> tuple[float, float, float, float]:
    left, top, width, height = BOX
    return left / WIDTH, top / HEIGHT, width / WIDTH, height / HEIGHT


def mwg(area: str, sides: str = f'stDim:w="{WIDTH}" stDim:h="{HEIGHT}"', more: str = "") -> str:
    return (
        f'<mwg-rs:Regions {R}><mwg-rs:AppliedToDimensions {sides} stDim:unit="pixel"/>'
        f"<mwg-rs:RegionList><rdf:Bag><rdf:li {R}><mwg-rs:Name>Oma</mwg-rs:Name>{more}{area}"
        "</rdf:li></rdf:Bag></mwg-rs:RegionList></mwg-rs:Regions>"
    )


def area() -> str:
    x, y, w, h = shares()
    return (
        f'<mwg-rs:Area stArea:x="{x + w / 2}" stArea:y="{y + h / 2}" stArea:w="{w}" stArea:h="{h}"'
        ' stArea:unit="normalized"/>'
    )


def area_of_elements() -> str:
    x, y, w, h = shares()
    return (
        f"<mwg-rs:Area><rdf:Description><stArea:x>{x + w / 2}</stArea:x><stArea:y>{y + h / 2}"
        f"</stArea:y><stArea:w>{w}</stArea:w><stArea:h>{h}</stArea:h></rdf:Description></mwg-rs:Area>"
    )


def area_of_pixels() -> str:
    x, y, w, h = BOX
    return (
        f'<mwg-rs:Area stArea:x="{x + w / 2}" stArea:y="{y + h / 2}" stArea:w="{w}" stArea:h="{h}"'
        ' stArea:unit="pixel"/>'
    )


def microsoft(as_attribute: bool) -> str:
    text = ", ".join(f"{share:.6f}" for share in shares())
    inside = (
        f'<rdf:li MPReg:Rectangle="{text}" MPReg:PersonDisplayName="Oma"/>'
        if as_attribute
        else f"<rdf:li><rdf:Description><MPReg:Rectangle>{text}</MPReg:Rectangle></rdf:Description></rdf:li>"
    )
    return f"<MP:RegionInfo {R}><MPRI:Regions><rdf:Bag>{inside}</rdf:Bag></MPRI:Regions></MP:RegionInfo>"


def iptc(fields: str) -> str:
    return (
        f"<ext:ImageRegion><rdf:Bag><rdf:li {R}><ext:RegionBoundary {R}>{fields}"
        "</ext:RegionBoundary></rdf:li></rdf:Bag></ext:ImageRegion>"
    )


def rectangle(unit: str) -> str:
    numbers = zip("XYWH", BOX if unit == "pixel" else shares(), strict=True)
    fields = "".join(f"<ext:rb{name}>{number}</ext:rb{name}>" for name, number in numbers)
    return iptc(f"<ext:rbShape>rectangle</ext:rbShape><ext:rbUnit>{unit}</ext:rbUnit>{fields}")


def polygon() -> str:
    x, y, w, h = shares()
    corners = [(x, y), (x + w, y), (x + w, y + h), (x, y + h)]
    items = "".join(f'<rdf:li ext:rbX="{x}" ext:rbY="{y}"/>' for x, y in corners)
    return iptc(
        "<ext:rbShape>polygon</ext:rbShape><ext:rbUnit>relative</ext:rbUnit>"
        f"<ext:rbVertices><rdf:Seq>{items}</rdf:Seq></ext:rbVertices>"
    )


def circle() -> str:
    """Round the patch's middle, as wide as that is."""
    x, y, w, h = shares()
    return iptc(
        f"<ext:rbShape>circle</ext:rbShape><ext:rbUnit>relative</ext:rbUnit><ext:rbX>{x + w / 2}"
        f"</ext:rbX><ext:rbY>{y + h / 2}</ext:rbY><ext:rbRx>{w / 2}</ext:rbRx>"
    )


def photo(orientation: int, packet: str) -> bytes:
    """Dark with a bright patch, stored so that this orientation shows it."""
    pixels = np.full((HEIGHT, WIDTH), 40, np.uint8)
    left, top, width, height = BOX
    pixels[top : top + height, left : left + width] = 220
    exif = Image.Exif()
    exif[274] = orientation
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(
        buffer, "JPEG", quality=95, exif=exif, xmp=f"{START}{packet}{END}".encode()
    )
    return buffer.getvalue()


def patch(pixels: np.ndarray) -> tuple[int, int, int, int]:
    """Left, top, right and bottom of what is bright."""
    rows, columns = np.nonzero(pixels > 130)
    return columns.min(), rows.min(), columns.max() + 1, rows.max() + 1


def coloured(content: bytes, label: int = 0) -> tuple[np.ndarray, ElementTree.Element, Metadata]:
    """The picture with so many rows of label below, its XMP, and all that is said of it."""
    found = decode(content)
    height, width = found.pixels.shape
    placement = Placement(
        orientation=found.header.orientation, photo=(width, height), size=(width, height + label)
    )
    derived = derivative(found.metadata, PROVENANCE, placement=placement)
    return (
        np.pad(found.pixels, ((0, label), (0, 0))),
        ElementTree.fromstring(derived.xmp),
        derived,
    )


def field(element: ElementTree.Element, name: str) -> float:
    text = element.get(name) or element.findtext(name)
    assert text is not None, name
    return float(text)


def held(root: ElementTree.Element, name: str) -> list[ElementTree.Element]:
    return [e for e in root.iter() if name in e.attrib or e.find(name) is not None]


def mwg_box(root: ElementTree.Element, scale: tuple[float, float]) -> list[float]:
    (found,) = held(root, f"{AREA}x")
    x, y, w, h = (field(found, AREA + name) for name in "xywh")
    box = [x - w / 2, y - h / 2, x + w / 2, y + h / 2]
    return [number * scale[place % 2] for place, number in enumerate(box)]


def microsoft_box(root: ElementTree.Element, scale: tuple[float, float]) -> list[float]:
    (found,) = held(root, RECTANGLE)
    text = found.get(RECTANGLE) or found.findtext(RECTANGLE) or ""
    x, y, w, h = map(float, text.split(", "))
    return [n * scale[i % 2] for i, n in enumerate((x, y, x + w, y + h))]


def iptc_box(root: ElementTree.Element, scale: tuple[float, float]) -> list[float]:
    found = held(root, f"{IPTC}rbX")
    if len(found) == 4:
        xs, ys = ([field(e, IPTC + n) for e in found] for n in ("rbX", "rbY"))
        box = [min(xs), min(ys), max(xs), max(ys)]
    else:
        x, y, w, h = (field(found[0], f"{IPTC}rb{name}") for name in "XYWH")
        box = [x, y, x + w, y + h]
    return [number * scale[place % 2] for place, number in enumerate(box)]


CASES = {
    "mwg": (mwg(area()), mwg_box, False),
    "mwg of elements": (mwg(area_of_elements()), mwg_box, False),
    "mwg in pixels": (mwg(area_of_pixels()), mwg_box, True),
    "mwg without a size": (re.sub("<mwg-rs:Applied[^>]*>", "", mwg(area())), mwg_box, False),
    "Microsoft, attribute": (microsoft(True), microsoft_box, False),
    "Microsoft, element": (microsoft(False), microsoft_box, False),
    "IPTC rectangle": (rectangle("relative"), iptc_box, False),
    "IPTC rectangle in pixels": (rectangle("pixel"), iptc_box, True),
    "IPTC polygon": (polygon(), iptc_box, False),
}


@pytest.mark.parametrize("label", [0, 20])
@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("case", CASES)
def test_a_region_stays_on_what_it_shows(case, orientation, label):
    packet, box, in_pixels = CASES[case]
    pixels, root, derived = coloured(photo(orientation, packet), label)
    scale = PIXELS if in_pixels else pixels.shape[::-1]
    assert box(root, scale) == pytest.approx(patch(pixels), abs=0.51)
    assert derived.lost == ()
    for size in held(root, f"{SIDES}w"):
        assert (field(size, f"{SIDES}w"), field(size, f"{SIDES}h")) == pixels.shape[::-1]


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_circle_stays_as_wide(orientation):
    pixels, root, _ = coloured(photo(orientation, circle()))
    (found,) = held(root, f"{IPTC}rbX")
    left, top, right, bottom = patch(pixels)
    height, width = pixels.shape
    assert field(found, f"{IPTC}rbX") * width == pytest.approx((left + right) / 2, abs=0.51)
    assert field(found, f"{IPTC}rbY") * height == pytest.approx((top + bottom) / 2, abs=0.51)
    assert field(found, f"{IPTC}rbRx") * width == pytest.approx(BOX[2] / 2, abs=0.51)


def test_an_upright_photo_keeps_its_regions_letter_for_letter():
    _, root, _ = coloured(photo(1, mwg(area())))
    before = ElementTree.fromstring(START + mwg(area()) + END)
    assert held(root, f"{AREA}x")[0].attrib == held(before, f"{AREA}x")[0].attrib


def test_a_point_has_no_size_and_a_circle_keeps_its_diameter():
    spots = mwg('<mwg-rs:Area stArea:x="0.25" stArea:y="0.3" stArea:d="0.1"/>')
    _, root, _ = coloured(photo(6, spots))
    (found,) = held(root, f"{AREA}x")
    assert found.attrib == {f"{AREA}x": "0.7", f"{AREA}y": "0.25", f"{AREA}d": "0.1"}


UPRIGHT = f'stDim:w="{HEIGHT}" stDim:h="{WIDTH}"'


def test_regions_that_name_the_upright_size_are_upright_already():
    upright = mwg(
        '<mwg-rs:Area stArea:x="0.7" stArea:y="0.25" stArea:w="0.4" stArea:h="0.2"/>', UPRIGHT
    )
    _, root, _ = coloured(photo(6, upright))
    assert mwg_box(root, PIXELS) == pytest.approx([0.5, 0.15, 0.9, 0.35])
    (size,) = held(root, f"{SIDES}w")
    assert (field(size, f"{SIDES}w"), field(size, f"{SIDES}h")) == (HEIGHT, WIDTH)


@pytest.mark.parametrize("orientation", [6, 8])
def test_lightroom_names_the_upright_size_but_counts_in_the_stored_one(orientation):
    turned = "<mwg-rs:Rotation>-1.57080</mwg-rs:Rotation>"
    pixels, root, _ = coloured(photo(orientation, mwg(area(), UPRIGHT, turned)))
    assert mwg_box(root, pixels.shape[::-1]) == pytest.approx(patch(pixels), abs=0.51)
    (size,) = held(root, f"{SIDES}w")
    assert (field(size, f"{SIDES}w"), field(size, f"{SIDES}h")) == (HEIGHT, WIDTH)
    assert root.findtext(f".//{MWG}Rotation") == "0"


@pytest.mark.parametrize(
    "packet",
    [
        mwg('<mwg-rs:Area stArea:x="left" stArea:y="0.3"/>'),
        mwg('<mwg-rs:Area stArea:x="nan" stArea:y="0.3"/>'),
        mwg('<mwg-rs:Area stArea:x="1e300" stArea:y="0.3"/>'),
        mwg(area(), 'stDim:w="0" stDim:h="180"'),
        microsoft(True).replace(", ", "; "),
        microsoft(True).replace(", ", ",0,"),
        rectangle("relative").replace("<ext:rbX>0", "<ext:rbX>x0"),
    ],
)
def test_a_region_without_numbers_stays_and_is_noted(packet):
    _, root, derived = coloured(photo(6, packet))
    assert len(derived.lost) == 1
    assert derived.lost[0].startswith("XMP: 1 of its regions not moved with the picture: ")
    for name in (f"{AREA}x", RECTANGLE, f"{IPTC}rbX"):
        before = ElementTree.fromstring(START + packet + END)
        assert [e.attrib for e in held(root, name)] == [e.attrib for e in held(before, name)]


def test_a_packet_of_broken_regions_costs_a_line_and_no_time():
    items = "".join(f'<rdf:li MPReg:Rectangle="no {number}"/>' for number in range(10_000))
    root = f"<MP:RegionInfo {R}><MPRI:Regions><rdf:Bag>{items}</rdf:Bag></MPRI:Regions></MP:RegionInfo>"
    start = time.process_time()
    placement = Placement(orientation=6, photo=(180, 240), size=(180, 240))
    packet = Metadata(xmp=(START + root + END).encode())
    derived = derivative(packet, PROVENANCE, placement=placement)
    assert time.process_time() - start < 3
    assert derived.lost[0].startswith("XMP: 10000 of its regions not moved with the picture: ")
