"""Captions and XMP in Windows-1252, Latin-1 and whatever IPTC declares, read back by Pillow and ElementTree."""

from __future__ import annotations

import io
import struct
from xml.etree import ElementTree

import pytest
from PIL import Image, IptcImagePlugin, PngImagePlugin

from storage.metadata.charsets import decoded
from storage.metadata.derivative import (
    CAPTION,
    Metadata,
    Provenance,
    derivative,
    embed,
    read_metadata,
)
from storage.metadata.descriptions import described

PROVENANCE = Provenance(system="Chromaflow", version="1", original_sha256="ab" * 32, checkpoints=())
SAID = "Rue de l’Église – Zoë “1931”"
RDF = "{http://www.w3.org/1999/02/22-rdf-syntax-ns#}"
DC = "{http://purl.org/dc/elements/1.1/}"
CUT = 300
"""Bytes of a packet that a program left."""


def gray() -> Image.Image:
    return Image.linear_gradient("L").resize((32, 24))


def jpeg(*segments: bytes) -> bytes:
    """A gray JPEG with these APP1 and APP13 segments, by their content."""
    buffer = io.BytesIO()
    gray().save(buffer, "JPEG")
    content = buffer.getvalue()
    told = b"".join(
        (b"\xff\xed" if data.startswith(b"Photoshop") else b"\xff\xe1")
        + struct.pack(">H", len(data) + 2)
        + data
        for data in segments
    )
    return content[:2] + told + content[2:]


def exif_jpeg(description: bytes, artist: bytes = b"J\xf6rg\0") -> bytes:
    texts = [(270, description), (315, artist)]
    place, entries, values = 8 + 2 + 12 * len(texts) + 4, b"", b""
    for tag, text in texts:
        held = text.ljust(4, b"\0") if len(text) <= 4 else struct.pack("<I", place + len(values))
        entries += struct.pack("<HHI", tag, 2, len(text)) + held
        values += text if len(text) > 4 else b""
    head = b"II*\0" + struct.pack("<IH", 8, len(texts))
    return jpeg(b"Exif\0\0" + head + entries + bytes(4) + values)


def dataset(record: int, number: int, data: bytes) -> bytes:
    return struct.pack(">BBBH", 0x1C, record, number, len(data)) + data


def iptc_jpeg(*datasets: bytes) -> bytes:
    content = b"".join(datasets)
    resource = b"8BIM\x04\x04\0\0" + struct.pack(">I", len(content)) + content
    return jpeg(b"Photoshop 3.0\0" + resource + bytes(len(content) % 2))


def packet(text: str) -> str:
    return f"""<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="{RDF[1:-1]}">
    <rdf:Description rdf:about="" xmlns:dc="{DC[1:-1]}" xmlns:xmp="http://ns.adobe.com/xap/1.0/"
     xmp:Rating="5"><dc:description><rdf:Alt><rdf:li xml:lang="x-default">{text}</rdf:li></rdf:Alt>
    </dc:description></rdf:Description></rdf:RDF></x:xmpmeta>"""


def xmp_jpeg(content: bytes) -> bytes:
    return jpeg(b"http://ns.adobe.com/xap/1.0/\0" + content)


def coloured(content: bytes, name: str = "JPEG") -> tuple[Image.Image, Metadata]:
    """What another program opens, and what we say of it."""
    derived = derivative(read_metadata(name, content), PROVENANCE)
    buffer = io.BytesIO()
    gray().convert("RGB").save(buffer, name)
    image = Image.open(io.BytesIO(embed(name, buffer.getvalue(), derived, profile=b"")))
    image.load()
    return image, derived


def caption(image: Image.Image) -> str:
    found = ElementTree.fromstring(image.info["xmp"]).find(f".//{DC}description//{RDF}li")
    assert found is not None and found.text is not None
    assert not any("\x80" <= letter <= "\x9f" for letter in image.info["xmp"].decode())
    return found.text


def test_exif_in_windows_1252_becomes_utf_8():
    content = exif_jpeg(SAID.encode("cp1252") + b"\0")
    image, derived = coloured(content)
    assert caption(image) == f"{SAID} | {CAPTION}"
    exif = image.getexif()
    assert exif[270].encode("latin-1").decode() == f"{SAID} | {CAPTION}"
    assert exif[315].encode("latin-1").decode() == "Jörg"
    assert derived.lost == ()
    said = described(read_metadata("JPEG", content))
    assert said == {"description": SAID, "artist": "Jörg"}


def test_iptc_without_a_declared_charset_becomes_utf_8_and_says_so():
    preview = bytes(range(0x80, 0x100))
    image, _ = coloured(
        iptc_jpeg(
            dataset(2, 25, "Familie Müller".encode("cp1252")),
            dataset(2, 55, b"19310704"),
            dataset(2, 120, SAID.encode("cp1252")),
            dataset(2, 202, preview),
        )
    )
    assert caption(image) == f"{SAID} | {CAPTION}"
    iptc = IptcImagePlugin.getiptcinfo(image)
    assert iptc[(1, 90)] == b"\x1b%G"
    assert iptc[(2, 25)].decode() == "Familie Müller"
    assert iptc[(2, 120)].decode() == f"{SAID} | {CAPTION}"
    assert (iptc[(2, 55)], iptc[(2, 202)]) == (b"19310704", preview)


@pytest.mark.parametrize(
    ("declaration", "codec", "text"),
    [
        (b"\x1b%G", "utf-8", SAID),
        (b"\x1b.A", "latin-1", "Zoë aus Zürich"),
        (b"\x1b-B", "iso8859-2", "Łódź, rynek"),
        (b"\x1b-L", "iso8859-5", "Львів"),
        (b"\x1b%G", "cp1252", SAID),
    ],
)
def test_iptc_is_read_by_its_declared_charset_unless_that_is_wrong(declaration, codec, text):
    image, derived = coloured(
        iptc_jpeg(dataset(1, 90, declaration), dataset(2, 120, text.encode(codec)))
    )
    assert caption(image) == f"{text} | {CAPTION}"
    iptc = IptcImagePlugin.getiptcinfo(image)
    assert (iptc[(1, 90)], iptc[(2, 120)].decode()) == (b"\x1b%G", f"{text} | {CAPTION}")
    assert derived.iptc.count(b"\x1c\x01\x5a") == 1


def test_iptc_in_ascii_or_of_no_known_charset_keeps_its_bytes():
    plain, _ = coloured(iptc_jpeg(dataset(2, 80, b"Anna"), dataset(2, 120, b"Market")))
    assert set(IptcImagePlugin.getiptcinfo(plain)) == {(2, 80), (2, 120)}
    alien, _ = coloured(iptc_jpeg(dataset(2, 120, "市場の写真".encode("shift-jis"))))
    iptc = IptcImagePlugin.getiptcinfo(alien)
    assert iptc[(2, 120)].startswith("市場の写真".encode("shift-jis")) and (1, 90) not in iptc
    assert "\ufffd" in caption(alien)


@pytest.mark.parametrize(
    ("start", "codec", "text"),
    [
        ("", "cp1252", SAID),
        ("", "latin-1", "Großmutter Zoë"),
        ('<?xml version="1.0" encoding="ISO-8859-1"?>', "cp1252", SAID),
        ('<?xml version="1.0" encoding="utf-8"?>', "cp1252", SAID),
        ('<?xml version="1.0" encoding="windows-1251"?>', "cp1251", "Львів"),
        ('<?xpacket begin="" id="W5M0MpCehiHzreSzNTczkc9d"?>', "cp1252", SAID),
        ("", "utf-16-le", SAID),
        ("\ufeff", "utf-16-be", SAID),
        ("", "utf-32-be", SAID),
        ("\ufeff", "utf-8", SAID),
    ],
)  # fmt: skip
def test_xmp_in_other_charsets_is_kept_in_utf_8(start, codec, text):
    content = (start + packet(text)).encode(codec) + " \n".encode(codec)
    image, derived = coloured(xmp_jpeg(content))
    assert caption(image) == f"{text} | {CAPTION}"
    assert b'xmp:Rating="5"' in image.info["xmp"]
    assert read_metadata("JPEG", xmp_jpeg(content)).lost == derived.lost == ()


def test_xmp_that_is_cut_is_said_to_be_lost():
    found = read_metadata("JPEG", xmp_jpeg(packet(SAID).encode()[:CUT]))
    assert len(found.lost) == 1 and found.lost[0].startswith("XMP: expected well-formed XMP, got: ")


def test_a_pngs_texts_in_windows_1252():
    info = PngImagePlugin.PngInfo()
    info.add(b"tEXt", b"Description\0" + SAID.encode("cp1252"))
    buffer = io.BytesIO()
    gray().save(buffer, "PNG", pnginfo=info)
    image, _ = coloured(buffer.getvalue(), "PNG")
    assert caption(image) == f"{SAID} | {CAPTION}"
    assert image.text["Description"] == SAID


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        (b"", ""),
        ("“CAFÉ” É–É…".encode("cp1252"), "“CAFÉ” É–É…"),
        ("Ринок, Львів".encode()[:-1], "Ринок, ЛьвіÐ"),
        (b"caf\xe9 \x81", "café \ufffd"),
        ("l\x92Église".encode(), "l’Église"),
        (b"plain\0text", "plain\0text"),
    ],
)
def test_the_guess(text, meant):
    assert decoded(text) == meant
