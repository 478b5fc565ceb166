"""XMP files beside photos: which belongs to which, and what of them an output says."""

from __future__ import annotations

from xml.etree import ElementTree

import pytest

from storage.metadata.derivative import CAPTION, Metadata, Provenance, derivative
from storage.sources.sidecars import Sidecars, is_sidecar_name

PROVENANCE = Provenance(system="Chromaflow", version="1", original_sha256="ab" * 32, checkpoints=())
RDF = "{http://www.w3.org/1999/02/22-rdf-syntax-ns#}"
DC = "{http://purl.org/dc/elements/1.1/}"
XMP = "{http://ns.adobe.com/xap/1.0/}"


def packet(inside: str, attributes: str = "") -> str:
    return f"""<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="{RDF[1:-1]}">
    <rdf:Description rdf:about="" xmlns:dc="{DC[1:-1]}" xmlns:xmp="{XMP[1:-1]}"
    xmlns:crs="http://ns.adobe.com/camera-raw-settings/1.0/" xmlns:xmpMM="http://ns.adobe.com/xap/1.0/mm/"
    xmlns:darktable="http://darktable.sf.net/" {attributes}>{inside}</rdf:Description></rdf:RDF>
    </x:xmpmeta>"""


def words(*items: str) -> str:
    listed = "".join(f"<rdf:li>{item}</rdf:li>" for item in items)
    return f"<dc:subject><rdf:Bag>{listed}</rdf:Bag></dc:subject>"


def caption(text: str) -> str:
    return f'<dc:description><rdf:Alt><rdf:li xml:lang="x-default">{text}</rdf:li></rdf:Alt></dc:description>'


def texts(root: ElementTree.Element, name: str) -> list[str | None]:
    return [item.text for item in root.findall(f".//{name}//{RDF}li")]


def derived(own: str, sidecar: bytes) -> tuple[ElementTree.Element, Metadata]:
    after = derivative(Metadata(xmp=own.encode()), PROVENANCE, sidecar=sidecar)
    return ElementTree.fromstring(after.xmp), after


def test_a_sidecars_words_go_before_the_photos_own():
    own = packet(
        words("attic") + caption("old") + "<dc:creator>Anna</dc:creator>", 'xmp:Rating="1"'
    )
    beside = packet(
        words("Oma", "Zürich") + caption("Großmutter"),
        'xmp:Rating="4" xmp:Label="Green" crs:HasCrop="True" darktable:xmp_version="4"'
        ' xmpMM:DocumentID="xmp.did:1"',
    )
    root, after = derived(own, beside.encode("cp1252"))
    assert texts(root, f"{DC}subject") == ["Oma", "Zürich"]
    assert texts(root, f"{DC}description") == [f"Großmutter | {CAPTION}"]
    assert root.findtext(f".//{DC}creator") == "Anna"
    said = {k: v for block in root.iter(f"{RDF}Description") for k, v in block.attrib.items()}
    assert (said[f"{XMP}Rating"], said[f"{XMP}Label"]) == ("4", "Green")
    for word in (b"HasCrop", b"darktable", b"DocumentID", b"attic", b'"1"'):
        assert word not in after.xmp
    assert after.lost == ()


def test_a_photo_without_xmp_gets_the_sidecars():
    after = derivative(Metadata(), PROVENANCE, sidecar=packet(words("Oma")).encode())
    root = ElementTree.fromstring(after.xmp)
    assert texts(root, f"{DC}subject") == ["Oma"]
    assert texts(root, f"{DC}description") == [CAPTION]


@pytest.mark.parametrize("sidecar", [b"<x:xmpmeta", b"no XML at all", b"<!DOCTYPE x []><x/>"])
def test_a_broken_sidecar_is_noted_and_the_photos_words_stay(sidecar):
    root, after = derived(packet(words("attic")), sidecar)
    assert texts(root, f"{DC}subject") == ["attic"]
    assert len(after.lost) == 1 and after.lost[0].startswith("sidecar: expected ")


def test_which_sidecar_belongs_to_a_photo():
    paths = ["a.jpg", "b.jpg", "b.tif", "in/a.jpg", "c.v2.png", "plain", "d.jpg"]
    beside = [
        "a.xmp",
        "a.jpg.xmp",
        "b.XMP",
        "c.v2.xmp",
        "plain.xmp",
        "in/b.jpg.xmp",
        "d.jpg.xmp.xmp",
    ]
    sidecars = Sidecars({"path": path} for path in beside)
    found = {path: row["path"] for path in paths if (row := sidecars.of(path))}
    assert found == {
        "a.jpg": "a.jpg.xmp",
        "b.jpg": "b.XMP",
        "b.tif": "b.XMP",
        "c.v2.png": "c.v2.xmp",
        "plain": "plain.xmp",
    }
    assert is_sidecar_name("A.XMP") and not is_sidecar_name("xmp.jpg")
