"""XMP that tells of films, maps and files behind a picture, none of which a derivative has."""

from __future__ import annotations

import io
from xml.etree import ElementTree

import pytest
from PIL import Image

from storage.metadata.derivative import Metadata, Provenance, derivative, read_metadata

PROVENANCE = Provenance(system="Chromaflow", version="1", original_sha256="ab" * 32, checkpoints=())
GOOGLE = "http://ns.google.com/photos/1.0"
DESCRIPTION = "{http://www.w3.org/1999/02/22-rdf-syntax-ns#}Description"
FILM = b"\0\0\0\x18ftypmp42" + bytes(6000)


def packet(inside: str = "", attributes: str = "") -> bytes:
    return f"""<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF
    xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#"><rdf:Description rdf:about=""
    xmlns:GCamera="{GOOGLE}/camera/" xmlns:Container="{GOOGLE}/container/"
    xmlns:Item="{GOOGLE}/container/item/" xmlns:GDepth="{GOOGLE}/depthmap/"
    xmlns:GImage="{GOOGLE}/image/" xmlns:GAudio="{GOOGLE}/audio/" xmlns:GPano="{GOOGLE}/panorama/"
    xmlns:Device="http://ns.google.com/photos/dd/1.0/device/"
    xmlns:hdrgm="http://ns.adobe.com/hdr-gain-map/1.0/"
    xmlns:HDRGainMap="http://ns.apple.com/HDRGainMap/1.0/"
    xmlns:apdi="http://ns.apple.com/pixeldatainfo/1.0/" xmlns:iio="http://ns.apple.com/ImageIO/1.0/"
    xmlns:OpCamera="http://ns.oplus.com/photos/1.0/camera/"
    xmlns:MiCamera="http://ns.xiaomi.com/photos/1.0/camera/"
    xmlns:xmp="http://ns.adobe.com/xap/1.0/" xmp:Rating="4" GCamera:BurstID="b7" GPano:UsePanoramaViewer="True"
    iio:hasXMP="True" {attributes}>{inside}</rdf:Description></rdf:RDF></x:xmpmeta>""".encode()


DIRECTORY = """<Container:Directory><rdf:Seq><rdf:li rdf:parseType="Resource"><Container:Item
 Item:Mime="video/mp4" Item:Semantic="MotionPhoto" Item:Length="6032"/></rdf:li></rdf:Seq>
 </Container:Directory>"""
CLAIMS = {
    "film": 'GCamera:MotionPhoto="1" GCamera:MotionPhotoVersion="1" '
    'GCamera:MotionPhotoPresentationTimestampUs="500000" GCamera:MicroVideo="1" '
    'GCamera:MicroVideoOffset="6032" OpCamera:OLivePhotoVersion="2" OpCamera:VideoLength="6032"',
    "files behind its picture": 'MiCamera:XMPMeta="offsets" Device:Container="c"',
    "gain map": 'hdrgm:Version="1.0" hdrgm:GainMapMax="2" HDRGainMap:HDRGainMapVersion="65536" '
    'apdi:AuxiliaryImageType="urn:com:apple:photo:2020:aux:hdrgainmap"',
    "depth map": 'GDepth:Format="RangeInverse" GDepth:Near="1.5" GDepth:Mime="image/png"',
    "second picture": 'GImage:Mime="image/jpeg"',
    "recording": 'GAudio:Mime="audio/mp4"',
}


def properties(xmp: bytes) -> set[str]:
    """Names of all properties, without namespaces."""
    blocks = ElementTree.fromstring(xmp).iter(DESCRIPTION)
    names = [n for block in blocks for n in (*block.attrib, *(child.tag for child in block))]
    return {name.partition("}")[2] for name in names}


ALWAYS = {"about", "Rating", "BurstID", "UsePanoramaViewer", "hasXMP", "description"}
ALWAYS |= {"DigitalSourceType", "AISystemUsed", "AISystemVersionUsed", "OriginalSHA256"}


@pytest.mark.parametrize("as_elements", [False, True])
@pytest.mark.parametrize("what", CLAIMS)
def test_a_claim_on_what_is_not_there_goes_and_is_noted(what, as_elements):
    claims = [claim.split("=") for claim in CLAIMS[what].split()]
    if as_elements:
        given = packet("".join(f"<{name}>{text.strip(chr(34))}</{name}>" for name, text in claims))
    else:
        given = packet(attributes=CLAIMS[what])
    after = derivative(Metadata(xmp=given), PROVENANCE)
    assert properties(after.xmp) == ALWAYS
    (line,) = after.lost
    assert line.startswith("XMP: ") and line.endswith(f" left out: the output has no {what}")
    assert sorted(name for name, _ in claims)[0] in line
    assert derivative(after, PROVENANCE).lost == ()


def test_a_directory_of_files_goes_whole():
    after = derivative(Metadata(xmp=packet(DIRECTORY)), PROVENANCE)
    assert properties(after.xmp) == ALWAYS and b"video/mp4" not in after.xmp
    assert after.lost == (
        "XMP: Container:Directory left out: the output has no files behind its picture",
    )


def test_a_map_whose_bytes_are_in_the_packet_stays():
    given = packet(attributes=CLAIMS["depth map"] + ' GDepth:Data="iVBORw0KGgo="')
    after = derivative(Metadata(xmp=given), PROVENANCE)
    assert properties(after.xmp) == ALWAYS | {"Format", "Near", "Mime", "Data"}
    assert after.lost == ()


def jpeg(trailer: bytes) -> bytes:
    buffer = io.BytesIO()
    Image.linear_gradient("L").save(buffer, "JPEG", progressive=True)
    return buffer.getvalue() + trailer


@pytest.mark.parametrize(
    ("trailer", "what"),
    [
        (FILM, "a film"),
        (b"Image_UTC_Data" + FILM + b"SEFT", "a film"),
        (jpeg(b""), "another picture"),
        (bytes(9) + jpeg(b""), "another picture"),
        (b"a note of a scanner", "no part of it"),
    ],
)
def test_bytes_behind_a_jpegs_picture_are_noted(trailer, what):
    lost = read_metadata("JPEG", jpeg(trailer)).lost
    assert lost == (
        f"trailer: {len(trailer)} bytes behind the picture, {what}, are not carried over",
    )


@pytest.mark.parametrize("padding", [b"", bytes(4096), b"\r\n", b"\xff\xd9"])
def test_padding_behind_a_jpeg_is_no_loss(padding):
    assert read_metadata("JPEG", jpeg(padding)).lost == ()
