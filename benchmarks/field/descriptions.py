"""Cases of what photos say of themselves: films behind them (03), captions (07), face regions (08)."""

from __future__ import annotations

import io
import re
import shutil
import struct
from collections.abc import Iterator, Mapping
from xml.etree import ElementTree
from xml.etree.ElementTree import Element

import pandas as pd
from case import Clause
from conftest import draw_photo
from PIL import Image, IptcImagePlugin
from PIL.ImageFile import ImageFile
from place import CheckError, Place, last_line

_RDF = "http://www.w3.org/1999/02/22-rdf-syntax-ns#"
_DC, _AREA = "{http://purl.org/dc/elements/1.1/}", "{http://ns.adobe.com/xmp/sType/Area#}"
_SIDES = "{http://ns.adobe.com/xap/1.0/sType/Dimensions#}"
_SPACES = " ".join(
    f'xmlns:{prefix}="{uri}"'
    for prefix, uri in {
        "dc": "http://purl.org/dc/elements/1.1/",
        "xmp": "http://ns.adobe.com/xap/1.0/",
        "GCamera": "http://ns.google.com/photos/1.0/camera/",
        "Container": "http://ns.google.com/photos/1.0/container/",
        "Item": "http://ns.google.com/photos/1.0/container/item/",
        "mwg-rs": "http://www.metadataworkinggroup.com/schemas/regions/",
        "stArea": "http://ns.adobe.com/xmp/sType/Area#",
        "stDim": "http://ns.adobe.com/xap/1.0/sType/Dimensions#",
    }.items()
)
_CLAIMS = re.compile(rb"MotionPhoto|MicroVideo|Container|video/mp4|hdr-gain-map|depthmap")
_FILM = b"\0\0\0\x18ftypmp42" + bytes(6000)
_SAID = "Rue de l’Église – Zoë"
_CUT = 430
"""Bytes that are left of a packet."""


def check_motion_photos(place: Place) -> Iterator[Clause]:
    """03: a film behind the picture, and XMP that points at it."""
    directory = (
        '<Container:Directory><rdf:Seq><rdf:li rdf:parseType="Resource"><Container:Item '
        'Item:Mime="video/mp4" Item:Semantic="MotionPhoto" Item:Length="6012"/></rdf:li></rdf:Seq>'
        "</Container:Directory>"
    )
    old = 'GCamera:MicroVideo="1" GCamera:MicroVideoVersion="1" GCamera:MicroVideoOffset="6012"'
    new = 'GCamera:MotionPhoto="1" GCamera:MotionPhotoVersion="1"'
    drawn = {
        "MVIMG_0001.jpg": _jpeg(1, _xmp("", old)) + _FILM,
        "PXL_rephoto.MP.jpg": _jpeg(2, _xmp(_caption("grandmother, 1931") + directory, new))
        + _FILM,
    }
    images, lost = _coloured(place, drawn)
    packets = {name: image.info["xmp"] for name, image in images.items()}
    claims = [
        f"{name} {m.group().decode()}" for name, x in packets.items() for m in _CLAIMS.finditer(x)
    ]
    yield Clause(
        got=f"XMP of {len(packets)} outputs claims {', '.join(claims) or 'no film'}",
        right=len(packets) == len(drawn) and not claims,
    )
    caption = _said(packets["PXL_rephoto.MP.jpg"])
    yield Clause(got=f"caption kept: {caption}", right=caption.startswith("grandmother, 1931"))
    told = [name for name in drawn if "has no film" in lost[name] and "bytes behind" in lost[name]]
    yield Clause(
        got=f"photos.parquet names the film of {len(told)} photos", right=len(told) == len(drawn)
    )


def check_captions(place: Place) -> Iterator[Clause]:
    """07: captions and XMP in charsets that nobody declared, and XMP that is cut."""
    datasets = b"".join(
        struct.pack(">BBBH", 0x1C, 2, number, len(text)) + text
        for number, text in ((120, _SAID.encode("cp1252")), (25, "Familie Müller".encode("cp1252")))
    )
    resource = b"8BIM\x04\x04\0\0" + struct.pack(">I", len(datasets)) + datasets
    resource += bytes(len(datasets) % 2)
    text = _SAID.encode("cp1252") + b"\0"
    exif = struct.pack("<2sHIHHHII", b"II", 42, 8, 1, 270, 2, len(text), 26) + bytes(4) + text
    keywords = (
        "<dc:subject><rdf:Bag><rdf:li>Oma</rdf:li><rdf:li>Zürich</rdf:li></rdf:Bag></dc:subject>"
    )
    packet = _xmp(keywords, 'xmp:Rating="5"', codec="latin-1")
    drawn = {
        "exif_desc_cp1252.jpg": _jpeg(1, (0xE1, b"Exif\0\0" + exif)),
        "iptc_latin1_nocharset.jpg": _jpeg(2, (0xED, b"Photoshop 3.0\0" + resource)),
        "xmp_latin1.jpg": _jpeg(3, packet),
        "xmp_broken.jpg": _jpeg(4, (packet[0], packet[1][:_CUT])),
    }
    images, lost = _coloured(place, drawn)
    packets = {name: image.info["xmp"].decode() for name, image in images.items()}
    controls = [n for n, x in packets.items() if any("\x80" <= c <= "\x9f" for c in x)]
    yield Clause(got=f"C1 control characters in {len(controls)} packets", right=not controls)
    for name in ("exif_desc_cp1252.jpg", "iptc_latin1_nocharset.jpg"):
        caption = _said(packets[name].encode())
        yield Clause(got=f"{name}: {caption}", right="l’Église" in caption and "Zoë" in caption)
    iptc = IptcImagePlugin.getiptcinfo(images["iptc_latin1_nocharset.jpg"]) or {}
    keyword = iptc.get((2, 25), b"")
    shown = keyword.decode(errors="replace") if isinstance(keyword, bytes) else str(keyword)
    declared = iptc.get((1, 90)) == b"\x1b%G"
    yield Clause(
        got=f"IPTC keyword {shown}, {'declared UTF-8' if declared else 'no charset declared'}",
        right=shown == "Familie Müller" and declared,
    )
    kept = packets["xmp_latin1.jpg"]
    yield Clause(
        got=f"XMP in Latin-1 {'kept' if 'Zürich' in kept else 'lost'}",
        right="Zürich" in kept and 'Rating="5"' in kept and not lost["xmp_latin1.jpg"],
    )
    said = lost["xmp_broken.jpg"]
    yield Clause(got=f"cut XMP: photos.parquet says {said or 'nothing'}", right="XMP" in said)


def check_regions(place: Place) -> Iterator[Clause]:
    """08: a face region follows the pixels through all eight orientations."""
    region = (
        '<mwg-rs:Regions rdf:parseType="Resource"><mwg-rs:AppliedToDimensions stDim:w="240" '
        'stDim:h="180" stDim:unit="pixel"/><mwg-rs:RegionList><rdf:Bag><rdf:li '
        'rdf:parseType="Resource"><mwg-rs:Name>Oma</mwg-rs:Name><mwg-rs:Area stArea:x="0.25" '
        'stArea:y="0.3" stArea:w="0.2" stArea:h="0.4" stArea:unit="normalized"/></rdf:li></rdf:Bag>'
        "</mwg-rs:RegionList></mwg-rs:Regions>"
    )
    drawn = {
        f"face_o{number}.jpg": _jpeg(number, _oriented(number), _xmp(region))
        for number in range(1, 9)
    }
    images, _ = _coloured(place, drawn)
    wide, high = (0.2, 0.4), (0.4, 0.2)
    right = {1: (0.25, 0.3, *wide), 2: (0.75, 0.3, *wide), 3: (0.75, 0.7, *wide)}
    right |= {4: (0.25, 0.7, *wide), 5: (0.3, 0.25, *high), 6: (0.7, 0.25, *high)}
    right |= {7: (0.7, 0.75, *high), 8: (0.3, 0.75, *high)}
    for number, wanted in right.items():
        image = images[f"face_o{number}.jpg"]
        root = ElementTree.fromstring(image.info["xmp"])
        area, size = _numbers(root, _AREA, "xywh"), _numbers(root, _SIDES, "wh")
        placed = " ".join(f"{value:g}" for value in area)
        near = all(abs(a - b) < 1e-4 for a, b in zip(area, wanted, strict=True))
        yield Clause(
            got=f"orientation {number}: {placed} of {size[0]:g} × {size[1]:g}",
            right=near and size == image.size,
        )


def _coloured(
    place: Place, drawn: Mapping[str, bytes]
) -> tuple[dict[str, ImageFile], dict[str, str]]:
    """The outputs and what of each is lost, by the photo's name; photos of the case before drawn ones."""
    photos, out = place.folder / "in", place.folder / "out"
    photos.mkdir()
    for name, content in drawn.items():
        (photos / name).write_bytes(content)
    for path in sorted(place.given.iterdir()) if place.given and place.given.is_dir() else ():
        shutil.copyfile(path, photos / path.name)
    ran = place.run("colorize", "in", "out", "--workers", 1, "--json")
    if ran.code:
        raise CheckError(f"exit {ran.code}, {last_line(ran.err)}")
    images = {name: Image.open(out / f"{name}.color.jpg") for name in drawn}
    tables = sorted(out.glob(".chromaflow/**/photos.parquet"), key=lambda p: p.stat().st_mtime)
    if not tables:
        raise CheckError("no photos.parquet")
    table = pd.read_parquet(tables[-1]).set_index("path")["lost"].fillna("")
    return images, {name: str(table[name]) for name in drawn}


def _jpeg(seed: int, *segments: tuple[int, bytes]) -> bytes:
    """A gray JPEG of 240 x 180 with these segments: marker, content."""
    buffer = io.BytesIO()
    Image.fromarray(draw_photo(seed, 240, 180)).convert("L").save(buffer, "JPEG")
    told = b"".join(
        struct.pack(">BBH", 0xFF, marker, len(data) + 2) + data for marker, data in segments
    )
    return buffer.getvalue()[:2] + told + buffer.getvalue()[2:]


def _xmp(inside: str, attributes: str = "", codec: str = "utf-8") -> tuple[int, bytes]:
    text = (
        f'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="{_RDF}"><rdf:Description '
        f'rdf:about="" {_SPACES} {attributes}>{inside}</rdf:Description></rdf:RDF></x:xmpmeta>'
    )
    return 0xE1, b"http://ns.adobe.com/xap/1.0/\0" + text.encode(codec)


def _caption(text: str) -> str:
    return (
        f'<dc:description><rdf:Alt><rdf:li xml:lang="x-default">{text}</rdf:li></rdf:Alt>'
        "</dc:description>"
    )


def _oriented(orientation: int) -> tuple[int, bytes]:
    exif = struct.pack("<2sHIHHHIHHI", b"II", 42, 8, 1, 274, 3, 1, orientation, 0, 0)
    return 0xE1, b"Exif\0\0" + exif


def _said(packet: bytes) -> str:
    found = ElementTree.fromstring(packet).find(f".//{_DC}description//{{{_RDF}}}li")
    return (found.text or "") if found is not None else ""


def _numbers(root: Element, space: str, names: str) -> tuple[float, ...]:
    """The fields of the first structure that has them as attributes."""
    found = next((e for e in root.iter() if space + names[0] in e.attrib), None)
    return tuple(
        float(found.get(space + name, "nan")) if found is not None else 0.0 for name in names
    )
